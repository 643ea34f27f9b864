"""The folder that an export is written in until it is whole, and what killed exports have left behind."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import uuid
from collections.abc import Generator
from pathlib import Path

from ftsdk._files import is_in_use
from ftsdk.models.export.export_manifest import UNFINISHED

__all__ = ["export_draft"]


@contextlib.contextmanager
def export_draft(folder: Path) -> Generator[Path]:
    """Yield a hidden folder beside the export's, and remove it unless it was moved at the end of the block.

    Drafts of the same folder whose process has ended, which may have gigabytes, are removed first.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f"{_glob_escaped(f'.{folder.name}.')}*.tmp"):
        # One without its mark may just be being made.
        if not is_in_use(left / UNFINISHED, writable=True):
            shutil.rmtree(left, ignore_errors=True)
    draft = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    draft.mkdir()
    mark = os.open(draft / UNFINISHED, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        fcntl.flock(mark, fcntl.LOCK_EX)  # until this process ends, however it does
        os.write(mark, b"This export isn't finished, or was broken off: remove this folder.\n")
        yield draft
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    finally:
        os.close(mark)


def _glob_escaped(text: str) -> str:
    return "".join(f"[{sign}]" if sign in "*?[" else sign for sign in text)
