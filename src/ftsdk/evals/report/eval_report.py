"""`EvalReport`: the scores of an evaluation and what to keep in mind about them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from ftsdk._files import read_regular_file
from ftsdk.errors import SpecError
from ftsdk.evals.gate import Gate, Verdict
from ftsdk.evals.report import data as report_data
from ftsdk.evals.report import html, junit, text
from ftsdk.evals.report.parts import (
    LEAST_PAIRED,
    EvalJudgeCost,
    ExampleList,
    ExampleShown,
    SlicePair,
    SliceScore,
    TargetConfusion,
    TargetCost,
)
from ftsdk.evals.results import EvalScore, PairedScore
from ftsdk.spec.positional import by_name_only

__all__ = ["EvalReport"]

_SMALL = 100
"""Below this many examples one example is worth more than a point, and the report says so."""
_MANY_SLICES = 20
"""From as many slices on, one interval in 20 that misses the truth is to be expected."""
_MOST_BYTES = 200_000_000


@by_name_only
@dataclass(frozen=True, kw_only=True)
class EvalReport:
    """Targets on the same examples: usually base against tuned. Print it, or show it in a notebook.

    It holds all that it shows, a choice of examples with their answers included, so a report that is read back from
    `report.json` needs no other file. All answers, in full, are in the files of `folder`.
    """

    title: str
    """What was evaluated, such as the ref of the run."""
    scores: tuple[EvalScore, ...]
    pairs: tuple[PairedScore, ...] = ()
    gate: Gate | None = None
    """What the model had to show; None: no gate was set."""
    verdict: Verdict | None = None
    """Whether it has shown it; None: no gate was set."""
    slices: tuple[SliceScore, ...] = ()
    """The first metric for each value of the columns that the evals name."""
    slice_pairs: tuple[SlicePair, ...] = ()
    """The differences on these slices, for those of at least 10 examples: exploratory, as their p-values allow for all
    slices, but not for having looked at them."""
    confusions: tuple[TargetConfusion, ...] = ()
    """Of evals whose scorer names classes."""
    costs: tuple[TargetCost, ...] = ()
    """What the answers cost, how many were accepted, and how long they took."""
    judge_costs: tuple[EvalJudgeCost, ...] = ()
    """What models that judge have cost, by eval; `costs` are of the answers alone."""
    lists: tuple[ExampleList, ...] = ()
    """Which examples to read first: changed, failed, worst and best."""
    examples: tuple[ExampleShown, ...] = ()
    """The examples of the lists, with the answers of all targets; long texts are shortened."""
    folder: Path | None = None
    """Where every single answer can be read: `<eval>/<target>.jsonl`."""

    def score(self, name: str, target: str, metric: str | None = None) -> EvalScore:
        """Return one score: by the eval's first metric, unless another is named.

        Raises:
            KeyError: No such eval or target in the report.
        """
        for score in self.scores:
            if (score.name, score.target) == (name, target) and metric in (None, score.metric):
                return score
        known = ", ".join(f"{score.target} on {score.name}" for score in self.scores)
        raise KeyError(f"no score of {target!r} on {name!r}; known: {known}")

    @property
    def notes(self) -> tuple[str, ...]:
        """What to keep in mind when reading the numbers."""
        found: list[str] = []
        overlapping: dict[tuple[str, str], list[str]] = {}
        for pair in self.pairs:
            base, tuned = (self.score(pair.name, target, pair.metric) for target in (pair.base, pair.tuned))
            by = "" if pair.metric == "mean" else f", {pair.metric}"
            if base.low <= tuned.high and tuned.low <= base.high:
                overlapping.setdefault((f"{pair.name}{by}", pair.tuned), []).append(pair.base)
        for (what, subject), others in overlapping.items():
            overlap = f"the intervals of {others[0]} and {subject} overlap"
            if len(others) > 1:
                overlap = f"the interval of {subject} overlaps those of {', '.join(others)}"
            found.append(f"{what}: {overlap}; the difference on the same examples is the sharper test.")
        for pair in self.pairs:
            by = "" if pair.metric == "mean" else f", {pair.metric}"
            if pair.reach:
                found.append(f"{pair.name}{by}, {pair.tuned} against {pair.base}: {pair.reach}.")
        for name, n in dict.fromkeys((score.name, score.n) for score in self.scores):
            if n < _SMALL:
                is_counted = any(score.correct is not None for score in self.scores if score.name == name)
                worth = f", one example is worth {100 / n:.1f} points" if is_counted else ""
                found.append(f"{name}: n = {n} is small{worth}; use more examples for a firmer answer.")
        for pair in self.pairs:
            errors = self.score(pair.name, pair.base, pair.metric).errors
            note = (
                f"{pair.name}: {pair.tuned} against {pair.base} isn't fair to {pair.base}, whose {errors} missing "
                "answers count as wrong; evaluate again, which asks for them only."
            )
            if errors and note not in found:
                found.append(note)
        for score in self.scores:
            missing = f"{score.errors} of {score.n} examples have no answer from {score.target}"
            note = f"{score.name}: {missing}; they count as wrong."
            if score.errors and note not in found:
                found.append(note)
            note = (
                f"{score.name}: {score.unkept} of {score.n} answers of {score.target} don't keep to its choices or "
                "schema: the server ignored them, or the answer was cut off; they are scored as they came."
            )
            if score.unkept and note not in found:
                found.append(note)
            note = (
                f"{score.name}: {score.wrong_form} wrong answers of {score.target} contain the reference: the form is "
                "wrong, the content may be right. Score it with `choice` or `contains`, or ask for the form with "
                "`prompted` or `constrained`."
            )
            if score.wrong_form >= max(2, score.n / 10) and note not in found:
                found.append(note)
        return (*found, *_slice_notes(self.slices, self.slice_pairs))

    def __str__(self) -> str:
        return text.to_text(self)

    def __rich__(self) -> Any:
        """Return the report for a terminal."""
        return text.to_rich(self)

    def to_html(self) -> str:
        """Return the report as an HTML page that loads nothing and runs no script: it can be mailed, and kept."""
        return html.to_page(self)

    def _repr_html_(self) -> str:
        return html.to_block(self)

    def to_junit(self, *, most_failures: int = 20, timestamp: datetime | None = None) -> str:
        """Return the report as JUnit XML, which CI servers show: a test suite for each eval and target.

        A suite has a test case for each score, which passes, and one for each of the worst answers, which fails;
        the gate is a suite of its own, and fails unless its verdict is "ship".

        Args:
            most_failures: The most answers of a suite that are listed; the report holds 20.
            timestamp: When it was evaluated; None: now.
        """
        return junit.to_junit(self, most_failures=most_failures, timestamp=timestamp)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, without its folder, which means nothing on another machine."""
        return report_data.to_dict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], *, folder: Path | None = None) -> EvalReport:
        """Read what `to_dict` wrote, now or in an earlier version.

        Raises:
            SpecError: Not a report.
        """
        return cls(folder=folder, **report_data.from_dict(data))

    @classmethod
    def read(cls, folder: str | Path) -> EvalReport:
        """Read the report that `evaluate` wrote.

        Args:
            folder: The folder of the results, with `report.json` in it.

        Raises:
            SpecError: There is no report in it, or it can't be read.
        """
        path = Path(folder).expanduser() / "report.json"
        try:
            found = json.loads(read_regular_file(path, most_bytes=_MOST_BYTES))
        except (OSError, ValueError, RecursionError) as error:
            raise SpecError(
                f"no report can be read from {path} ({_reason(error)}); evaluate first, or again"
            ) from error
        if not isinstance(found, dict):
            raise SpecError(f"{path} holds no report; evaluate again")
        return cls.from_dict(cast("Mapping[str, Any]", found), folder=path.parent)


