"""F1 over words, and the worst score."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ftsdk.evals import Example, Score, metric, scorer


@scorer
def f1(example: Example, answer: str, *, ignore_case: bool = True) -> Score:
    """Score the overlap of the words of answer and reference: the harmonic mean of precision and recall."""
    expected, found = (Counter((text.lower() if ignore_case else text).split()) for text in (example.expected, answer))
    common = (expected & found).total()
    return Score(2 * common / max(1, expected.total() + found.total()), f"{common} words in common")


@metric
def worst(scores: Sequence[Score]) -> float:
    """Return the lowest score."""
    return min(score.value for score in scores)
