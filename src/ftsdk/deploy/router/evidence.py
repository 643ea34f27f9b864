"""Evidence that one version is worse than another, which may be looked at after every answer.

Two versions answer the same prompts. Where both are right or both wrong, nothing is learned. Where one of them is
right, somebody who bets on which one, at even odds, expects to win nothing if the two are equally good, however often
the capital is looked at. It reaches 20 times the stake with a probability of at most 1 in 20, at any time (Ville 1939).

The capital is averaged over a grid of bets, as in `ftsdk.evals.statistics.betting`. These are sums of counts, so that
a look takes microseconds however many answers there were.

Source: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024) 1-27.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

__all__ = ["PairCounts", "ShareCounts", "log_capital", "log_capital_below", "log_capital_within"]

_CHANCES = tuple(0.55 + 0.05 * step for step in range(9))
"""Bets: of the pairs in which one is right, the share that the better version wins. 0.55 to 0.95."""
_KEPT = 0.25
"""Of the stake, what is never bet. A good version is then turned back in 3% of simulations at level 0.05, which leaves
room below it; a drop is found some 10% later."""
_SHARES = tuple(((step + 0.5) / 20) ** 2 for step in range(20))
"""Bets on a share: how far from the limit to 0 it lies. Denser near the limit."""


def log_capital(losses: int, wins: int) -> float:
    """Return the logarithm of what a stake of 1 on "the losing side is worse" has become.

    Args:
        losses: Pairs in which only the other version was right.
        wins: Pairs in which only this version was right.
    """
    return _log_mean([losses * math.log(2 * chance) + wins * math.log(2 - 2 * chance) for chance in _CHANCES])


def log_capital_below(right: int, wrong: int, limit: float) -> float:
    """Return the logarithm of what a stake of 1 on "the share of right answers is below the limit" has become.

    Args:
        right: Answers that were accepted.
        wrong: Answers that weren't.
        limit: The share, between 0 and 1.
    """
    if not 0 < limit < 1:
        return -math.inf if right and limit <= 0 else (math.inf if wrong and limit >= 1 else 0.0)
    logs: list[float] = []
    for step in _SHARES:
        share = limit * (1 - step)  # what the share would be
        logs.append(right * math.log(share / limit) + wrong * math.log((1 - share) / (1 - limit)))
    return _log_mean(logs)


def log_capital_within(worse: int, equal: int, better: int, margin: float) -> float:
    """Return the logarithm of what a stake of 1 on "it is worse by less than the margin, if at all" has become.

    Args:
        worse: Pairs in which only the other version was right.
        equal: Pairs in which both or neither were right.
        better: Pairs in which only this version was right.
        margin: How much worse it may be, as a share of all answers.
    """
    logs: list[float] = []
    for bet in _SHARES:  # of the largest that can't lose more than everything: a pair loses at most 1 - margin
        stake = bet / (1 - margin) if margin < 1 else 0.0
        logs.append(
            worse * math.log1p(stake * (margin - 1))
            + equal * math.log1p(stake * margin)
            + better * math.log1p(stake * (margin + 1))
        )
    return _log_mean(logs)


def _log_mean(logs: Sequence[float]) -> float:
    """Return the logarithm of the average capital of bets that share what isn't kept."""
    most = max(*logs, 0.0)
    grown = math.fsum(math.exp(value - most) for value in logs) / len(logs)
    return most + math.log(_KEPT * math.exp(-most) + (1 - _KEPT) * grown)


@dataclass
class PairCounts:
    """Pairs of answers to the same prompt, or of verdicts that came in the same order."""

    both: int = 0
    """Both were accepted."""
    neither: int = 0
    canary_only: int = 0
    champion_only: int = 0

    @property
    def n(self) -> int:
        """How many pairs there are."""
        return self.both + self.neither + self.canary_only + self.champion_only

    def add(self, *, canary: bool, champion: bool) -> None:
        """Count a pair."""
        match canary, champion:
            case True, True:
                self.both += 1
            case True, False:
                self.canary_only += 1
            case False, True:
                self.champion_only += 1
            case _:
                self.neither += 1

    def canary_is_worse(self) -> float:
        """Return the logarithm of the evidence that the canary is worse."""
        return log_capital(self.champion_only, self.canary_only)

    def canary_is_better(self, margin: float = 0.0) -> float:
        """Return the logarithm of the evidence that the canary is better, or worse by less than a margin."""
        if margin <= 0:
            return log_capital(self.canary_only, self.champion_only)
        return log_capital_within(self.champion_only, self.both + self.neither, self.canary_only, margin)

    def to_dict(self) -> dict[str, int]:
        """Return the counts."""
        return asdict(self)


@dataclass
class ShareCounts:
    """Answers of the canary alone, held against a limit."""

    accepted: int = 0
    rejected: int = 0

    @property
    def n(self) -> int:
        """How many answers there are."""
        return self.accepted + self.rejected

    def add(self, *, accepted: bool) -> None:
        """Count an answer."""
        if accepted:
            self.accepted += 1
        else:
            self.rejected += 1

    def is_below(self, limit: float) -> float:
        """Return the logarithm of the evidence that the true share is below the limit."""
        return log_capital_below(self.accepted, self.rejected, limit)
