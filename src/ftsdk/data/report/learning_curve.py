"""Whether there are enough rows, from the scores of runs of one job on different numbers of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ftsdk._format import printable

__all__ = ["NO_RUN", "CurvePoint", "enough_rows"]

NO_RUN = "not known: no evaluated run of this job; job.report() looks for runs on different numbers of rows"
_FLAT = 0.01
"""A gain below this isn't worth more rows, for scores between 0 and 1."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CurvePoint:
    """The score of one run."""

    run: str
    """Its ref."""
    rows: int
    """Rows that it was trained on."""
    name: str
    """The eval."""
    data: str
    """Fingerprint of the eval's rows: scores on other rows aren't compared."""
    value: float
    low: float
    """Lower end of the 95% interval."""
    high: float


def enough_rows(points: Sequence[CurvePoint]) -> str:
    """Return whether more rows would help, and what that rests on, in a sentence.

    Of each eval, the two largest numbers of rows are compared. The runs are taken as independent, which makes the
    interval of the difference too wide rather than too narrow, since they answered the same examples.

    Args:
        points: Scores between 0 and 1 of runs of one job, the newest first; of runs on as many rows, the first counts.
    """
    curves: dict[tuple[str, str], dict[int, CurvePoint]] = {}
    for point in points:
        curves.setdefault((point.name, point.data), {}).setdefault(point.rows, point)
    found = [_verdict(list(curve.values())) for curve in curves.values() if len(curve) > 1]
    if found:
        return "; ".join(found)
    if points:
        one = points[0]
        return (
            f"not known: the runs of this job ({one.run} and the like) were trained on one number of rows, "
            f"{one.rows:,}; train on half of them for comparison"
        )
    return NO_RUN


def _verdict(curve: list[CurvePoint]) -> str:
    *_, before, last = sorted(curve, key=lambda point: point.rows)
    gain = last.value - before.value
    margin = math.hypot(*((point.high - point.low) / 2 for point in (before, last)))
    if gain - margin > 0:
        says = "more rows of this kind may help further"
    elif gain + margin < 0:
        says = "the run on more rows is worse: look at the rows that were added"
    elif gain + margin < _FLAT:
        says = "more rows of this kind bring little"
    else:
        says = "can't tell whether more rows help: the difference is within chance"
    return (
        f"{says} ({printable(last.name, 60)}: {before.value:.3g} with {before.rows:,} rows, {last.value:.3g} with "
        f"{last.rows:,}; difference {gain:+.3f}, 95% interval {gain - margin:+.3f} to {gain + margin:+.3f}; runs "
        f"{before.run} and {last.run})"
    )
