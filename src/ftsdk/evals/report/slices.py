"""Scores and differences on the examples that have the same value in a column."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ftsdk.evals.comparison import allow_for_all, compare, summarize
from ftsdk.evals.eval import Eval
from ftsdk.evals.report.parts import LEAST_PAIRED, SlicePair, SliceScore
from ftsdk.evals.results import ExampleResult

__all__ = ["Results", "slice_pairs", "slice_scores"]

_MOST_VALUES = 20
"""Values of a column that get a slice of their own; the rest are taken together."""

Results = Mapping[tuple[str, str], Sequence[ExampleResult]]
"""The results of all examples, by the names of eval and target."""


def slice_scores(evals: Sequence[Eval], results: Results, targets: Sequence[str]) -> tuple[SliceScore, ...]:
    """Return the score of each target on each slice, by the first metric of the eval."""
    found: list[SliceScore] = []
    for item, column, value, positions in _slices(evals, results, targets):
        for target in targets:
            chosen = [results[item.name, target][position] for position in positions]
            (score,) = summarize(item, target, chosen, metrics=item.metrics[:1])
            found.append(SliceScore(column=column, value=value, score=score))
    return tuple(found)


def slice_pairs(evals: Sequence[Eval], results: Results, targets: Sequence[str], subject: str) -> tuple[SlicePair, ...]:
    """Return the difference of `subject` and each other target on each slice of at least `LEAST_PAIRED` examples.

    The p-values allow for all of these slices, by Holm's method.
    """
    found: list[SlicePair] = []
    for item, column, value, positions in _slices(evals, results, targets):
        if len(positions) < LEAST_PAIRED:
            continue
        for other in targets:
            if other == subject:
                continue
            first, second = (
                [results[item.name, target][position] for position in positions] for target in (other, subject)
            )
            (pair,) = compare(item, first, second, names=(other, subject), metrics=item.metrics[:1])
            found.append(SlicePair(column=column, value=value, pair=pair))
    adjusted = allow_for_all([one.pair for one in found])
    return tuple(replace(one, pair=pair) for one, pair in zip(found, adjusted, strict=True))


def _slices(
    evals: Sequence[Eval], results: Results, targets: Sequence[str]
) -> Iterator[tuple[Eval, str, str, list[int]]]:
    """Yield each slice, the largest of a column first: the eval, the column, the value, and which examples."""
    for item in evals:
        for column in item.slices:
            values = [_as_text(result.columns[column]) for result in results[item.name, targets[0]]]
            counts = Counter(values)
            by_size = sorted(counts, key=lambda value: (-counts[value], value))
            own, rare = by_size[:_MOST_VALUES], by_size[_MOST_VALUES:]
            rest = f"({len(rare)} other values)" if rare else ""
            name_of = dict.fromkeys(rare, rest) | {value: value for value in own}
            positions: dict[str, list[int]] = {name: [] for name in [*own, *([rest] if rest else [])]}
            for position, value in enumerate(values):
                positions[name_of[value]].append(position)
            for name, chosen in positions.items():
                yield item, column, name, chosen


def _as_text(value: Any) -> str:
    if value is None or value == "":
        return "(none)"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
