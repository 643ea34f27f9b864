"""Find what was left behind at every backend that the ledger has runs of."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ftsdk.backends.registry import get_backend
from ftsdk.errors import FtsdkError, SpecError
from ftsdk.protocol import TERMINAL, Backend, CanListOrphans, Orphan, RunRef
from ftsdk.run.ledger import Ledger, Record, UnreadableRecord

__all__ = ["find_orphans"]


def find_orphans(*, ledger: Ledger | None = None, backends: Iterable[Backend] | None = None) -> list[Orphan]:
    """Return what costs money at a backend and has no run in the ledger, and runs that no worker is working on.

    The state of each run is refreshed first, so that one that has ended isn't called an orphan. Nothing is changed.

    Args:
        ledger: None means the user's.
        backends: Where to look; None means every backend that the ledger has runs of.

    Raises:
        BackendError: A backend can't be reached.
        MissingExtraError: A backend isn't installed.
    """
    entries = [entry for entry in (ledger or Ledger()).entries() if _has_ref(entry)]
    found: list[Orphan] = []
    seen: set[str] = set()
    for backend in _backends(entries) if backends is None else backends:
        if isinstance(backend, CanListOrphans):
            states = {
                RunRef.parse(e.ref).id: _state(backend, e) for e in entries if e.ref.startswith(f"{backend.name}:")
            }
            # Backends that differ only in the hardware that they rent list the same account.
            news = [orphan for orphan in backend.list_orphans(states) if orphan.to_json() not in seen]
            seen.update(orphan.to_json() for orphan in news)
            found.extend(news)
    return found


def _backends(entries: Iterable[Record | UnreadableRecord]) -> list[Backend]:
    options = {
        (RunRef.parse(e.ref).backend, json.dumps(dict(e.options), sort_keys=True))
        for e in entries
        if isinstance(e, Record)
    }
    return [get_backend(name, json.loads(text)) for name, text in sorted(options)]


def _has_ref(entry: Record | UnreadableRecord) -> bool:
    try:
        RunRef.parse(entry.ref)
    except SpecError:
        return False
    return True


def _state(backend: Backend, entry: Record | UnreadableRecord) -> str:
    if entry.state in TERMINAL or isinstance(entry, UnreadableRecord):
        return entry.state
    try:
        return backend.status(RunRef.parse(entry.ref)).state
    except FtsdkError:
        return entry.state
