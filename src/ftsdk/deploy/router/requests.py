"""A client's request to a router, where its stream goes, and what became of it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ftsdk.deploy.router.alias import Alias
from ftsdk.deploy.router.records import AnswerRecord
from ftsdk.deploy.router.target_wire import TargetAnswer

__all__ = ["ClientGone", "Refusal", "RouteRequest", "Routed", "Sink", "new_request_id"]


def new_request_id() -> str:
    """Return an id that no other request has."""
    return f"req-{uuid.uuid4().hex[:20]}"


class ClientGone(Exception):
    """The client closed its connection."""


class Sink(Protocol):
    """Where a stream goes."""

    async def begin(self, arm: str, fallback_reason: str | None) -> None:
        """Start the response: from here on no other target is asked.

        Raises:
            ClientGone: Nobody is there any more.
        """
        ...

    async def write(self, raw: bytes) -> None:
        """Pass on a piece.

        Raises:
            ClientGone: Nobody is there any more.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class RouteRequest:
    """A client's request."""

    body: Mapping[str, Any]
    """As it came, out of JSON; `messages` is a list of mappings."""
    conversation: str
    """What keeps a conversation with one version."""
    is_paired: bool = False
    """Whether the champion shall be asked, too, if the canary is."""
    slice: str | None = None
    id: str = field(default_factory=new_request_id)

    @property
    def messages(self) -> Sequence[Mapping[str, Any]]:
        """The conversation."""
        return self.body["messages"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """Why a client gets no answer."""

    word: str
    status: int
    """For the response."""
    message: str
    retry_after_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Routed:
    """What became of a request."""

    request: RouteRequest
    record: AnswerRecord
    alias: Alias
    answer: TargetAnswer | None = None
    refusal: Refusal | None = None
    verdicts: Mapping[str, bool] = field(default_factory=dict[str, bool])
    """Whether each target that was asked had an acceptable answer, by target."""
    texts: Mapping[str, str] = field(default_factory=dict[str, str])
    """The acceptable answers, by target."""
