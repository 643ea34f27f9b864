"""The runs that this user started, as a list."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import overload

from ftsdk._format import html_table, text_table
from ftsdk.backends.registry import get_backend
from ftsdk.errors import FtsdkError
from ftsdk.protocol import TERMINAL, RunRef
from ftsdk.run.ledger import Ledger, Record
from ftsdk.run.outcome import CostReport
from ftsdk.run.run import Run

__all__ = ["Runs", "runs"]


class Runs(Sequence[Run]):
    """Runs, the newest first; prints as a table."""

    def __init__(self, found: Iterable[Run]) -> None:
        self._runs = list(found)

    @overload
    def __getitem__(self, index: int) -> Run: ...
    @overload
    def __getitem__(self, index: slice) -> Runs: ...
    def __getitem__(self, index: int | slice) -> Run | Runs:
        return Runs(self._runs[index]) if isinstance(index, slice) else self._runs[index]

    def __len__(self) -> int:
        return len(self._runs)

    def costs(self) -> CostReport:
        """Hold estimates against what was, for each run that was seen to end."""
        return CostReport(tuple(comparison for run in self for comparison in run.costs().comparisons))

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """Give ref, name, state, start and model of each run."""
        return [(r.ref, r.name or "", r.last_seen_state, f"{r.created_at:%Y-%m-%d %H:%M}", str(r.plan.spec.model)) for r in self]

    def __str__(self) -> str:
        if not self._runs:
            return "no runs yet"
        rows = [("REF", "NAME", "STATE", "STARTED", "MODEL"), *self.rows()]
        return text_table(rows)

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return html_table(self.rows(), head=("ref", "name", "state", "started", "model"))


def runs(*, refresh: bool = True) -> Runs:
    """List the runs in the ledger, the newest first.

    Args:
        refresh: Ask the backends about those that weren't over when last seen.
    """
    ledger = Ledger()
    found: list[Run] = []
    for record in ledger.list():
        run = _open_record(record, ledger)
        if refresh and record.state not in TERMINAL:
            run = _refreshed(run, ledger)
        found.append(run)
    return Runs(found)


def _open_record(record: Record, ledger: Ledger) -> Run:
    return Run(record, get_backend(RunRef.parse(record.ref).backend, record.options), ledger=ledger)


def _refreshed(run: Run, ledger: Ledger) -> Run:
    try:
        run.status()
    except FtsdkError:
        return run  # a backend that can't be asked now must not hide the other runs
    return _open_record(ledger.get(run.ref), ledger)
