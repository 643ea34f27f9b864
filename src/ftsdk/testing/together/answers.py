"""Requests and answers as values, and the service's clock."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

__all__ = ["Answer", "Clock", "Recorded", "Refusal", "Request", "answer_json"]

_START = datetime(2026, 11, 23, tzinfo=UTC).timestamp()


@dataclass(frozen=True, kw_only=True)
class Request:
    """A request, read whole."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes = b""

    @property
    def json(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            Refusal: 422, it is none.
        """
        try:
            data = json.loads(self.body)
        except ValueError as error:
            raise Refusal(422, "the body isn't JSON") from error
        if not isinstance(data, dict):
            raise Refusal(422, "the body isn't a JSON object")
        return data


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A request as the service remembers it.

    The key is never part of it, nor are the keys of other services in the body.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    """Names in lower case, without `authorization`."""
    json: Any
    """The JSON body; None if there is none."""
    has_key: bool
    """Whether the right key came with it."""
    fault: str = ""
    """The kind of fault that it met."""
    status: int | None = None
    """The status of the answer; None if none was sent."""

    @property
    def route(self) -> str:
        """Method and path: `"POST /v1/fine-tunes"`."""
        return f"{self.method} {self.path}"


class Refusal(Exception):
    """The service says no: the status and the message of the answer."""

    def __init__(self, status: int, message: str, *, param: str | None = None, **extra: Any) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message
        self.param = param
        self.extra = extra

    def answer(self) -> Answer:
        """Return the answer in the service's form."""
        kinds = {401: "authentication_error", 402: "credit_limit", 404: "not_found_error", 429: "rate_limit"}
        kind = kinds.get(self.status, "invalid_request_error" if self.status < 500 else "server_error")
        body = {"error": {"message": self.message, "type": kind, "param": self.param, "code": None}, **self.extra}
        return answer_json(body, status=self.status)


def answer_json(value: object, *, status: int = 200) -> Answer:
    """Return a value as JSON."""
    return Answer(status=status, body=json.dumps(value).encode())


class Clock:
    """The service's time: one second passes with each request, and more when a test moves it."""

    def __init__(self) -> None:
        self.now = _START
        """Seconds since the epoch, UTC."""

    def text(self, *, plus_s: float = 0) -> str:
        """Return the time as the service writes it."""
        return datetime.fromtimestamp(self.now + plus_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
