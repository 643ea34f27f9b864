"""Removing a run from this machine: its record, its folder and its results."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ftsdk._files import is_run_id
from ftsdk._home import home
from ftsdk.backends.registry import get_backend
from ftsdk.errors import RunNotFoundError, RunNotReadyError
from ftsdk.protocol import TERMINAL, RunRef
from ftsdk.run.evaluation import results_folder
from ftsdk.run.home_access import usable_home
from ftsdk.run.ledger import Ledger, Record
from ftsdk.run.submission import status_of
from ftsdk.runfolder.lock import is_held

__all__ = ["Removal", "plan_removal"]


@dataclass(frozen=True, kw_only=True)
class Removal:
    """What `remove()` will delete."""

    ref: str
    state: str
    """The run's last state."""
    folders: tuple[Path, ...]
    """Its folders on this machine: checkpoints, weights, logs, eval results. Of a link, what it points to stays."""
    bytes: int
    """Size of the files in them."""

    def remove(self) -> None:
        """Delete the folders and the record in the ledger. What the provider keeps, and the data store, stay.

        Raises:
            RunNotFoundError: It was removed since.
            RunNotReadyError: It was resumed or deployed since.
            FtsdkError: A file can't be deleted; the run stays in the ledger.
        """
        plan_removal(self.ref)
        with usable_home():
            for path in self.folders:
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, onerror=_unless_gone)
                else:
                    path.unlink(missing_ok=True)
        Ledger().remove(self.ref)


def plan_removal(ref: str) -> Removal:
    """Return what belongs to a run on this machine, without deleting anything.

    Args:
        ref: The run's ref. Its record needn't be readable if it had ended when last seen.

    Raises:
        RunNotFoundError: It isn't in the ledger.
        RunNotReadyError: It hasn't ended, or it has a deployment that isn't stopped.
        BackendError: Its backend can't be reached to check that it has ended.
    """
    parsed = RunRef.parse(ref)
    entries = {entry.ref: entry for entry in Ledger().entries()}
    entry = entries.get(str(parsed))
    if entry is None:
        raise RunNotFoundError(f"no run {ref!r} is in the ledger; `ftsdk runs` lists them")
    state = entry.state
    if state not in TERMINAL and isinstance(entry, Record):
        state = status_of(entry, get_backend(parsed.backend, entry.options)).state
    if state not in TERMINAL:
        raise RunNotReadyError(f"run {ref} is {state} and can't be removed; stop it first: ftsdk cancel {ref}")
    if not is_run_id(parsed.id):
        return Removal(ref=entry.ref, state=state, folders=(), bytes=0)
    from ftsdk.deploy.deployment_records import records_in

    if any(record.state != "stopped" for record in records_in(results_folder(entry.ref))):
        raise RunNotReadyError(f"run {ref} has a deployment that isn't stopped; stop it first: ftsdk stop {ref}")
    folder = home() / "runs" / parsed.id
    if folder.is_dir() and is_held(folder):
        raise RunNotReadyError(f"a worker still uses {folder}; try again when it has ended")
    candidates = (folder, results_folder(entry.ref))
    folders = tuple(path for path in candidates if os.path.lexists(path))
    return Removal(ref=entry.ref, state=state, folders=folders, bytes=sum(map(_size, folders)))


def _size(path: Path) -> int:
    if path.is_symlink():
        return 0
    try:
        return sum(file.lstat().st_size for file in path.rglob("*") if file.is_file())
    except OSError:  # removed or locked meanwhile; only a number to show
        return 0


def _unless_gone(
    _function: Callable[..., object], _path: str, found: tuple[type[BaseException], BaseException, object]
) -> None:
    if not isinstance(found[1], FileNotFoundError):
        raise found[1]
