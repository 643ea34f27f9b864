"""`Endpoint`: a model that answers over HTTP, as something that an eval can measure."""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from collections.abc import Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from ftsdk.errors import CredentialsError
from ftsdk.evals.chat_wire import ChatWire
from ftsdk.spec import Value

__all__ = ["Endpoint", "EndpointTarget"]


def _checked_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be the address of a server, up to and including its version, such as 'https://host/v1'")
    if parts.username is not None or parts.password is not None:
        raise ValueError(
            "must have no user name and no password; name the environment variable of the key: api_key_env='...'"
        )
    if parts.query or parts.fragment:
        raise ValueError("must have no query and no fragment")
    if parts.path.rstrip("/").endswith("/completions"):
        raise ValueError("must end before '/chat/completions', which ftsdk adds")
    return url.rstrip("/")


class Endpoint(Value):
    """An OpenAI-compatible inference endpoint: Together, vLLM, llama.cpp and many others.

    It names the environment variable of the key and never holds the key, which is read when it is needed. The server
    renders conversations with its own chat template, so check that it is the one that was trained with.
    """

    url: Annotated[str, AfterValidator(_checked_url)]
    """Up to and including the version: `"https://host/v1"`; `/chat/completions` is added."""
    model: Annotated[str, Field(min_length=1)]
    """What the server calls the model."""
    api_key_env: str | None = None
    """Name of the environment variable with the key; None sends no key."""
    revision: str | None = None
    """A name for exactly what answers: weights and settings. Answers are kept under it, and used again even if the
    endpoint has moved. None: the same model may or may not still answer there, so each evaluation asks again."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    """The most requests in flight at once."""
    timeout_s: Annotated[float, Field(gt=0)] = 120.0
    """Longest time for one answer, from the request to its last byte, in seconds."""
    attempts: Annotated[int, Field(ge=1)] = 5
    """How often a request is sent before it counts as failed; only failures that may be temporary are retried."""

    @contextlib.contextmanager
    def open(self) -> Generator[ChatWire]:
        """Connect, for as long as the block lasts.

        Raises:
            CredentialsError: The environment variable isn't set.
        """
        with ChatWire(
            url=self.url,
            model=self.model,
            key=self._key(),
            key_name=self.api_key_env or "",
            concurrency=self.concurrency,
            timeout_s=self.timeout_s,
            attempts=self.attempts,
        ) as wire:
            yield wire

    def target(self, name: str = "tuned") -> EndpointTarget:
        """Return something to measure: `evaluate([accuracy], [endpoint.target()], into=...)`."""
        known = ("revision", self.revision) if self.revision is not None else (self.url, self.model, uuid.uuid4().hex)
        return EndpointTarget(
            name=name, endpoint=self, identity=hashlib.sha256("\0".join(("endpoint", *known)).encode()).hexdigest()
        )

    def _key(self) -> str | None:
        if self.api_key_env is None:
            return None
        key = os.environ.get(self.api_key_env, "").strip()
        if not key:
            raise CredentialsError(
                f"the endpoint {self.url} needs a key; set the environment variable {self.api_key_env}"
            )
        return key


@dataclass(frozen=True, kw_only=True)
class EndpointTarget:
    """An endpoint as something that `evaluate` can measure."""

    name: str
    endpoint: Endpoint
    identity: str

    def open(self) -> AbstractContextManager[ChatWire]:
        """Connect, for as long as the block lasts."""
        return self.endpoint.open()
