"""What the records of a router add up to: kept beside them, so that a start reads only what came since."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, cast

from ftsdk._files import read_regular_file, replace_file
from ftsdk.deploy.router.evidence import PairCounts, ShareCounts
from ftsdk.deploy.router.record_lines import records_in
from ftsdk.errors import SpecError

__all__ = ["RecordTotals", "RolloutCounts", "write_totals"]

_FILE = "totals.json"
_VERSION = 1
_MOST_BYTES = 16 << 20
_MINUTE_S = 60
_KEPT_S = 90_000.0
"""How long money is kept by the minute: the longest window of a limit, and an hour more."""
_MOST_ROLLOUTS = 8
"""Answers of a rollout may still be under way when the next one is in force; earlier ones are never asked for again."""


@dataclass
class RolloutCounts:
    """The samples of one rollout; see `Trial`."""

    pairs: PairCounts = field(default_factory=PairCounts)
    feedback: PairCounts = field(default_factory=PairCounts)
    answered: ShareCounts = field(default_factory=ShareCounts)
    """Answers of the canary, by whether the contract accepts them."""
    judged: ShareCounts = field(default_factory=ShareCounts)
    """Those that a judge has looked at, by what it said."""

    def take(self, line: Mapping[str, Any]) -> None:
        """Count a line of this rollout."""
        match line.get("kind"), line.get("by"):
            case "pair", by:
                counts = self.feedback if by == "feedback" else self.pairs
                counts.add(canary=bool(line.get("canary")), champion=bool(line.get("champion")))
                if by == "judge":
                    self.judged.add(accepted=bool(line.get("canary")))
            case "answer", _:
                for attempt in line.get("attempts") or ():
                    was_asked = attempt.get("outcome") != "cancelled" and attempt.get("error") != "busy"
                    if attempt.get("role") == "canary" and was_asked:
                        self.answered.add(accepted=attempt.get("error") is None)
            case _:
                pass


class RecordTotals:
    """Sums over the lines of a router's records: what was spent in each minute, and the samples of the last rollouts.

    `read` takes those that were kept, and the lines that have been written since.
    """

    def __init__(
        self,
        spent: dict[int, tuple[Decimal, Decimal]] | None = None,
        rollouts: dict[str, RolloutCounts] | None = None,
        offsets: dict[str, int] | None = None,
    ) -> None:
        """Start at nothing, or at what was kept.

        Args:
            spent: US dollars by the minute since the epoch: of everything, and of fallbacks and shadow copies.
            rollouts: The samples by the id of the rollout.
            offsets: Up to where each file has been counted, in bytes.
        """
        self.spent = spent or {}
        self._rollouts = rollouts or {}
        self._offsets = offsets or {}

    @classmethod
    def read(cls, folder: Path, *, since: float = 0.0) -> RecordTotals:
        """Return the totals of a router's folder. Writes nothing.

        Args:
            folder: The router's.
            since: Leave out files that were never counted and were last written before this time, in seconds since the
                epoch.

        Raises:
            SpecError: A file can't be read.
        """
        totals = _kept(folder / _FILE) or cls()
        for path in sorted((folder / "records").glob("*.jsonl")):
            try:
                if path.is_file():
                    totals._read_on(path, since)
            except OSError as error:
                raise SpecError(f"the records in {path} can't be read: {error.strerror or error}") from error
        return totals

    def take(self, line: Mapping[str, Any]) -> None:
        """Count a line."""
        rollout = line.get("rollout")
        if isinstance(rollout, str) and line.get("kind") in ("answer", "pair"):
            self._counts(rollout).take(line)
        for attempt in line.get("attempts") or ([line["attempt"]] if "attempt" in line else []):
            if attempt.get("cost_usd"):
                usd = Decimal(str(attempt["cost_usd"]))
                is_extra = attempt.get("role") in ("fallback", "shadow")
                minute = int(float(line.get("at", 0.0)) // _MINUTE_S)
                whole, extra = self.spent.get(minute, (Decimal(0), Decimal(0)))
                self.spent[minute] = (whole + usd, extra + usd * is_extra)

    def samples(self, rollout: str) -> RolloutCounts:
        """Return the samples of a rollout; empty if there are none."""
        return self._rollouts.get(rollout, RolloutCounts())

    def spent_until(self, now: float) -> list[tuple[float, Decimal, Decimal]]:
        """Return what was spent, with the end of each minute in seconds since the epoch, in its order.

        What has a time to come, because the clock was set back, counts as spent now.
        """
        return [
            (min((minute + 1.0) * _MINUTE_S, now), *usd)
            for minute, usd in sorted(self.spent.items())
            if minute * _MINUTE_S > now - _KEPT_S
        ]

    def snapshot(self, offsets: Mapping[str, int], *, now: float) -> bytes:
        """Return the totals as they are kept.

        Args:
            offsets: Up to where each file that is being written has been counted, in bytes.
            now: Seconds since the epoch; money that no limit looks at any more is left out.
        """
        self._offsets.update(offsets)
        later = int(now // _MINUTE_S) + 1
        kept: dict[int, tuple[Decimal, Decimal]] = {}
        for minute, (whole, extra) in self.spent.items():
            if minute * _MINUTE_S > now - _KEPT_S:
                before = kept.get(min(minute, later), (Decimal(0), Decimal(0)))
                kept[min(minute, later)] = (before[0] + whole, before[1] + extra)
        self.spent = kept
        content = {
            "version": _VERSION,
            "offsets": self._offsets,
            "spent": [[minute, str(whole), str(extra)] for minute, (whole, extra) in sorted(kept.items())],
            "rollouts": {name: asdict(counts) for name, counts in self._rollouts.items()},
        }
        return json.dumps(content).encode()

    def _counts(self, rollout: str) -> RolloutCounts:
        found = self._rollouts.get(rollout)
        if found is None:
            found = self._rollouts[rollout] = RolloutCounts()
            if len(self._rollouts) > _MOST_ROLLOUTS:
                del self._rollouts[next(iter(self._rollouts))]
        return found

    def _read_on(self, path: Path, since: float) -> None:
        found = path.stat()
        offset = self._offsets.get(path.name, 0)
        if found.st_size <= offset or (not offset and found.st_mtime < since):
            return
        with path.open("rb") as file:
            file.seek(offset)
            for line in records_in(file):
                self.take(line)
            self._offsets[path.name] = file.tell()


def write_totals(folder: Path, content: bytes) -> bool:
    """Replace the totals in a router's folder, and return whether that worked; else the next start reads more."""
    try:
        replace_file(folder / _FILE, content)
    except OSError:
        return False
    return True


