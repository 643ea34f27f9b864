"""The arguments of `Slurm(...)`, checked."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any

from ftsdk._secrets import looks_like_key
from ftsdk.backends.launchers.slurm.time_limit import seconds_of
from ftsdk.errors import SpecError
from ftsdk.spec.amounts import check_amount

__all__ = ["OURS", "Options"]

_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,+@/-]{0,199}\Z")
"""Names of partitions and accounts; several partitions are separated by commas."""
_GPUS = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9_.-]{0,63}:)?\d{1,4}\Z")
_FLAG = re.compile(r"--(?P<name>[a-z][a-z-]*)(?:=[^\0\n]*)?\Z")
OURS = frozenset(
    {
        *("account", "comment", "dependency", "error", "export", "export-file", "get-user-env", "gpus", "gres"),
        *(
            "gpus-per-node",
            "hold",
            "input",
            "job-name",
            "nodes",
            "no-requeue",
            "ntasks",
            "ntasks-per-node",
            "open-mode",
        ),
        *("array", "chdir", "output", "parsable", "partition", "requeue", "signal", "test-only", "time", "uid", "wait"),
        *("cpus-per-task", "wrap"),
    }
)
"""Options of sbatch that are set here, or that would change what a run is."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The arguments of `Slurm(...)`."""

    partition: str | None = None
    account: str | None = None
    gpus: int | str = 1
    gpu: str | None = None
    cpus: int | None = None
    nodes: int = 1
    time: str | None = None
    usd_per_hour: Decimal | None = None
    python: str | None = None
    folder: str | None = None
    setup: tuple[str, ...] = ()
    sbatch: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("partition", "account"):
            value: object = getattr(self, name)
            if value is not None and not (isinstance(value, str) and _WORD.match(value)):
                raise SpecError(f"{name}={value!r} isn't the name of a Slurm {name}; `sinfo` and `sacctmgr` list them")
        check_amount("nodes", self.nodes, at_least=1, at_most=10_000, is_whole=True)
        if self.cpus is not None:
            check_amount("cpus", self.cpus, at_least=1, at_most=100_000, is_whole=True)
        if isinstance(self.gpus, str):
            if not _GPUS.match(self.gpus):
                raise SpecError(
                    f"gpus={self.gpus!r} isn't a number of GPUs: write 4, or 'a100:4' for a type of the site"
                )
        else:
            check_amount("gpus", self.gpus, at_least=0, at_most=1024, is_whole=True)
        if self.time is not None:
            if not isinstance(self.time, str):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise SpecError(
                    f"time={self.time!r} isn't text: write it as Slurm does, such as '2:00:00' for two hours"
                )
            seconds_of(self.time)
        for name in ("python", "folder"):
            _check_text(name, getattr(self, name))
        _check_lines("setup", self.setup)
        _check_lines("sbatch", self.sbatch)
        for flag in self.sbatch:
            found = _FLAG.match(flag)
            if found is None:
                raise SpecError(f"sbatch=[{flag!r}] isn't a long option of sbatch, such as '--qos=long'")
            if found["name"] in OURS:
                raise SpecError(f"sbatch can't have --{found['name']}: ftsdk sets it, or a run depends on it")

    @property
    def gpu_count(self) -> int:
        """GPUs of each node."""
        return int(str(self.gpus).rpartition(":")[2])

    @property
    def gpu_type(self) -> str:
        """The site's word for the GPUs, such as `a100`; empty if any will do."""
        return str(self.gpus).rpartition(":")[0]

    @property
    def time_s(self) -> int | None:
        """The time limit in seconds."""
        return None if self.time is None else seconds_of(self.time)

    def to_dict(self) -> dict[str, Any]:
        """Return the arguments that differ from the defaults; a price stays a Decimal."""
        defaults = Options()
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value  # pyright: ignore[reportUnknownArgumentType]
            for name, value in values.items()
            if value != getattr(defaults, name)
        }


def _check_text(name: str, value: object) -> None:
    if value is not None and not (isinstance(value, str) and value and not set("\0\n") & set(value)):
        raise SpecError(f"{name}={value!r} isn't a path on the cluster")


def _check_lines(name: str, lines: tuple[object, ...]) -> None:
    for line in lines:
        if not isinstance(line, str) or "\0" in line or "\n" in line:
            raise SpecError(f"{name} takes a list of lines, each a text without line breaks")
        # A key would be kept with the run and in the scheduler's records, so it isn't shown either.
        if any(looks_like_key(word.strip("'\"")) for word in line.replace("=", " ").split()):
            raise SpecError(
                f"{name} contains something that looks like a key, which would be stored with the run; keep keys in a "
                "file on the cluster that only you can read, and source it: setup=['. ~/.keys']"
            )
