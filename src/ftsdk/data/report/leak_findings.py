"""Rows of other datasets, such as a test set, that the dataset also has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ftsdk.data.duplicates.leaks import Leak
from ftsdk.data.leak_check import JudgedBy, leaks_of
from ftsdk.data.report.excerpts import Excerpts
from ftsdk.data.report.finding import Finding, Severity, make_finding
from ftsdk.data.row_keys import prompt_text
from ftsdk.data.rows import Rows

__all__ = ["leak_findings"]

_GROUPS: tuple[tuple[Severity, frozenset[str], str], ...] = (
    ("error", frozenset({"row", "near row"}), "rows of {} that this dataset also has, with the same answer"),
    ("warning", frozenset({"prompt", "near prompt"}), "prompts of {} that this dataset also has, or almost"),
    ("note", frozenset({"13-gram answer", "8-gram answer"}), "answers of {} that a row of this dataset contains"),
)


def leak_findings(dataset: Rows, judges: Sequence[JudgedBy]) -> Iterator[Finding]:
    """Yield what the rows of each judge share with those of the dataset.

    Raises:
        DatasetError: The rows are still a table.
    """
    for judge in judges:
        leaks = leaks_of(judge, dataset)
        for severity, kinds, title in _GROUPS:
            found: dict[int, Leak] = {leak.position: leak for leak in leaks if leak.kind in kinds}
            if not found or not isinstance(judge.rows, Rows):
                continue
            rows = sorted(found)
            judged = judge.rows
            shown = rows[:5]
            excerpts = Excerpts(judged, _Prompts(judged), judge.field)
            notes = [
                f"as line {dataset.line_of(found[row].other)} of this dataset"
                + (f", similarity {found[row].similarity:.2f}" if found[row].similarity < 1 else "")
                for row in shown
            ]
            yield make_finding(
                "leaks",
                rows,
                len(judged),
                excerpts.of(shown, notes),
                severity=severity,
                title=title.format(judge.label),
            )


class _Prompts(Sequence[str]):
    def __init__(self, dataset: Rows) -> None:
        self._dataset = dataset

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, index: int) -> str:  # type: ignore[override]
        return prompt_text(self._dataset.rows[index], self._dataset.format)
