"""Which examples of an evaluation to read first: changed, failed, worst and best."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ftsdk.evals.eval import Eval
from ftsdk.evals.report.parts import AnswerShown, ExampleKind, ExampleList, ExampleShown
from ftsdk.evals.results import ExampleResult

__all__ = ["example_lists", "shown_examples"]

_MOST: Mapping[ExampleKind, int] = {"lost": 10, "won": 10, "failed": 10, "worst": 20, "best": 5}
"""Examples of a list that a report shows."""
_HEAD, _TAIL = 1_500, 400
"""Characters of a long text that are kept."""

Results = Mapping[tuple[str, str], Sequence[ExampleResult]]


def example_lists(item: Eval, results: Results, targets: Sequence[str], subject: str) -> list[ExampleList]:
    """Return the lists of one eval; empty ones are left out.

    Args:
        item: The eval.
        results: All results, by the names of eval and target.
        targets: The names of all targets.
        subject: The target that the others are compared with.
    """
    sign = -1.0 if item.scorer.is_lower_better else 1.0
    worth = {target: [sign * result.value for result in results[item.name, target]] for target in targets}
    count = len(worth[subject])
    found: list[ExampleList] = []

    def add(kind: ExampleKind, target: str, positions: Iterable[int], other: str | None = None) -> None:
        chosen = list(positions)
        if chosen:
            shown = tuple(results[item.name, target][position].index for position in chosen[: _MOST[kind]])
            made = ExampleList(name=item.name, kind=kind, target=target, other=other, total=len(chosen), indexes=shown)
            found.append(made)

    for other in targets:
        if other != subject:
            change = [one - base for one, base in zip(worth[subject], worth[other], strict=True)]
            falls = sorted((position for position in range(count) if change[position] < 0), key=change.__getitem__)
            rises = (position for position in range(count) if change[position] > 0)
            add("lost", subject, falls, other)
            add("won", subject, sorted(rises, key=change.__getitem__, reverse=True), other)
    best_possible = None if item.scorer.is_unbounded else 0.0 if item.scorer.is_lower_better else 1.0
    for target in targets:
        answers, values = results[item.name, target], worth[target]
        add("failed", target, (position for position, one in enumerate(answers) if one.error is not None))
        answered = [position for position, one in enumerate(answers) if one.error is None]
        order = sorted(answered, key=values.__getitem__)
        add("worst", target, (position for position in order if values[position] != best_possible))
        if target == subject:
            add("best", target, sorted(answered, key=values.__getitem__, reverse=True))
    return found


def shown_examples(lists: Sequence[ExampleList], results: Results, targets: Sequence[str]) -> tuple[ExampleShown, ...]:
    """Return the examples of some lists, each once, in the order of the rows."""
    wanted: dict[str, set[int]] = {}
    for one in lists:
        wanted.setdefault(one.name, set()).update(one.indexes)
    return tuple(
        _shown(name, [results[name, target][position] for target in targets], targets)
        for name, indexes in wanted.items()
        for position, result in enumerate(results[name, targets[0]])
        if result.index in indexes
    )


def _shown(name: str, results: Sequence[ExampleResult], targets: Sequence[str]) -> ExampleShown:
    first = results[0]
    return ExampleShown(
        name=name,
        index=first.index,
        prompt=_shortened(first.prompt),
        expected=_shortened(first.expected),
        answers=tuple(
            AnswerShown(
                target=target,
                output=_shortened(result.output),
                value=result.value,
                reason=_shortened(result.reason),
                error=None if result.error is None else _shortened(result.error),
            )
            for target, result in zip(targets, results, strict=True)
        ),
    )


def _shortened(text: str) -> str:
    left_out = len(text) - _HEAD - _TAIL
    # A note about a few characters would be as long as they are.
    return text if left_out < 100 else f"{text[:_HEAD]}\n[... {left_out:,} characters ...]\n{text[-_TAIL:]}"
