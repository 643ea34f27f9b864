"""Files that are written whole or not at all, and names that are safe as folder names."""

from __future__ import annotations

import errno
import os
import re
import stat
import uuid
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = [
    "RUN_ID_RULE",
    "is_in_use",
    "is_run_id",
    "make_folder",
    "open_regular_file",
    "read_regular_file",
    "replace_file",
    "replacing",
    "sync_folder",
]

RUN_ID_RULE = "letters, digits, '.', '_' and '-', starting with a letter or digit, at most 80"
"""What `is_run_id` accepts, for error messages."""
_RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")


def is_run_id(text: str) -> bool:
    """Return whether the text is a valid run id, and so cannot name anything outside the folder of runs."""
    return _RUN_ID.fullmatch(text) is not None


def make_folder(folder: Path) -> None:
    """Make a folder and its missing parents, readable by their owner only: they hold training data."""
    if folder.is_dir():
        return
    if not folder.parent.exists():
        make_folder(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)


def read_regular_file(path: Path, *, most_bytes: int) -> bytes:
    """Return the content of a file that others wrote, without waiting for pipes or reading devices for ever.

    Args:
        path: The file.
        most_bytes: The largest content that is read.

    Raises:
        OSError: The file can't be read, isn't a regular file, or is larger; `strerror` says which.
        ValueError: The path can't name a file: it has a NUL character.
    """
    with open_regular_file(path) as file:
        # Some files of /proc never end and have the size 0, so the size alone isn't trusted.
        size = os.fstat(file.fileno()).st_size
        content = b"" if size > most_bytes else file.read(most_bytes + 1)
    if size > most_bytes or len(content) > most_bytes:
        raise file_too_large(most_bytes)
    return content


def open_regular_file(path: Path) -> BinaryIO:
    """Open a file that others wrote, without waiting for pipes.

    Raises:
        OSError: The file can't be read, or isn't a regular file; `strerror` says which.
        ValueError: The path can't name a file: it has a NUL character.
    """
    # Opening a pipe waits for a writer, unless O_NONBLOCK is set; regular files don't mind it.
    file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        return file
    file.close()
    raise OSError(errno.EINVAL, "it isn't a regular file, but a folder, a pipe, a socket or a device")


def file_too_large(most_bytes: int) -> OSError:
    """Return the error for a file of more bytes than are read."""
    return OSError(errno.EFBIG, f"it is larger than {most_bytes:,} bytes, the most that is read")


def replace_file(target: Path, content: bytes, *, is_private: bool = True) -> None:
    """Write a file atomically and durably: after a crash it holds the old content or the new, never a part.

    Args:
        target: The file; its folder is made if missing.
        content: All of it.
        is_private: Readable by the owner only; False follows the umask, for files that the user shares.

    Raises:
        OSError: The file can't be written; the old one is untouched.
    """
    with replacing(target) as draft:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600 if is_private else 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())


@contextmanager
def replacing(target: Path) -> Generator[Path]:
    """Yield a path beside the target to write to, and rename it to the target at the end of the block.

    On an error the draft is removed and the target stays as it was. The caller syncs the draft's content if it must
    survive a power cut; the rename itself always does.
    """
    make_folder(target.parent)
    # A name of its own for each writer, so that threads and processes that write the same file don't share a draft.
    draft = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        yield draft
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def is_in_use(path: Path, *, writable: bool = False) -> bool:
    """Return whether a process has locked the file (`flock`), or it can't be opened, so that nobody knows.

    Args:
        path: The file.
        writable: Open it for writing too, which network file systems want for such a lock.
    """
    import fcntl

    try:
        descriptor = os.open(path, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
    except OSError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def sync_folder(folder: Path) -> None:
    """Make renames in the folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
