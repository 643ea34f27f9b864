"""A version on trial: what its answers have shown, and when that is enough to turn it back or to promote it."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Literal

from pydantic import Field

from ftsdk.deploy.router.alias import Alias
from ftsdk.deploy.router.evidence import PairCounts, ShareCounts
from ftsdk.deploy.router.record_totals import RolloutCounts
from ftsdk.evals.gate import Gate
from ftsdk.spec import Value

__all__ = ["Judgement", "Trial", "TrialRule", "rule_of"]

_MOST_WAITING = 10_000
"""Verdicts of users that wait for one of the other version."""


class TrialRule(Value):
    """What decides over a version on trial. Each test may be looked at after every answer."""

    level: Annotated[float, Field(gt=0, lt=0.5)] = 0.05
    """The most probable share of good versions that are turned back; of bad ones that are promoted."""
    at_least: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Turn it back, too, once it is shown that less than this share of its answers is accepted."""
    margin: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Promote it once it is shown to be worse by less than this share of answers; 0: once it is shown to be better."""
    uses_feedback: bool = False
    """Compare the verdicts of users, too, in the order in which they come for each version."""
    promotes: bool = False
    """Promote it without asking; otherwise the status says that it could be."""

    @property
    def tests(self) -> tuple[str, ...]:
        """The tests that can turn it back."""
        found = ("pairs", *(("feedback",) * self.uses_feedback), *(("limit",) * (self.at_least is not None)))
        return tuple(found)

    @property
    def needed(self) -> float:
        """The logarithm of the capital that decides: the tests share the level."""
        return math.log(len(self.tests) / self.level)


def rule_of(gate: Gate | None, *, uses_feedback: bool = False, promotes: bool = False) -> tuple[TrialRule, list[str]]:
    """Return what a gate means for live answers, and what of it can't be seen there.

    `at_least` limits the share of accepted answers, `confidence` is the level, and the margin of `no_regression` for
    the gate's own metric allows a promotion. Other evals need references, which live traffic doesn't have.
    """
    if gate is None:
        return TrialRule(uses_feedback=uses_feedback, promotes=promotes), []
    unseen = [f"no_regression of {name}" for name in gate.no_regression if name != gate.metric]
    if gate.at_most is not None:
        unseen.append("at_most")
    if gate.better_than is not None:
        unseen.append(f"better_than {gate.better_than}")
    has_limit = gate.at_least is not None and 0 < gate.at_least < 1
    return TrialRule(
        level=min(1 - gate.confidence, 0.499),
        at_least=gate.at_least if has_limit else None,
        margin=gate.no_regression.get(gate.metric, 0.0),
        uses_feedback=uses_feedback,
        promotes=promotes,
    ), unseen


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A decision over a version on trial."""

    kind: Literal["rollback", "promote"]
    reason: str
    evidence: Mapping[str, Any]


@dataclass
class Trial:
    """The samples of one rollout."""

    alias: Alias
    rule: TrialRule
    pairs: PairCounts = field(default_factory=PairCounts)
    feedback: PairCounts = field(default_factory=PairCounts)
    limit: ShareCounts = field(default_factory=ShareCounts)
    _waiting: dict[bool, deque[bool]] = field(
        default_factory=lambda: {True: deque(maxlen=_MOST_WAITING), False: deque(maxlen=_MOST_WAITING)}
    )

    @property
    def is_on(self) -> bool:
        """Whether there is a version on trial."""
        return self.alias.canary is not None

    def add_feedback(self, *, arm: str, accepted: bool) -> dict[str, Any] | None:
        """Count a user's verdict, and return the pair that it completes: the first of each version, and so on."""
        if arm not in (self.alias.canary, self.alias.champion):
            return None
        is_canary = arm == self.alias.canary
        other = self._waiting[not is_canary]
        if not other:
            self._waiting[is_canary].append(accepted)
            return None
        first = other.popleft()
        pair = {"canary": accepted if is_canary else first, "champion": first if is_canary else accepted}
        self.feedback.add(**pair)
        return pair

    def judgement(self) -> Judgement | None:
        """Return what the samples are enough for; None: neither."""
        if not self.is_on:
            return None
        rule, needed = self.rule, self.rule.needed
        found = {"pairs": self.pairs.canary_is_worse()}
        if rule.uses_feedback:
            found["feedback"] = self.feedback.canary_is_worse()
        if rule.at_least is not None:
            found["limit"] = self.limit.is_below(rule.at_least)
        for test, capital in found.items():
            if capital >= needed:
                return Judgement(kind="rollback", reason=self._reason(test), evidence=self._evidence(test, capital))
        better = self.pairs.canary_is_better(rule.margin)
        is_held = all(capital < needed / 2 for capital in found.values())
        if rule.promotes and is_held and better >= -math.log(rule.level):
            return Judgement(kind="promote", reason=self._reason("better"), evidence=self._evidence("better", better))
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return what is known so far."""
        rule = self.rule
        return {
            "rollout": self.alias.rollout,
            "pairs": self.pairs.to_dict(),
            "feedback": self.feedback.to_dict(),
            "limit": {"accepted": self.limit.accepted, "rejected": self.limit.rejected, "at_least": rule.at_least},
            "tests": list(rule.tests),
            "level": rule.level,
            "evidence_worse": _times(self.pairs.canary_is_worse()),
            "evidence_better": _times(self.pairs.canary_is_better(rule.margin)),
            "evidence_needed": _times(rule.needed),
            "could_be_promoted": self.pairs.canary_is_better(rule.margin) >= -math.log(rule.level),
        }

    def restore(self, samples: RolloutCounts, *, is_judged: bool) -> None:
        """Start from the samples of this rollout that an earlier process has put on record.

        Args:
            samples: From the records.
            is_judged: Whether a judge says which answers are accepted, so that unjudged ones don't count.
        """
        self.pairs, self.feedback = replace(samples.pairs), replace(samples.feedback)
        self.limit = replace(samples.judged if is_judged else samples.answered)

    def _evidence(self, test: str, capital: float) -> dict[str, Any]:
        return {"test": test, "capital": _times(capital), **self.to_dict()}

    def _reason(self, test: str) -> str:
        canary, champion = self.alias.canary, self.alias.champion
        counts = self.feedback if test == "feedback" else self.pairs
        if test == "limit":
            return (
                f"{canary}: {self.limit.accepted} of {self.limit.n} answers were accepted, which is below "
                f"{self.rule.at_least:g}"
            )
        whose = "users' verdicts" if test == "feedback" else "answers to the same prompts"
        return (
            f"{canary} is {'better' if test == 'better' else 'worse'} than {champion}: of {counts.n} pairs of {whose}, "
            f"only {champion}'s was accepted in {counts.champion_only}, and only {canary}'s in {counts.canary_only}"
        )


def _times(log_capital: float) -> float:
    """Return a capital for people, as a multiple of the stake."""
    return float(f"{math.exp(min(log_capital, 200.0)):.4g}")
