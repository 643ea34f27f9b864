"""A review: which row is shown, and what each key does. Knows no terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Literal

from ftsdk.data.review.verdicts import Judgement, RowVerdict

__all__ = ["KEYS", "ReviewSession"]

KEYS = "g good   b bad   s skip   z back   n note   q quit"
"""What can be pressed."""
_JUDGEMENTS: dict[str, Judgement] = {"g": "good", "b": "bad", "s": "skip"}
Result = Literal["moved", "noted", "quit", "unknown"]


class ReviewSession:
    """Goes through the rows of a sample that have no verdict yet."""

    def __init__(
        self,
        ids: Sequence[str],
        verdicts: dict[str, RowVerdict],
        save: Callable[[], None],
        *,
        by: str = "terminal",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Begin at the first row without a verdict.

        Args:
            ids: The ids of the sample's rows, in the order in which they are shown.
            verdicts: Verdicts so far, by ids; new ones are added.
            save: Called after each change.
            by: Who judges, for the record.
            clock: The time, for the record.
        """
        self._ids = ids
        self._verdicts = verdicts
        self._save = save
        self._by = by
        self._clock = clock
        self._shown: list[int] = []
        self._place = self._next(0)

    @property
    def place(self) -> int | None:
        """The number of the row that is shown, in the sample; None: all have a verdict."""
        return self._place

    @property
    def current(self) -> RowVerdict | None:
        """The verdict on the row that is shown, if it has one."""
        return None if self._place is None else self._verdicts.get(self._ids[self._place])

    def press(self, key: str, text: str = "") -> Result:
        """Do what a key asks for.

        Args:
            key: One of `KEYS`.
            text: A note: what `n` keeps, and with a verdict the reason.
        """
        if key == "q":
            return "quit"
        if key == "z":
            if self._shown:
                self._place = self._shown.pop()
            return "moved"
        if self._place is None:
            return "unknown"
        one = self._ids[self._place]
        known = self._verdicts.get(one, RowVerdict())
        if key == "n":
            self._verdicts[one] = known.replace(note=text.strip(), on=self._now(), by=self._by)
            self._save()
            return "noted"
        if key not in _JUDGEMENTS:
            return "unknown"
        note = text.strip() or known.note
        self._verdicts[one] = known.replace(verdict=_JUDGEMENTS[key], note=note, on=self._now(), by=self._by)
        self._save()
        self._shown.append(self._place)
        self._place = self._next(self._place + 1)
        if self._place is None:
            self._place = self._next(0)
        return "moved"

    def _next(self, start: int) -> int | None:
        for place in range(start, len(self._ids)):
            verdict = self._verdicts.get(self._ids[place])
            if verdict is None or verdict.verdict is None:
                return place
        return None

    def _now(self) -> str:
        return f"{self._clock():%Y-%m-%dT%H:%M:%SZ}"
