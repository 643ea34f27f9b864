"""Two runs of one job: whether the second came out as the first did, and if not, what may be the reason."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from ftsdk._format import html_block, html_table, notes_html, printable, text_table
from ftsdk._rich_text import rich_text
from ftsdk.errors import SpecError
from ftsdk.protocol import Event
from ftsdk.run.diagnosis.evidence import loss_curves
from ftsdk.run.difference import Change, difference
from ftsdk.run.record import Record

__all__ = ["EvalChange", "Reproduction", "ReproductionVerdict", "compare_repeat", "version_changes", "weights_apart"]

ReproductionVerdict = Literal["reproduced", "within seed noise", "differs"]
_SAME_LOSS = 1e-5
"""Relative; events round losses to six digits."""
_SAME_WEIGHTS = 1e-6


@dataclass(frozen=True, kw_only=True)
class EvalChange:
    """One eval of both tuned models, on the same examples."""

    name: str
    first: float
    second: float
    low: float
    """95% interval of the difference, second minus first."""
    high: float
    n: int

    @property
    def is_within_noise(self) -> bool:
        """Whether no difference is within the interval."""
        return self.low <= 0 <= self.high


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """Whether a run could be reproduced. Print it, or show it in a notebook."""

    refs: tuple[str, str]
    verdict: ReproductionVerdict
    reasons: tuple[str, ...]
    """What the verdict rests on."""
    loss_difference: float | None
    """Largest difference of a step's loss, relative; None: no step has a loss in both."""
    weights_difference: float | None
    """Largest absolute difference of a weight; None: not compared."""
    evals: tuple[EvalChange, ...] = ()
    changes: tuple[Change, ...] = ()
    """What differs in jobs, requests and versions: where to look for the reason."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "refs": list(self.refs),
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "loss_difference": self.loss_difference,
            "weights_difference": self.weights_difference,
            "evals": [vars(one) for one in self.evals],
            "changes": [change.to_dict() for change in self.changes],
        }

    def _rows(self) -> list[tuple[str, str]]:
        rows = [
            ("largest difference of a loss", _number(self.loss_difference, relative=True)),
            ("largest difference of a weight", _number(self.weights_difference)),
        ]
        rows += [
            (
                f"{one.name}, {one.n} examples",
                f"{one.first:.4g} and {one.second:.4g}; difference {one.low:+.3g} to {one.high:+.3g}",
            )
            for one in self.evals
        ]
        return [*rows, *((change.field, f"{change.first} -> {change.second}") for change in self.changes)]

    def __str__(self) -> str:
        head = f"{self.refs[1]} and {self.refs[0]}: {self.verdict}"
        return printable("\n".join([head, text_table(self._rows()), *self.reasons]))

    __rich__ = rich_text

    def to_html(self) -> str:
        """Return it as a self-contained piece of HTML."""
        title = f"{self.refs[1]} and {self.refs[0]}: {self.verdict}"
        return html_block(html_table(self._rows()), notes_html(self.reasons), title=title)

    def _repr_html_(self) -> str:
        return self.to_html()


def compare_repeat(
    first: Record,
    second: Record,
    *,
    events: tuple[Sequence[Event], Sequence[Event]],
    manifests: tuple[Mapping[str, Any], Mapping[str, Any]],
    weights: float | None,
    results: tuple[Path, Path],
) -> Reproduction:
    """Compare a run with its repeat.

    Args:
        first: The run.
        second: Its repeat.
        events: Of each.
        manifests: Of the weights of each.
        weights: Largest difference of a weight; None: not compared.
        results: The folder of each run's evaluation, which may be missing.
    """
    curves = tuple(loss_curves(some)[0] for some in events)
    losses = [dict(curve.points) for curve in curves]
    shared = sorted(losses[0].keys() & losses[1].keys())
    off = max((_relative(losses[0][step], losses[1][step]) for step in shared), default=None)
    evals = tuple(_evals(*results))
    versions = [cast("Mapping[str, str]", (one.get("info") or {}).get("versions") or {}) for one in manifests]
    changes = (*difference(first, second).changes, *version_changes(versions[0], versions[1]))
    same_steps = len(losses[0]) == len(losses[1]) == len(shared)
    verdict, reasons = _judge(off, weights, evals, _noise(losses, shared), same_steps=same_steps)
    if verdict != "reproduced":
        reasons = (*reasons, _where_to_look(changes))
    return Reproduction(
        refs=(first.ref, second.ref),
        verdict=verdict,
        reasons=reasons,
        loss_difference=off,
        weights_difference=weights,
        evals=evals,
        changes=changes,
    )


def _judge(
    off: float | None, weights: float | None, evals: Sequence[EvalChange], noise: float | None, *, same_steps: bool
) -> tuple[ReproductionVerdict, tuple[str, ...]]:
    if weights is not None and weights <= _SAME_WEIGHTS and (off is None or (off <= _SAME_LOSS and same_steps)):
        return "reproduced", (f"the weights are the same to {weights:.1g}, and so is each step's loss",)
    apart = [one for one in evals if not one.is_within_noise]
    if apart:
        names = ", ".join(one.name for one in apart)
        return "differs", (f"on the same examples the two models differ by more than chance: {names}",)
    if noise is not None and noise > 2:
        return "differs", (f"the losses at the end are {noise:.1f} standard errors apart",)
    if noise is None and not evals:
        return "differs", ("there is neither a loss nor an evaluation of both that could show them alike",)
    reasons = ["the weights differ" if weights is not None else "the weights weren't compared"]
    if noise is not None:
        reasons.append(f"the losses at the end are {noise:.1f} standard errors apart, as those of two seeds would be")
    if evals:
        reasons.append("no eval differs by more than chance")
    return "within seed noise", ("; ".join(reasons),)


def _noise(losses: Sequence[Mapping[int, float]], shared: Sequence[int]) -> float | None:
    """Return how far apart the last quarters of two loss curves are, in standard errors of that difference."""
    last = shared[-max(4, len(shared) // 4) :]
    if len(last) < 4:
        return None
    apart = [losses[1][step] - losses[0][step] for step in last]
    mean = sum(apart) / len(apart)
    spread = [losses[0][step] for step in last]
    middle = sum(spread) / len(spread)
    # Of single runs: differences step by step would have no spread where a whole curve is shifted.
    error = math.sqrt(2 * sum((loss - middle) ** 2 for loss in spread) / (len(spread) - 1) / len(spread))
    return abs(mean) / error if error else (0.0 if mean == 0 else math.inf)


def _evals(first: Path, second: Path) -> Iterator[EvalChange]:
    from ftsdk.evals.statistics import paired_mean_interval
    from ftsdk.evals.storage import read_results

    for file in sorted(first.glob("*/tuned.jsonl")):
        other = second / file.parent.name / "tuned.jsonl"
        if not other.is_file():
            continue
        try:
            one, two = read_results(file), read_results(other)
        except SpecError:
            continue
        scores = [{row.index: row.value for row in rows} for rows in (one, two)]
        both = sorted(scores[0].keys() & scores[1].keys())
        if len(both) < 2:
            continue
        values = [[score[key] for key in both] for score in scores]
        interval = paired_mean_interval(
            values[0], values[1], is_bounded=all(0 <= value <= 1 for some in values for value in some)
        )
        yield EvalChange(
            name=file.parent.name,
            first=sum(values[0]) / len(both),
            second=sum(values[1]) / len(both),
            low=interval.low,
            high=interval.high,
            n=len(both),
        )


def version_changes(first: Mapping[str, str], second: Mapping[str, str]) -> Iterator[Change]:
    """Yield what packages differ in."""
    for name in sorted(first.keys() | second.keys()):
        if first.get(name) != second.get(name):
            yield Change(field=f"version of {name}", first=first.get(name), second=second.get(name))


def weights_apart(first: Path, second: Path) -> float | None:
    """Return the largest absolute difference of a weight of two folders; infinite if they have different ones.

    Returns:
        None if the package that reads them isn't installed, or there are none.
    """
    try:
        from safetensors.torch import load_file
    except ImportError:
        return None
    files = [{file.name: file for file in folder.glob("*.safetensors")} for folder in (first, second)]
    if not files[0]:
        return None
    if files[0].keys() != files[1].keys():
        return math.inf
    most = 0.0
    for name in files[0]:
        one, two = (load_file(some[name]) for some in files)
        if one.keys() != two.keys() or any(one[key].shape != two[key].shape for key in one):
            return math.inf
        for key in one:
            if one[key].numel():
                most = max(most, float((one[key].float() - two[key].float()).abs().max()))
    return most


def _where_to_look(changes: Sequence[Change]) -> str:
    if not changes:
        return (
            "job, request and versions are the same, so the reason is elsewhere: kernels that add up in another order, "
            "or another device"
        )
    names = ", ".join(change.field for change in changes[:6])
    return f"{len(changes)} things differ, among which the reason may be: {names}"


def _relative(one: float, two: float) -> float:
    return abs(one - two) / max(abs(one), abs(two), 1e-12)


def _number(value: float | None, *, relative: bool = False) -> str:
    return "not compared" if value is None else f"{value:.2%}" if relative and value > 1e-4 else f"{value:.2g}"
