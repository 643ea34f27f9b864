"""A blind comparison: which pair is shown, and what each key does. Knows no terminal and no browser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Literal

from ftsdk.evals.blind.pairs import BlindPair
from ftsdk.evals.blind.verdicts import BlindVerdict, Winner

__all__ = ["KEYS", "BlindSession"]

KEYS = "a answer A   b answer B   t tie   s skip   z back   q quit"
"""What can be pressed."""
Result = Literal["moved", "quit", "unknown"]


class BlindSession:
    """Goes through the pairs that one judge has no verdict on yet."""

    def __init__(
        self,
        pairs: Sequence[BlindPair],
        verdicts: dict[str, Winner],
        keep: Callable[[BlindVerdict], None],
        *,
        by: str,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Begin at the first pair without a verdict.

        Args:
            pairs: In the order in which they are shown.
            verdicts: The judge's verdicts so far, by the ids of pairs; new ones are added.
            keep: Called with each new verdict.
            by: Who judges.
            clock: The time, for the record.
        """
        self._pairs = pairs
        self._verdicts = verdicts
        self._keep = keep
        self._by = by
        self._clock = clock
        self._shown: list[int] = []
        self._position = self._next()

    @property
    def position(self) -> int | None:
        """The number of the pair that is shown, from 0; None: all have a verdict."""
        return self._position

    @property
    def pair(self) -> BlindPair | None:
        """The pair that is shown."""
        return None if self._position is None else self._pairs[self._position]

    @property
    def total(self) -> int:
        """How many pairs there are."""
        return len(self._pairs)

    def press(self, key: str) -> Result:
        """Do what a key asks for, one of `KEYS`."""
        if key == "q":
            return "quit"
        if key == "z":
            if self._shown:
                self._position = self._shown.pop()
            return "moved"
        pair = self.pair
        if pair is None or self._position is None or key not in ("a", "b", "t", "s"):
            return "unknown"
        winner: Winner = "skip" if key == "s" else "tie"
        if key in ("a", "b"):
            winner = "second" if (key == "b") is not pair.is_swapped else "first"
        self._keep(BlindVerdict(pair=pair.id, winner=winner, by=self._by, on=f"{self._clock():%Y-%m-%dT%H:%M:%SZ}"))
        self._verdicts[pair.id] = winner
        self._shown.append(self._position)
        self._position = self._next()
        return "moved"

    def _next(self) -> int | None:
        return next((n for n, pair in enumerate(self._pairs) if pair.id not in self._verdicts), None)