def _kept(path: Path) -> RecordTotals | None:
    """Return the totals in a file; None if there are none, or they can't be what was written: the records decide."""
    try:
        content: Any = json.loads(read_regular_file(path, most_bytes=_MOST_BYTES))
        return _totals_in(cast("dict[str, Any]", content))
    except (OSError, ValueError, KeyError, TypeError, AttributeError, InvalidOperation, RecursionError):
        return None


def _totals_in(content: dict[str, Any]) -> RecordTotals:
    if content["version"] != _VERSION:
        raise ValueError("of another version")
    return RecordTotals(
        {_count(minute): (_dollars(whole), _dollars(extra)) for minute, whole, extra in content["spent"]},
        {str(name): _rollout_in(counts) for name, counts in content["rollouts"].items()},
        {str(name): _count(offset) for name, offset in content["offsets"].items()},
    )


def _rollout_in(counts: Mapping[str, Mapping[str, Any]]) -> RolloutCounts:
    pairs, feedback, answered, judged = (
        {name: _count(value) for name, value in counts[part].items()}
        for part in ("pairs", "feedback", "answered", "judged")
    )
    return RolloutCounts(PairCounts(**pairs), PairCounts(**feedback), ShareCounts(**answered), ShareCounts(**judged))


def _count(value: object) -> int:
    if type(value) is not int or value < 0:
        raise ValueError("not a count")
    return value


def _dollars(text: object) -> Decimal:
    found = Decimal(str(text))
    if not found.is_finite() or found < 0:
        raise ValueError("not an amount")
    return found
