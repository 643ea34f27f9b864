"""`pair_agreement`: whether two answers decide alike; `rarer_decision`: whether the answers decide at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftsdk.errors import SpecError
from ftsdk.evals.examples import Example
from ftsdk.evals.metrics.metric import metric
from ftsdk.evals.scorers.choice import named_choices
from ftsdk.evals.scorers.scorer import FunctionScorer, Score

__all__ = ["PairAgreement", "pair_agreement", "rarer_decision"]

_READ = 600


@dataclass(frozen=True)
class PairAgreement(FunctionScorer):
    """A scorer that judges two answers at a time; see `pair_agreement`."""

    def score_all(
        self, examples: Sequence[Example], answers: Sequence[str], *, folder: Path | None
    ) -> Iterator[tuple[int, Score]]:
        """Yield the score of each answer; see `CanJudgeMany.score_all`.

        Raises:
            SpecError: A row has no pair, or a pair more than two rows.
        """
        del folder
        choices = tuple(self.options.get("choices", ("yes", "no")))
        members: dict[Any, list[int]] = {}
        for index, example in enumerate(examples):
            if example.columns.get("pair") is None:
                raise SpecError("pair_agreement reads the column 'pair' of each row; pass columns=('pair',) to Eval.of")
            members.setdefault(example.columns["pair"], []).append(index)
        for pair, found in members.items():
            if len(found) > 2:
                raise SpecError(f"the pair {pair!r} has {len(found)} rows; pair_agreement compares two")
            decisions = [_decision(answers[index], choices) for index in found]
            yield from zip(found, _scores(decisions, choices[0]), strict=True)


def _as_pairs(function: Any) -> PairAgreement:
    return PairAgreement("pair_agreement", function)


@_as_pairs
def pair_agreement(example: Example, answer: str, *, choices: tuple[str, ...] = ("yes", "no")) -> Score:
    """Score 1 if both answers of a pair name the same choice, or neither names one, else 0.

    Both rows of a pair get the same score. `parts` has `decided`, 1 where the answer names a choice, and `first`, 1
    where it is the first of the choices.

    Args:
        example: With the column `pair`, the same value in two rows.
        answer: What the model answered; what is beyond 600 characters isn't read.
        choices: The decisions; the first one that an answer names counts.
    """
    del example, answer, choices
    raise SpecError("pair_agreement judges pairs, not one answer alone; use it through evaluate(...)")


@metric(is_bounded=True, is_lower_better=False)
def rarer_decision(scores: Sequence[Score]) -> float:
    """Return the share of answers that don't decide as most do; 0: all decide alike, or none decides.

    A model that answers every question with no is never unfair to either half of a pair. Near 0, `pair_agreement` says
    nothing.
    """
    first = sum(score.parts.get("first", 0.0) for score in scores)
    others = sum(score.parts.get("decided", 0.0) for score in scores) - first
    return min(first, others) / len(scores)


def _decision(answer: str, choices: tuple[str, ...]) -> str | None:
    found = named_choices(answer[:_READ], choices, ignore_case=True, where="anywhere")
    return found[0] if found else None


def _scores(decisions: Sequence[str | None], first: str) -> list[Score]:
    if len(decisions) < 2:
        return [Score(0.0, "", error="the other half of the pair has no answer") for _ in decisions]
    is_alike = len(set(decisions)) == 1
    named = " and ".join(decision or "no decision" for decision in decisions)
    reason = f"the same in both: {decisions[0] or 'no decision'}" if is_alike else f"the pair got {named}"
    return [
        Score(float(is_alike), reason, parts={"decided": float(one is not None), "first": float(one == first)})
        for one in decisions
    ]
