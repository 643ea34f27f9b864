"""Errors of the disk that ftsdk's home is on, as errors with advice."""

from __future__ import annotations

import errno
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ftsdk._home import home
from ftsdk.errors import FtsdkError

__all__ = ["check_home", "usable_home"]


def check_home() -> None:
    """Raise `FtsdkError` if ftsdk's home can't be written to. Writes nothing."""
    folder = home()
    nearest = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    if not (nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)):
        what = "can't be written to" if nearest.is_dir() else "isn't a folder"
        raise FtsdkError(f"ftsdk's home is {folder}, and {nearest} {what}; set FTSDK_HOME to a folder of yours")


@contextmanager
def usable_home() -> Generator[None]:
    """Raise `FtsdkError` in place of an `OSError` about a file in ftsdk's home, or about a full disk."""
    try:
        yield
    except OSError as error:
        folder = home()
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        is_ours = isinstance(error.filename, str) and Path(error.filename).absolute().is_relative_to(folder)
        if not (is_full or is_ours):
            raise
        advice = "free some space" if is_full else "check its permissions"
        raise FtsdkError(
            f"ftsdk's home {folder} can't be used ({error}): {advice}, or set FTSDK_HOME to another folder"
        ) from error
