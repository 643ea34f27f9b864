"""What differs between two runs, so that one thing changes at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ftsdk._format import duration, html_block, html_table, money, notes_html, text_table
from ftsdk._rich_text import rich_text
from ftsdk.protocol import Event
from ftsdk.run.diagnosis.evidence import loss_curves, report_in
from ftsdk.run.evaluation import results_folder
from ftsdk.run.record import Record

if TYPE_CHECKING:
    from ftsdk.evals import EvalReport

__all__ = ["Change", "RunDifference", "difference"]

_LONGEST = 48
"""Characters of a value that a table shows."""
_REQUEST = "request."
_LABELS = frozenset({"name"})
"""Fields that change nothing about what a run does."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """One field that two runs don't share."""

    field: str
    """Dotted, such as `tuning.rank`."""
    first: Any
    """None: the run doesn't have it."""
    second: Any

    def to_dict(self) -> dict[str, Any]:
        """Return the change as plain data."""
        return {"field": self.field, "first": self.first, "second": self.second}


@dataclass(frozen=True, kw_only=True)
class RunDifference:
    """What differs between two jobs, and the results of each. Print it, or show it in a notebook."""

    refs: tuple[str, str]
    changes: tuple[Change, ...]
    """What was asked for: the fields of the job, its data by content, the backend and its options."""
    results: tuple[Change, ...]
    """What came out: losses, scores, price and time."""
    notes: tuple[str, ...] = ()

    def _rows(self) -> list[tuple[str, str, str]]:
        rows = [("job", "", ""), *map(_row, self.changes)]
        if not self.changes:
            rows.append(("  nothing differs", "", ""))
        if self.results:
            rows += [("results", "", ""), *map(_row, self.results)]
        return rows

    def __str__(self) -> str:
        table = text_table([("", *self.refs), *self._rows()], has_rule=True)
        return "\n".join([table, *([""] if self.notes else []), *(f"Note: {note}" for note in self.notes)])

    __rich__ = rich_text

    def to_html(self) -> str:
        """Return the difference as a self-contained piece of HTML."""
        return html_block(
            html_table(self._rows(), head=("", *self.refs)), notes_html(self.notes), title="Difference of two runs"
        )

    def _repr_html_(self) -> str:
        return self.to_html()

    def to_dict(self) -> dict[str, Any]:
        """Return the difference as plain data."""
        return {
            "refs": list(self.refs),
            "changes": [change.to_dict() for change in self.changes],
            "results": [change.to_dict() for change in self.results],
            "notes": list(self.notes),
        }


def difference(
    first: Record, second: Record, *, events: tuple[Sequence[Event], Sequence[Event]] = ((), ())
) -> RunDifference:
    """Compare two runs: what was asked for, and what came out.

    Args:
        first: A run as the ledger keeps it.
        second: Another one.
        events: Of each, in order; without them there are no losses.
    """
    asked = [_asked(record) for record in (first, second)]
    found = list(_changes(*asked))
    fields = {change.field.rpartition(".")[2] for change in found if not change.field.startswith(_REQUEST)}
    # What follows from the spec needs no second line.
    changes = tuple(
        change
        for change in found
        if not change.field.startswith(_REQUEST) or change.field.rpartition(".")[2] not in fields
    )
    reports = [report_in(results_folder(record.ref) / "evals") for record in (first, second)]
    came = [
        _came_out(record, report, seen) for record, report, seen in zip((first, second), reports, events, strict=True)
    ]
    notes: list[str] = []
    # What the backend chose follows from what was asked for, unless nothing else differs.
    asked_for = [change.field for change in changes if not change.field.startswith(_REQUEST)]
    named = {field.partition(".")[0] for field in asked_for} - _LABELS
    if len(named) > 1:
        notes.append(
            f"{len(named)} things differ ({', '.join(sorted(named))}), so no single one explains the outcome; change "
            "one at a time"
        )
    rows = [{score.name: score.data for score in report.scores} if report else {} for report in reports]
    other_rows = sorted(name for name in rows[0].keys() & rows[1].keys() if rows[0][name] != rows[1][name])
    if other_rows:
        notes.append(f"measured on different rows, so the scores can't be compared: {', '.join(other_rows)}")
    return RunDifference(
        refs=(first.ref, second.ref), changes=changes, results=tuple(_changes(*came, all_of=True)), notes=tuple(notes)
    )


def _asked(record: Record) -> dict[str, Any]:
    spec: Any = record.plan.get("spec")
    request: Any = record.plan.get("request")
    found = dict(_flat(spec)) if isinstance(spec, Mapping) else {}
    found["backend"] = record.ref.partition(":")[0]
    found |= {f"backend.{name}": value for name, value in _flat(record.options)}
    if isinstance(request, Mapping):
        # What the backend chose where the spec left it open.
        found |= {f"{_REQUEST}{name}": value for name, value in _flat(request) if not name.startswith("inputs")}
    return found


def _came_out(record: Record, report: EvalReport | None, events: Sequence[Event]) -> dict[str, Any]:
    found: dict[str, Any] = {"state": record.state}
    training, validation = loss_curves(events)
    if len(training):
        found["training loss, last tenth"] = f"{training.last:.4g}"
    if len(validation):
        step, lowest = min(validation.points, key=lambda point: point[1])
        found["validation loss, last"] = f"{validation.points[-1][1]:.4g}"
        found["validation loss, lowest"] = f"{lowest:.4g} (step {step:,})"
    outcome = record.outcome or {}
    for name, shown in (("cost_usd", _usd), ("seconds", duration), ("tokens", _grouped), ("peak_memory_gb", str)):
        if outcome.get(name) is not None:
            try:
                found[name] = shown(outcome[name])
            except (ArithmeticError, TypeError, ValueError):  # a damaged record
                found[name] = str(outcome[name])
    for score in report.scores if report is not None else ():
        by = "" if score.metric == "mean" else f", {score.metric}"
        value = f"{score.value:.1%}" if score.is_bounded else f"{score.value:.4g}"
        found[f"{score.name}{by} ({score.target})"] = value
    return found


def _grouped(value: Any) -> str:
    return f"{value:,}"


def _usd(value: Any) -> str:
    return money(float(value))


def _changes(first: Mapping[str, Any], second: Mapping[str, Any], *, all_of: bool = False) -> Iterator[Change]:
    for name in dict.fromkeys([*first, *second]):
        one, other = first.get(name), second.get(name)
        if all_of or one != other:
            yield Change(field=name, first=one, second=other)


def _flat(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, part in value.items():
        if isinstance(part, Mapping):
            yield from _flat(part, f"{prefix}{name}.")
        elif part is not None:
            yield f"{prefix}{name}", part


def _row(change: Change) -> tuple[str, str, str]:
    first, second = (_shown(value) for value in (change.first, change.second))
    return f"  {change.field}", first, second


def _shown(value: Any) -> str:
    text = "-" if value is None else str(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]}…{text[-_LONGEST // 2 + 1 :]}"
