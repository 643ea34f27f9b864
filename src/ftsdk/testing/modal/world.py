"""What a loopback workspace holds: its rooms, each with its own things, and what they share."""

from __future__ import annotations

import contextvars
import itertools
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from grpclib import GRPCError, Status

from ftsdk.testing.modal.stories import Story

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

    None is given out twice.
    """

    def __init__(self) -> None:
        self.tag = secrets.token_hex(5)
        """In every id of this service, and in no other's."""
        self._numbers = itertools.count(1)

    def new(self, prefix: str) -> str:
        """Return a new id."""
        return f"{prefix}-{self.tag}{next(self._numbers):012d}"


@dataclass(kw_only=True)
class HostSettings:
    """What outlives a reset of the workspace."""

    root: Path
    grpc_url: str = ""
    http_url: str = ""
    ids: Ids = field(default_factory=Ids)
    passed_on: Mapping[str, str] = field(default_factory=dict[str, str])
    """The environment that every container gets."""
    grace_s: float = 30.0
    """From SIGINT to SIGKILL, when a container is preempted."""
    client_lost_after_s: float = 60.0
    """Without a heartbeat for so long, a client counts as gone."""
    commit_every_s: float | None = None
    """How often running containers' changes to Volumes are committed by themselves; None if they are seen at once."""


@dataclass
class _Scripted:
    story: Story
    left: int | None
    skip: int


class FaultScript:
    """The stories, in the order in which they were added."""

    def __init__(self) -> None:
        self._told: list[_Scripted] = []

    def tell(self, story: Story) -> None:
        """Add a story."""
        self._told.append(_Scripted(story, story.times, getattr(story, "skip", 0)))

    def end(self, story: Story) -> None:
        """Remove a story, however often it has happened."""
        self._told = [scripted for scripted in self._told if scripted.story is not story]

    def pending(self, kind: type[T]) -> Iterator[T]:
        """Return the stories of a kind that can still happen."""
        return (
            scripted.story for scripted in list(self._told) if scripted.left != 0 and isinstance(scripted.story, kind)
        )

    def is_active(self, story: object) -> bool:
        """Return whether the story hasn't been removed, even if it has happened as often as it should."""
        return any(scripted.story is story for scripted in self._told)

    def happens(self, story: object) -> bool:
        """Count one occurrence. Return False if the story skips this one, or is over."""
        for scripted in self._told:
            if scripted.story is not story:
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
