"""What the parts of a loopback workspace share: ids, settings and scripted faults."""

from __future__ import annotations

import contextvars
import itertools
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from grpclib import GRPCError, Status

from ftsdk.testing.modal.faults import Fault

__all__ = ["CALLER", "Caller", "FaultScript", "HostSettings", "Ids", "found", "refused"]

T = TypeVar("T")


@dataclass(frozen=True)
class Caller:
    """Who sent a request."""

    kind: str
    """`client`, `container`, or the number of another type."""
    task_id: str = ""
    """Which container, if it is one."""


CALLER: contextvars.ContextVar[Caller] = contextvars.ContextVar("caller")
"""The caller of the RPC that is being answered."""


class Ids:
    """Object ids of the form that the client knows, such as `ap-` and 22 letters and digits.

    No id is used twice.
    """

    def __init__(self) -> None:
        self.tag = secrets.token_hex(5)
        """Part of every id of this service, and of no other's."""
        self._numbers = itertools.count(1)

    def new(self, prefix: str) -> str:
        """Return a new id."""
        return f"{prefix}-{self.tag}{next(self._numbers):012d}"


@dataclass(kw_only=True)
class HostSettings:
    """Settings that survive a reset of the workspace."""

    root: Path
    grpc_url: str = ""
    http_url: str = ""
    ids: Ids = field(default_factory=Ids)
    passed_on: Mapping[str, str] = field(default_factory=dict[str, str])
    """The environment variables of every container."""
    grace_s: float = 30.0
    """Seconds from SIGINT to SIGKILL when a container is preempted."""
    client_lost_after_s: float = 60.0
    """Seconds without a heartbeat after which a client counts as gone."""
    commit_every_s: float | None = None
    """Seconds between automatic commits of running containers' changes to Volumes; None: they are visible at once."""


@dataclass
class _Scripted:
    fault: Fault
    left: int | None
    skip: int


class FaultScript:
    """The scripted faults, in the order in which they were added."""

    def __init__(self) -> None:
        self._scripted: list[_Scripted] = []

    def add(self, fault: Fault) -> None:
        """Add a fault."""
        self._scripted.append(_Scripted(fault, fault.times, getattr(fault, "skip", 0)))

    def end(self, fault: Fault) -> None:
        """Remove a fault, however often it has happened."""
        self._scripted = [scripted for scripted in self._scripted if scripted.fault is not fault]

    def pending(self, kind: type[T]) -> Iterator[T]:
        """Return the faults of a kind that can still happen."""
        return (
            scripted.fault
            for scripted in list(self._scripted)
            if scripted.left != 0 and isinstance(scripted.fault, kind)
        )

    def is_active(self, fault: object) -> bool:
        """Return whether the fault hasn't been removed, even if it has happened as often as it should."""
        return any(scripted.fault is fault for scripted in self._scripted)

    def happens(self, fault: object) -> bool:
        """Return whether the fault applies now, and count it; False if it skips this time, or is over."""
        for scripted in self._scripted:
            if scripted.fault is not fault:
                continue
            if scripted.skip:
                scripted.skip -= 1
                return False
            if scripted.left is not None:
                if scripted.left == 0:
                    return False
                scripted.left -= 1
            return True
        return False


def found(table: Mapping[str, T], key: str, what: str) -> T:
    """Return what an id stands for.

    Raises:
        GRPCError: NOT_FOUND.
    """
    if key not in table:
        raise GRPCError(Status.NOT_FOUND, f"{what} {key!r} not found")
    return table[key]


def refused(reason: str) -> GRPCError:
    """Return the error for what the service won't do."""
    return GRPCError(Status.INVALID_ARGUMENT, reason)
