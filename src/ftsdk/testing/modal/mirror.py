"""One folder made like another: how a commit, and the loss of what wasn't committed, are imitated."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

__all__ = ["mirror", "mirror_path"]


def mirror(source: Path, target: Path) -> None:
    """Make a folder like another, which may be written to meanwhile: a file is copied as far as it is written."""
    theirs = {path.relative_to(source) for path in _walk(source)}
    for path in sorted((p for p in _walk(target) if p.relative_to(target) not in theirs), reverse=True):
        _remove(path)
    for name in sorted(theirs):
        mirror_path(source / name, target / name)


def mirror_path(source: Path, target: Path) -> None:
    """Make one file, link or folder like another, without what is in the folder.

    If the source is gone, so is the target.
    """
    with contextlib.suppress(FileNotFoundError):
        if source.is_dir() and not source.is_symlink():
            if target.is_symlink() or target.is_file():
                target.unlink()
            target.mkdir(parents=True, exist_ok=True)
            return
        if _state(source) == _state(target):
            return
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.mirror")
        draft.unlink(missing_ok=True)
        shutil.copy2(source, draft, follow_symlinks=False)
        draft.replace(target)
    if not os.path.lexists(source):
        _remove(target)


def _walk(folder: Path) -> list[Path]:
    return [Path(here, name) for here, folders, files in os.walk(folder) for name in (*folders, *files)]


def _state(path: Path) -> object:
    if path.is_symlink():
        return str(path.readlink())
    try:
        facts = path.stat()
    except FileNotFoundError:
        return None
    return facts.st_size, facts.st_mtime_ns


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
