"""Verdicts of people on pairs of answers, each kept as soon as it is given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, cast, get_args

from ftsdk._line_log import LineLog

__all__ = ["BlindVerdict", "VerdictFile", "Winner"]

Winner = Literal["first", "second", "tie", "skip"]


@dataclass(frozen=True, kw_only=True)
class BlindVerdict:
    """Which answer of a pair one person prefers."""

    pair: str
    """The id of the pair."""
    winner: Winner
    by: str
    """Who judged."""
    on: str = ""
    """When, in UTC."""


class VerdictFile:
    """A file of verdicts, one JSON object a line, appended only: the last one on a pair counts."""

    def __init__(self, path: Path) -> None:
        """Name the file; nothing is read or written yet."""
        self._log = LineLog(
            path,
            busy="another comparison is writing its verdicts into this file.",
            busy_hint="End it first, or name another file with --verdicts.",
            hint="Free some space, or name another file with --verdicts.",
        )

    def __enter__(self) -> Self:
        self._log.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()

    def read(self) -> dict[str, dict[str, Winner]]:
        """Return the verdicts by judge and pair; lines that aren't verdicts are left out."""
        found: dict[str, dict[str, Winner]] = {}
        for line in self._log.lines():
            if not isinstance(line, Mapping):
                continue
            fields = cast("Mapping[str, object]", line)
            pair, winner, by = fields.get("pair"), fields.get("winner"), fields.get("by")
            if isinstance(pair, str) and isinstance(by, str) and winner in get_args(Winner):
                found.setdefault(by, {})[pair] = cast("Winner", winner)
        return found

    def append(self, verdict: BlindVerdict) -> None:
        """Keep a verdict.

        Raises:
            DatasetError: The file can't be written.
        """
        self._log.append(asdict(verdict))
