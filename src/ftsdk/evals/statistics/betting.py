"""Bets on a mean between 0 and 1: evidence that is as good after every example as after the last.

Somebody who bets against "the mean is at most m", at fair odds, expects to win nothing if it is true, however cleverly
the bets are placed and whenever they stop. Reaching 20 times the stake has then a probability of at most 1 in 20, at
any time. So a bettor's capital may be looked at as often as one likes.

Source: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024) 1-27: the
capital is averaged over a grid of bets, section B.4 there. The average is the same whatever the order of the examples.
Ville's inequality, Étude critique de la notion de collectif (1939), bounds the capital at all times.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ftsdk.errors import SpecError
from ftsdk.evals.statistics.interval import check_confidence

__all__ = ["Bets", "confidence_sequence"]

_GRID = 60
"""Bets, as shares of the largest one that can't lose more than everything."""


@dataclass(frozen=True)
class Bets:
    """Bets on the mean of values between 0 and 1, which may be in groups.

    Attributes:
        sums: The sum of the values of each group.
        sizes: How many values each group has.
        largest: The most values that any group may have, known before.
    """

    sums: tuple[float, ...]
    sizes: tuple[int, ...]
    largest: int = 1

    @classmethod
    def on(cls, values: Sequence[float]) -> Bets:
        """Bet on single values.

        Raises:
            SpecError: A value outside 0 to 1.
        """
        if not all(0 <= value <= 1 for value in values):
            raise SpecError("a bet needs values between 0 and 1; scale them")
        return cls(tuple(values), (1,) * len(values))

    def __post_init__(self) -> None:
        if len(self.sums) != len(self.sizes) or any(size > self.largest for size in self.sizes):
            raise SpecError(f"each group needs a sum and a size of at most {self.largest}")

    @property
    def n(self) -> int:
        """How many values were seen."""
        return sum(self.sizes)

    @property
    def mean(self) -> float:
        """The observed mean; 0.5 of none."""
        return math.fsum(self.sums) / self.n if self.sums else 0.5

    def against_at_most(self, mean: float) -> Evidence:
        """Return the evidence that the true mean is above `mean`."""
        return Evidence(self._log_capitals(mean, is_above=True))

    def against_at_least(self, mean: float) -> Evidence:
        """Return the evidence that the true mean is below `mean`."""
        return Evidence(self._log_capitals(mean, is_above=False))

    @cached_property
    def _counts(self) -> Counter[tuple[float, int]]:
        return Counter(zip(self.sums, self.sizes, strict=True))

    def _log_capitals(self, mean: float, *, is_above: bool) -> tuple[float, ...]:
        """Return the logarithm of what each bet of the grid has made of a stake of 1."""
        import numpy as np

        bets = np.sin(np.pi / 2 * (np.arange(_GRID) + 0.5) / _GRID) ** 2
        worst = mean if is_above else 1 - mean  # how far a value can lie on the other side of the mean
        if worst <= 0:
            return (0.0,) * _GRID  # no mean lies below 0 or above 1, and no bet on it is fair
        seen = np.array(list(self._counts), dtype=float).reshape(-1, 2)
        times = np.array(list(self._counts.values()), dtype=float)
        gains = (seen[:, 0] - mean * seen[:, 1]) / self.largest / worst * (1 if is_above else -1)
        return tuple((times @ np.log1p(np.outer(np.maximum(gains, -1.0), bets))).tolist())


@dataclass(frozen=True)
class Evidence:
    """What bets against a hypothesis have made of a stake of 1."""

    log_capitals: tuple[float, ...]
    """The logarithm of each bet's capital."""

    def log_capital(self, times: float = 1.0) -> float:
        """Return the logarithm of their average, if the same examples had come so many times."""
        most = max(self.log_capitals) * times
        total = math.fsum(math.exp(capital * times - most) for capital in self.log_capitals)
        return most + math.log(total / len(self.log_capitals))

    def is_enough(self, level: float) -> bool:
        """Return whether it rejects the hypothesis, in error with a probability of at most `level`."""
        return self.log_capital() >= -math.log(level)

    def times_needed(self, level: float) -> float:
        """Return how many times as many such examples would be enough; infinity if none are."""
        if self.is_enough(level):
            return 1.0
        if max(self.log_capitals) <= 0:
            return math.inf
        low, high = 1.0, 2.0
        while self.log_capital(high) < -math.log(level):
            low, high = high, high * 2
            if high > 1e9:
                return math.inf
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (low, middle) if self.log_capital(middle) >= -math.log(level) else (middle, high)
        return high


def confidence_sequence(values: Sequence[float] | Bets, confidence: float = 0.95) -> tuple[float, float]:
    """Return an interval of a mean that may be looked at after every example.

    The intervals after 1, 2, 3 and so on examples all hold the true mean, at the same time, with a probability of at
    least `confidence`. They are 1.4 to 1.9 times as wide as an interval for one look.

    Args:
        values: Between 0 and 1, of examples that came in random order; or bets on them.
        confidence: The level, between 0 and 1.

    Raises:
        SpecError: A value outside 0 to 1, or `confidence` is out of range.
    """
    level = (1 - check_confidence(confidence)) / 2
    bets = values if isinstance(values, Bets) else Bets.on(values)
    return lower_end(bets, level), upper_end(bets, level)


def lower_end(bets: Bets, level: float) -> float:
    """Return the smallest mean that isn't rejected, in error with a probability of at most `level`."""
    low, high = 0.0, bets.mean
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if bets.against_at_most(middle).is_enough(level) else (low, middle)
    return low


def upper_end(bets: Bets, level: float) -> float:
    """Return the largest mean that isn't rejected, in error with a probability of at most `level`."""
    low, high = bets.mean, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if bets.against_at_least(middle).is_enough(level) else (middle, high)
    return high
