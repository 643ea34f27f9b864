"""`EvalReport`: the scores of an evaluation and what to keep in mind about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftsdk.evals import report_data, report_html, report_text
from ftsdk.evals.gate import Gate, Verdict
from ftsdk.evals.results import EvalScore, PairedScore
from ftsdk.spec.positional import by_name_only

__all__ = ["EvalReport"]

_SMALL = 100
"""Below this many examples one example is worth more than a point, and the report says so."""


@by_name_only
@dataclass(frozen=True, kw_only=True)
class EvalReport:
    """Targets on the same examples: usually base against tuned. Print it, or show it in a notebook."""

    title: str
    """What was evaluated, such as the ref of the run."""
    scores: tuple[EvalScore, ...]
    pairs: tuple[PairedScore, ...] = ()
    gate: Gate | None = None
    """What the model had to show; None: no gate was set."""
    verdict: Verdict | None = None
    """Whether it has shown it; None: no gate was set."""
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
        for pair in self.pairs:
            base, tuned = (self.score(pair.name, target, pair.metric) for target in (pair.base, pair.tuned))
            if base.low <= tuned.high and tuned.low <= base.high:
                found.append(
                    f"{pair.name}: the intervals of {pair.base} and {pair.tuned} overlap; the difference on the same "
                    "examples is the sharper test."
                )
            if pair.reach:
                by = "" if pair.metric == "mean" else f", {pair.metric}"
                found.append(f"{pair.name}{by}, {pair.tuned} against {pair.base}: {pair.reach}.")
        for name, n in dict.fromkeys((score.name, score.n) for score in self.scores):
            if n < _SMALL:
                is_counted = any(score.correct is not None for score in self.scores if score.name == name)
                worth = f", one example is worth {100 / n:.1f} points" if is_counted else ""
                found.append(f"{name}: n = {n} is small{worth}; use more examples for a firmer answer.")
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
        return tuple(found)

    def __str__(self) -> str:
        return report_text.to_text(self)

    def __rich__(self) -> Any:
        """Return the report for a terminal."""
        return report_text.to_rich(self)

    def to_html(self) -> str:
        """Return the report as a self-contained piece of HTML."""
        return report_html.to_html(self)

    def _repr_html_(self) -> str:
        return self.to_html()

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
