"""Look for what was left behind: at every place that the ledger has runs of."""

from __future__ import annotations

import json
from collections.abc import Iterable

from ftsdk.backends.registry import get_backend
from ftsdk.errors import FtsdkError
from ftsdk.protocol import Backend, CanListOrphans, Orphan, RunRef
from ftsdk.run.ledger import Ledger, Record

__all__ = ["sweep"]


def sweep(*, ledger: Ledger | None = None, backends: Iterable[Backend] | None = None) -> list[Orphan]:
    """Find what costs money at a place and has no run in the ledger, and runs that nothing at their place works on.

    Runs are asked for their state first, so that one that has ended isn't called an orphan. Nothing is changed.

    Args:
        ledger: None means the user's.
        backends: Where to look; None means every place that the ledger has runs of.

    Raises:
        BackendError: A place can't be asked.
    """
    records = (ledger or Ledger()).list()
    places = list(backends) if backends is not None else _places(records)
    found: list[Orphan] = []
    looked: set[str] = set()
    for place in places:
        if isinstance(place, CanListOrphans):
            states = {RunRef.parse(r.ref).id: _state(place, r) for r in records if RunRef.parse(r.ref).backend == place.name}
            # Backends that differ only in what they rent look at the same place.
            news = [orphan for orphan in place.list_orphans(states) if orphan.to_json() not in looked]
            looked.update(orphan.to_json() for orphan in news)
            found.extend(news)
    return found


def _places(records: Iterable[Record]) -> list[Backend]:
    options = {(RunRef.parse(r.ref).backend, json.dumps(dict(r.options), sort_keys=True)) for r in records}
    return [get_backend(name, json.loads(text)) for name, text in sorted(options)]


def _state(backend: Backend, record: Record) -> str:
    if record.state in ("succeeded", "failed", "cancelled"):
        return record.state
    try:
        return backend.status(RunRef.parse(record.ref)).state
    except FtsdkError:
        return record.state
