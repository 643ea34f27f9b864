"""The runs that this user started, as a list."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import overload

from ftsdk._format import html_block, html_table, text_table
from ftsdk._rich_text import rich_text
from ftsdk.backends.registry import get_backend
from ftsdk.errors import FtsdkError
from ftsdk.protocol import TERMINAL, Backend, RunRef
from ftsdk.run.ledger import Ledger, Record, Sighting, UnreadableRecord
from ftsdk.run.outcome import CostReport
from ftsdk.run.record_copies import folders_without_copy, is_of_newer_version
from ftsdk.run.recovery import recovered_record
from ftsdk.run.run import Run
from ftsdk.run.submission import status_of

__all__ = ["Runs", "runs"]

_STALLED = frozenset({"interrupted", "blocked"})
"""What backends call a queued run that goes on only when it is resumed."""


class Runs(Sequence[Run]):
    """Runs, the newest first. Prints as a table."""

    def __init__(
        self,
        found: Iterable[Run],
        *,
        unreadable: Iterable[UnreadableRecord] = (),
        stalled: Mapping[str, str] | None = None,
    ) -> None:
        self._runs = list(found)
        self._stalled = dict(stalled or {})
        """By ref, the backend's word for a queued run that waits for its user: `interrupted` or `blocked`."""
        self.unreadable = tuple(unreadable)
        """Runs in the ledger that can't be opened here, with the reason; not among the items, but in the table."""

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> Runs: ...
    def __getitem__(self, index: int | slice) -> Run | Runs:
        return Runs(self._runs[index], stalled=self._stalled) if isinstance(index, slice) else self._runs[index]

    def __len__(self) -> int:
        return len(self._runs)

    def costs(self) -> CostReport:
        """Compare estimates with what the runs took, for each run that was seen to succeed."""
        return CostReport(tuple(comparison for run in self for comparison in run.costs().comparisons))

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Return ref, name, state, start and model of each run.

        Of one that can't be opened, the reason in place of the model.
        """
        rows = [
            (r.ref, r.name or "", r.last_seen_state, f"{r.created_at:%Y-%m-%d %H:%M}", str(r.base_model()))
            for r in self
        ]
        return rows + [(u.ref, "", "unreadable", f"{u.started:%Y-%m-%d %H:%M}", u.reason) for u in self.unreadable]

    def shown_rows(self) -> list[tuple[str, str, str, str, str]]:
        """Return `rows()` for display: a killed run that waits is `interrupted`, one without disk space `blocked`."""
        return [(ref, name, self._stalled.get(ref, state), on, model) for ref, name, state, on, model in self.rows()]

    def __str__(self) -> str:
        rows = [("REF", "NAME", "STATE", "STARTED", "MODEL"), *self.shown_rows()]
        return "no runs yet" if len(rows) == 1 else text_table(rows)

    __rich__ = rich_text

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_block(html_table(self.shown_rows(), head=("ref", "name", "state", "started", "model")))


def _recover(ledger: Ledger) -> list[UnreadableRecord]:
    """Put runs without a record back into the ledger; return those that nothing can put back."""
    whole = {e.ref.partition(":")[2] for e in ledger.entries() if isinstance(e, Record) or not e.is_damaged}
    lost: list[UnreadableRecord] = []
    for folder, reason in folders_without_copy(ledger.path.parent):
        if folder.name in whole:
            continue
        try:
            if is_of_newer_version(folder):
                raise FtsdkError("it was written by a newer ftsdk; upgrade ftsdk")
            ledger.restore(recovered_record(folder))
        except (FtsdkError, OSError) as error:
            lost.append(
                UnreadableRecord(
                    ref=folder.name,
                    created_at=folder.stat().st_mtime,
                    state="unknown",
                    reason=f"{reason}, so it can't be put back into the ledger ({error}); its files, with the weights "
                    f"if it ended, are in {folder}",
                )
            )
    return lost


def runs(*, refresh: bool = True, rebuild: bool = False) -> Runs:
    """Return the runs in the ledger, the newest first.

    One that can't be opened is in `.unreadable`, and hides no other.

    Args:
        refresh: Ask the backends for the state of those that hadn't ended when last seen.
        rebuild: First fill the ledger from the runs' folders. A damaged file is kept under another name beside it. A
            run whose record is lost is made again, without its evals, from what its backend keeps of it; what can't
            be put back is in `.unreadable`, with the reason.

    Raises:
        FtsdkError: The ledger can't be read.
    """
    ledger = Ledger()
    lost: list[UnreadableRecord] = []
    if rebuild:
        ledger.rebuild()
        lost = _recover(ledger)
    found: list[Run] = []
    unreadable: list[UnreadableRecord] = []
    sightings: list[Sighting] = []
    stalled: dict[str, str] = {}
    backends: dict[str, Backend] = {}
    for entry in ledger.entries():
        if isinstance(entry, UnreadableRecord):
            unreadable.append(entry)
            continue
        try:
            backend = _backend_of(entry, backends)
            record = (
                _refreshed(entry, backend, sightings, stalled) if refresh and entry.state not in TERMINAL else entry
            )
            run = Run(record, backend, ledger=ledger)
            run.base_model()
        except FtsdkError as error:
            unreadable.append(
                UnreadableRecord(ref=entry.ref, created_at=entry.created_at, state=entry.state, reason=str(error))
            )
        else:
            found.append(run)
    ledger.saw(*sightings)
    if rebuild:
        # What can't be put back has the better reason, and the ledger's row the whole ref.
        tried = {one.ref: one.reason for one in lost}
        rows = [replace(one, reason=tried.pop(one.ref.partition(":")[2], one.reason)) for one in unreadable]
        unreadable = [*rows, *(one for one in lost if one.ref in tried)]
    return Runs(found, unreadable=unreadable, stalled=stalled)


def _backend_of(record: Record, backends: dict[str, Backend]) -> Backend:
    """Return the backend of a record; records with the same options share one."""
    name = RunRef.parse(record.ref).backend
    key = json.dumps([name, dict(record.options)], sort_keys=True)
    if key not in backends:
        backends[key] = get_backend(name, record.options)
    return backends[key]


def _refreshed(record: Record, backend: Backend, sightings: list[Sighting], stalled: dict[str, str]) -> Record:
    """Return the record with the state that the backend reports; note what is new for the ledger, and what stalled."""
    if record.submitted_at is None:
        return record
    try:
        status = status_of(record, backend)
    except FtsdkError:
        return record  # a backend that can't be reached now must not hide the run
    if status.state == "queued" and status.native in _STALLED:
        stalled[record.ref] = status.native
    price = record.price_usd if status.price_usd is None else str(status.price_usd)
    if (status.state, price) == (record.state, record.price_usd):
        return record
    sightings.append(Sighting(ref=record.ref, state=status.state, price_usd=status.price_usd))
    return replace(record, state=status.state, price_usd=price)
