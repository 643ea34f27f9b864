"""A sweep on disk: what was asked for, written once, and how far each trial is, replaced at each change.

`sweeps/<id>/` in ftsdk's home has `sweep.json` and `progress.json`, and `cancelled` once somebody has cancelled it. The
runs themselves are in the ledger, under keys that follow from the sweep's id: whoever opens the sweep finds them there,
and a trial that was being submitted when its process died is submitted under the same key again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from ftsdk._files import is_run_id, read_regular_file, replace_file
from ftsdk._home import home
from ftsdk.errors import FtsdkError, RunNotFoundError
from ftsdk.job.sweep.settings import Trial
from ftsdk.runfolder.lock import acquire

__all__ = ["SETTLED", "SweepFolder", "SweepRecord", "TrialProgress", "TrialState", "sweep_ids"]

T = TypeVar("T")
_VERSION = 1
_MOST_BYTES = 64 << 20
TrialState = Literal[
    "waiting", "running", "succeeded", "stopped", "over budget", "failed", "cancelled", "refused", "not run"
]
"""`stopped`: early, by the rule. `refused`: the backend didn't take it. `not run`: the budget or the user said no."""
SETTLED: frozenset[TrialState] = frozenset(get_args(TrialState)) - {"waiting", "running"}
"""States that no longer change."""


@dataclass(frozen=True, kw_only=True)
class TrialProgress:
    """How far a trial is."""

    state: TrialState = "waiting"
    ref: str = ""
    """Its run, once money was set aside for it."""
    reserved_usd: Decimal = Decimal(0)
    """Set aside for it, in US dollars; 0 once it is settled."""
    cost_usd: Decimal = Decimal(0)
    """What it cost, in US dollars, once it is settled."""
    is_cost_known: bool = True
    """False: nobody has stated what it cost, and `cost_usd` is the most that it can be."""
    reason: str = ""
    curve: tuple[tuple[float, float], ...] = ()
    """Share of the training that was done, and the validation metric."""
    value: float | None = None
    """The validation metric of its weights."""
    seconds: float | None = None
    """Time at work."""

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "state": self.state,
            "ref": self.ref,
            "reserved_usd": str(self.reserved_usd),
            "cost_usd": str(self.cost_usd),
            "is_cost_known": self.is_cost_known,
            "reason": self.reason,
            "curve": [list(point) for point in self.curve],
            "value": self.value,
            "seconds": self.seconds,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TrialProgress:
        """Read it from plain data."""
        if data["state"] not in get_args(TrialState):
            raise ValueError(f"unknown state {data['state']!r}")
        fields: dict[str, Any] = {**data, "curve": tuple((float(at), float(value)) for at, value in data["curve"])}
        fields.update({name: Decimal(data[name]) for name in ("reserved_usd", "cost_usd")})
        return cls(**fields)


@dataclass(frozen=True, kw_only=True)
class SweepRecord:
    """What was asked for."""

    id: str
    created_at: float
    """Seconds since the epoch."""
    job: Mapping[str, Any]
    """As in a job file, with rows by their fingerprint in the store."""
    settings: Mapping[str, Sequence[Any]]
    trials: tuple[Trial, ...]
    """In the order in which they start."""
    first: Mapping[int, TrialProgress]
    """Those that aren't run, by number, with the reason."""
    reference: str
    """The label of the configuration that is the job as it is; empty: none is."""
    budget_usd: Decimal | None
    headroom: Decimal
    is_grid: bool
    rule: Mapping[str, Any] | None
    choose_by: str
    parallel: int

    def key_of(self, trial: Trial) -> str:
        """Return the key of a trial's run."""
        return f"{self.id}-{trial.number:02d}"

    def to_json(self) -> str:
        """Return it as JSON text."""
        content = {
            "version": _VERSION,
            "id": self.id,
            "created_at": self.created_at,
            "job": self.job,
            "settings": {path: list(values) for path, values in self.settings.items()},
            "trials": [
                {"number": one.number, "configuration": dict(one.configuration), "seed": one.seed}
                for one in self.trials
            ],
            "first": {str(number): progress.to_dict() for number, progress in self.first.items()},
            "reference": self.reference,
            "budget_usd": None if self.budget_usd is None else str(self.budget_usd),
            "headroom": str(self.headroom),
            "is_grid": self.is_grid,
            "rule": self.rule,
            "choose_by": self.choose_by,
            "parallel": self.parallel,
        }
        return json.dumps(content, ensure_ascii=False, indent=1)

    @classmethod
    def from_json(cls, text: bytes) -> SweepRecord:
        """Read it from JSON text."""
        data: dict[str, Any] = json.loads(text)
        if data.pop("version") > _VERSION:
            raise ValueError("it was written by a newer ftsdk; upgrade ftsdk")
        data["trials"] = tuple(Trial(**one) for one in data["trials"])
        data["first"] = {int(number): TrialProgress.from_dict(one) for number, one in data["first"].items()}
        data["budget_usd"] = None if data["budget_usd"] is None else Decimal(data["budget_usd"])
        data["headroom"] = Decimal(data["headroom"])
        return cls(**data)


