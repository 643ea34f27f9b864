"""A copy of each run's record, in the run's folder: what a lost or damaged ledger is rebuilt from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ftsdk._files import is_run_id, replace_file
from ftsdk.errors import SpecError
from ftsdk.protocol import RunRef
from ftsdk.run.record import NewerRecord, Record, record_from_json, record_to_json

__all__ = ["COPY_PREFIX", "folders_without_copy", "is_of_newer_version", "read_copies", "remove_copy", "write_copy"]

COPY_PREFIX = "record."
"""How the names of the copies begin, before the backend's."""
_MOST_BYTES = 256 * 2**20
"""A larger file is no record."""


def write_copy(home: Path, record: Record) -> None:
    """Write a record into its run's folder.

    Args:
        home: The folder of the ledger.
        record: The run.

    Raises:
        OSError: The file can't be written.
    """
    path = _path(home, record.ref)
    if path is not None:
        replace_file(path, record_to_json(record).encode())


def remove_copy(home: Path, ref: str) -> None:
    """Remove the copy of a run's record, if there is one. What lies behind a link isn't the run's, and stays."""
    path = _path(home, ref)
    if path is not None and path.parent.is_dir() and not path.parent.is_symlink():
        path.unlink(missing_ok=True)


def read_copies(home: Path) -> Iterator[Record]:
    """Yield the records in the folders of runs; what can't be read is left out."""
    for path in sorted(home.glob(f"runs/*/{COPY_PREFIX}*.json")):
        try:
            if not path.is_file() or path.stat().st_size > _MOST_BYTES:
                continue
            record = record_from_json(path.read_bytes().decode())
        except (OSError, ValueError):
            continue
        # A folder that was copied or renamed by hand holds the record of another run.
        if _path(home, record.ref) == path:
            yield record


def folders_without_copy(home: Path) -> Iterator[tuple[Path, str]]:
    """Yield the folders of runs that hold no record that can be read, each with the reason."""
    whole = {record.ref.partition(":")[2] for record in read_copies(home)}
    for folder in sorted(home.glob("runs/*")):
        if folder.is_dir() and is_run_id(folder.name) and folder.name not in whole:
            copies = sorted(path.name for path in folder.glob(f"{COPY_PREFIX}*.json"))
            yield folder, f"its {copies[0]} can't be read or is another run's" if copies else "it has no record.*.json"


def is_of_newer_version(folder: Path) -> bool:
    """Return whether a record in a run's folder was written by a newer ftsdk, which can read it."""
    for path in folder.glob(f"{COPY_PREFIX}*.json"):
        try:
            if path.is_file() and path.stat().st_size <= _MOST_BYTES:
                record_from_json(path.read_bytes().decode())
        except NewerRecord:
            return True
        except (OSError, ValueError):
            continue
    return False


def _path(home: Path, ref: str) -> Path | None:
    """Return where the copy of a run's record is; None for a ref that can't name a file."""
    try:
        parsed = RunRef.parse(ref)
    except SpecError:
        return None
    if not (is_run_id(parsed.id) and is_run_id(parsed.backend)):
        return None
    return home / "runs" / parsed.id / f"{COPY_PREFIX}{parsed.backend}.json"
