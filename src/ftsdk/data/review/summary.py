"""How many of the reviewed rows are bad, and what that says of all rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ftsdk._rich_text import rich_text
from ftsdk._wilson import wilson
from ftsdk.data.review.verdicts import RowVerdict

__all__ = ["ReviewSummary", "summarise_review"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReviewSummary:
    """The verdicts on a sample."""

    rows: int
    """Rows of the dataset."""
    sample: int
    """Rows of the sample."""
    good: int
    bad: int
    skipped: int
    corrected: int
    """Rows with a better answer; they count as bad, unless they were judged good."""
    interval: tuple[float, float] | None
    """The 95% interval of the share of bad rows in the dataset, by Wilson; None: no row was judged."""

    @property
    def judged(self) -> int:
        """Rows that were judged good or bad."""
        return self.good + self.bad

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain data."""
        return {**asdict(self), "interval": None if self.interval is None else list(self.interval)}

    def __str__(self) -> str:
        left = self.sample - self.judged - self.skipped
        lines = [
            f"{self.judged:,} of {self.sample:,} rows judged: {self.good:,} good, {self.bad:,} bad; "
            f"{self.skipped:,} skipped, {left:,} left"
        ]
        if self.corrected:
            lines.append(f"{self.corrected:,} corrected")
        if self.interval is not None:
            low, high = self.interval
            lines.append(
                f"bad: {_percent(self.bad / self.judged)} of those judged; of all {self.rows:,} rows "
                f"{_percent(low)} to {_percent(high)} (95% interval, Wilson), as far as the sample is like them"
            )
        return "\n".join(lines)

    __rich__ = rich_text


def summarise_review(ids: Iterable[str], verdicts: Mapping[str, RowVerdict], *, rows: int) -> ReviewSummary:
    """Return the summary of a sample.

    Args:
        ids: The ids of the rows in it; see `row_ids`.
        verdicts: Verdicts by ids.
        rows: How many rows the dataset has.
    """
    sample = list(ids)
    found = [verdicts[one] for one in sample if one in verdicts]
    counts = Counter(one.verdict or ("bad" if one.completion is not None else "none") for one in found)
    good, bad = counts["good"], counts["bad"]
    return ReviewSummary(
        rows=rows,
        sample=len(sample),
        good=good,
        bad=bad,
        skipped=counts["skip"],
        corrected=sum(one.completion is not None for one in found),
        interval=wilson(bad, good + bad) if good + bad else None,
    )


def _percent(share: float) -> str:
    return f"{share * 100:.1f}%"
