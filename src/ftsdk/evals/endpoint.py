"""`Endpoint`: a model that answers over HTTP, as something that an eval can measure."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import uuid
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any, Self, overload
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from ftsdk._rich_text import rich_text
from ftsdk._secrets import check_key, looks_like_key
from ftsdk.errors import CredentialsError
from ftsdk.evals.chat_request import LimitName, StructuredName
from ftsdk.evals.chat_wire import ChatWire
from ftsdk.spec import TokenPrice, Value
from ftsdk.spec.abilities import Messages
from ftsdk.spec.urls import check_service_url

__all__ = ["Endpoint", "EndpointTarget"]


_ENVIRONMENT_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def _checked_url(url: str) -> str:
    # Whether plain http will do depends on the key, and is checked with it.
    url = check_service_url("url", url, key_comes_from="the variable that api_key_env names", allow_http=True)
    if urlsplit(url).path.endswith("/completions"):
        raise ValueError("must end before '/chat/completions', which ftsdk adds")
    return url


def _checked_name(name: str) -> str:
    # A key in its place must not be kept, or shown: with an eval it goes into reports and records.
    if _ENVIRONMENT_NAME.fullmatch(name) is None or looks_like_key(name):
        raise ValueError("must be the name of an environment variable, such as 'MY_API_KEY', and not the key itself")
    return name


class Endpoint(Value):
    """An OpenAI-compatible inference endpoint: Together, vLLM, llama.cpp and many others.

    It names the environment variable of the key and never holds the key, which is read when it is needed. The server
    renders conversations with its own chat template, so check that it is the one that was trained with.
    """

    url: Annotated[str, AfterValidator(_checked_url)]
    """Up to and including the version: `"https://host/v1"`; `/chat/completions` is added."""
    model: Annotated[str, Field(min_length=1)]
    """What the server calls the model."""
    api_key_env: Annotated[str, AfterValidator(_checked_name)] | None = None
    """Name of the environment variable with the key; None sends no key."""
    allow_http: bool = False
    """Send the key over plain http to another machine, where anybody on the way can read it."""
    revision: str | None = None
    """A name for exactly what answers: weights and settings. Answers are kept under it, and used again even if the
    endpoint has moved. None: the same model may or may not still answer there, so each evaluation asks again; where
    tokens have a price, one that was killed, or that has errors, goes on with the answers that it has."""
    concurrency: Annotated[int, Field(ge=1, le=256)] = 8
    """The most requests in flight at once."""
    timeout_s: Annotated[float, Field(gt=0, le=86_400)] = 120.0
    """Longest time for one answer, from the request to its last byte, in seconds."""
    attempts: Annotated[int, Field(ge=1, le=1000)] = 5
    """How often a request is sent before it counts as failed; only failures that may be temporary are retried."""
    price: TokenPrice | None = None
    """What its tokens cost, for calls that meter their spending; None: not known. The price book has those of many
    APIs: `api_price("anthropic/claude-haiku-4-5").token_price()`."""
    limit_parameter: LimitName | None = None
    """The parameter for the longest answer. None: `max_tokens`, and `max_completion_tokens` once the server refuses
    that, as OpenAI's newer models do."""
    sends_temperature: bool = True
    """Ask for temperature 0. Reasoning models refuse it; once a server has said so, it gets none anyway."""
    structured: StructuredName = "response_format"
    """The parameter that holds answers to choices or a JSON Schema: `"response_format"` is OpenAI's, and vLLM,
    llama.cpp and most others know it; `"structured_outputs"` is vLLM's own, and `"guided"` that of vLLM before 0.12.
    Choices become an object with one property in the first form, which is unwrapped again."""

    @model_validator(mode="after")
    def _check_encryption(self) -> Self:
        if self.api_key_env is not None:
            check_service_url(
                "url", self.url, key_comes_from="the variable that api_key_env names", allow_http=self.allow_http
            )
        return self

    def __str__(self) -> str:
        key = "" if self.api_key_env is None else f", with the key in {self.api_key_env}"
        return f"{self.model} at {self.url}{key}"

    __rich__ = rich_text

    @contextlib.contextmanager
    def open(self) -> Generator[ChatWire]:
        """Connect, for as long as the block lasts.

        Raises:
            CredentialsError: The environment variable isn't set, or what it holds can't be sent in a header.
        """
        with ChatWire(
            url=self.url,
            model=self.model,
            key=self._key(),
            key_name=self.api_key_env or "",
            concurrency=self.concurrency,
            timeout_s=self.timeout_s,
            attempts=self.attempts,
            price=self.price,
            limit_parameter=self.limit_parameter,
            sends_temperature=self.sends_temperature,
            structured=self.structured,
        ) as wire:
            yield wire

    @overload
    def generate(  # pyright: ignore[reportOverlappingOverload] - a str is a sequence of str, too
        self,
        prompt: str | Messages,
        *,
        system: str | None = None,
        max_new_tokens: int | None = None,
        choices: Sequence[str] | None = None,
        schema: Mapping[str, Any] | None = None,
        budget_usd: Decimal | float | None = None,
    ) -> str: ...
    @overload
    def generate(
        self,
        prompt: Sequence[str | Messages],
        *,
        system: str | None = None,
        max_new_tokens: int | None = None,
        choices: Sequence[str] | None = None,
        schema: Mapping[str, Any] | None = None,
        budget_usd: Decimal | float | None = None,
    ) -> list[str]: ...
    def generate(
        self,
        prompt: str | Messages | Sequence[str | Messages],
        *,
        system: str | None = None,
        max_new_tokens: int | None = None,
        choices: Sequence[str] | None = None,
        schema: Mapping[str, Any] | None = None,
        budget_usd: Decimal | float | None = None,
    ) -> str | list[str]:
        """Ask the server: `endpoint.generate("Where is my parcel?")`.

        Up to `concurrency` prompts are asked at once, with retries, `Retry-After` and time limits as in evals, and at
        temperature 0 where the server takes it.

        Args:
            prompt: A text, or a conversation as a list of messages with `role` and `content`; or a list of these.
            system: Replaces the system message of each prompt; None keeps it.
            max_new_tokens: The longest answer, in tokens; what is longer is cut off there. None: 512. For models that
                reason, the reasoning counts.
            choices: Texts, one of which is the answer.
            schema: A JSON Schema: the answer is JSON that fits it.
            budget_usd: The most to spend on this call, in US dollars; it needs the endpoint's `price`. None: no limit.

        Returns:
            The answer; for a list of prompts, the list of the answers in its order.

        Raises:
            DatasetError: A prompt has no text or no known form.
            SpecError: An option is invalid, or there is a budget and no price.
            CredentialsError: The key isn't set, or was refused.
            BackendError: A prompt got no answer after all attempts, or one that doesn't keep to the choices or the
                schema; `retryable` tells whether it may work later. The first failure ends the call.
            BudgetExceededError: The budget doesn't cover the next request.
        """
        from ftsdk.evals.answering import answer_remotely  # which asks endpoints

        return answer_remotely(
            self,
            prompt,
            system=system,
            max_new_tokens=max_new_tokens,
            choices=choices,
            schema=schema,
            budget_usd=budget_usd,
        )

    def target(self, name: str = "tuned") -> EndpointTarget:
        """Return something to measure: `evaluate([accuracy], [endpoint.target()], into=...)`."""
        session = None
        if self.revision is not None:
            known = ("revision", self.revision)
        elif self.price is not None and (self.price.input_usd_per_mtok or self.price.output_usd_per_mtok):
            session = uuid.uuid4().hex
            known = ("unnamed", self.url, self.model)
        else:
            known = (self.url, self.model, uuid.uuid4().hex)
        identity = hashlib.sha256("\0".join(("endpoint", *known)).encode()).hexdigest()
        return EndpointTarget(name=name, endpoint=self, identity=identity, session=session)

    def _key(self) -> str | None:
        if self.api_key_env is None:
            return None
        key = check_key(os.environ.get(self.api_key_env, ""), source=self.api_key_env)
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
    session: str | None = None
    """Where nothing tells whether the same model still answers: answers of other sessions are used only if their
    evaluation has not come to its end. None: answers are used whenever the identity is the same."""

    @property
    def price(self) -> TokenPrice | None:
        """What its tokens cost; None: not known."""
        return self.endpoint.price

    def open(self) -> AbstractContextManager[ChatWire]:
        """Connect, for as long as the block lasts."""
        return self.endpoint.open()