def _reason(error: Exception) -> str:
    """Return what is wrong with a file, without its path, which the message names already."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def _slice_notes(slices: tuple[SliceScore, ...], pairs: tuple[SlicePair, ...]) -> list[str]:
    found: list[str] = []
    if pairs:
        found.append(
            f"differences by slice are exploratory: their p-values allow for all {len(pairs)} of them (Holm), and "
            "what they suggest is to be confirmed on new examples."
        )
    is_compared = len({one.score.target for one in slices}) > 1
    hidden = [one for one in slices if one.score.n < LEAST_PAIRED] if is_compared else []
    if hidden:
        names = list(dict.fromkeys(f"{one.column} = {one.value}" for one in hidden))
        rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
        found.append(
            f"slices with fewer than {LEAST_PAIRED} examples have no difference here: {', '.join(names[:3])}{rest}."
        )
    small = list(dict.fromkeys((one.score.name, one.column, one.value) for one in slices if one.is_small))
    if small:
        names = ", ".join(f"{column} = {value}" for _, column, value in small[:3])
        rest = f" and {len(small) - 3} more" if len(small) > 3 else ""
        found.append(
            f"small slices, with fewer than 30 examples: {names}{rest}; read their intervals, not their values."
        )
    if len(slices) >= _MANY_SLICES:
        found.append(
            f"of {len(slices)} intervals of slices, about {max(1, round(0.05 * len(slices)))} miss the true value by "
            "chance alone: take a striking slice as a question, and answer it on new examples."
        )
    return found