@dataclass(frozen=True)
class SweepFolder:
    """The folder of a sweep."""

    path: Path

    @classmethod
    def of(cls, identifier: str) -> SweepFolder:
        """Return the folder of a sweep, which may not exist yet.

        Raises:
            RunNotFoundError: The id can't be one.
        """
        if not is_run_id(identifier):
            raise RunNotFoundError(f"{identifier!r} can't be the id of a sweep; `ftsdk sweep list` has them all")
        return cls(home() / "sweeps" / identifier)

    def create(self, record: SweepRecord) -> None:
        """Write down a sweep that is about to start. It is on disk when this returns."""
        self.write({trial.number: record.first.get(trial.number, TrialProgress()) for trial in record.trials})
        replace_file(self.path / "sweep.json", record.to_json().encode())

    def record(self) -> SweepRecord:
        """Read what was asked for.

        Raises:
            RunNotFoundError: There is no such sweep.
            FtsdkError: It can't be read.
        """
        path = self.path / "sweep.json"
        if not path.exists():
            newest = ", ".join(sweep_ids()[:3])
            there = f"; the newest are {newest}" if newest else "; there is none"
            raise RunNotFoundError(f"no sweep {self.path.name!r} in {self.path.parent}{there}")
        return self._read(path, SweepRecord.from_json)

    def progress(self) -> dict[int, TrialProgress]:
        """Read how far each trial is, by number.

        Raises:
            FtsdkError: It can't be read.
        """

        def parse(text: bytes) -> dict[int, TrialProgress]:
            data: dict[str, Any] = json.loads(text)
            return {int(number): TrialProgress.from_dict(one) for number, one in data.items()}

        return self._read(self.path / "progress.json", parse)

    def write(self, progress: Mapping[int, TrialProgress]) -> None:
        """Replace how far each trial is. It is on disk when this returns.

        Raises:
            FtsdkError: It can't be written.
        """
        content = json.dumps({str(number): one.to_dict() for number, one in progress.items()}, ensure_ascii=False)
        try:
            replace_file(self.path / "progress.json", content.encode())
        except OSError as error:
            raise FtsdkError(f"the sweep's folder {self.path} can't be written ({error}); nothing was lost") from error

    @contextmanager
    def driving(self) -> Generator[bool]:
        """Hold the right to start runs of this sweep for a block; yield False if another process has it."""
        descriptor = acquire(self.path, name="driver.lock")
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                os.close(descriptor)

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody has cancelled it."""
        return (self.path / "cancelled").exists()

    def cancel(self) -> None:
        """Note that nothing more is to be started."""
        replace_file(self.path / "cancelled", b"")

    def _read(self, path: Path, parse: Callable[[bytes], T]) -> T:
        try:
            return parse(read_regular_file(path, most_bytes=_MOST_BYTES))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError, InvalidOperation) as error:
            raise FtsdkError(f"the sweep's file {path} can't be read: {error}. Its runs are in `ftsdk runs`") from error


def sweep_ids() -> list[str]:
    """Return the ids of all sweeps, the newest first."""
    found = [path.parent for path in (home() / "sweeps").glob("*/sweep.json")]
    return [folder.name for folder in sorted(found, key=lambda folder: (folder / "sweep.json").stat().st_mtime)][::-1]
