"""What can be asked for texts: an endpoint, a model on this machine, or any function that answers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias, cast, runtime_checkable

from ftsdk._format import printable
from ftsdk._secrets import mask_urls
from ftsdk.errors import SpecError
from ftsdk.spec import TokenPrice

__all__ = [
    "AnswerFunction",
    "ChatConnection",
    "ChatEndpoint",
    "ChatReply",
    "Conversation",
    "LocalGenerator",
    "LocalModel",
    "NamedModel",
    "TextModel",
    "named_model",
]

Conversation: TypeAlias = Sequence[dict[str, Any]]
"""Messages up to the answer, each with `role` and `content`."""
AnswerFunction: TypeAlias = Callable[[Conversation], str]
"""Takes the messages up to the answer, and answers."""


class ChatReply(Protocol):
    """An answer, and what the server counted."""

    @property
    def text(self) -> str:
        """The answer."""
        ...

    @property
    def input_tokens(self) -> int | None:
        """Tokens of the prompt; None: the server doesn't report them."""
        ...

    @property
    def output_tokens(self) -> int | None:
        """Tokens of the answer; None: the server doesn't report them."""
        ...

    @property
    def is_cut(self) -> bool:
        """Whether the answer ended at the limit of its tokens."""
        ...


class ChatConnection(Protocol):
    """A connection to an endpoint, which any number of threads may use at once."""

    def ask(self, conversation: Conversation, *, max_new_tokens: int, temperature: float | None = 0) -> ChatReply:
        """Answer one conversation, retrying what may be temporary.

        Raises:
            CredentialsError: The key was refused.
            BackendError: The server failed, or refused the request.
        """
        ...


@runtime_checkable
class ChatEndpoint(Protocol):
    """An OpenAI-compatible endpoint; `ftsdk.Endpoint` is one."""

    @property
    def url(self) -> str:
        """The address, without secrets."""
        ...

    @property
    def model(self) -> str:
        """What the server calls the model."""
        ...

    @property
    def revision(self) -> str | None:
        """A name for exactly what answers; None: whatever the server has under that name."""
        ...

    @property
    def concurrency(self) -> int:
        """The most requests in flight at once."""
        ...

    @property
    def price(self) -> TokenPrice | None:
        """What its tokens cost; None: not known."""
        ...

    def open(self) -> AbstractContextManager[ChatConnection]:
        """Connect, for as long as the block lasts."""
        ...


class LocalGenerator(Protocol):
    """A loaded model."""

    def generate(self, conversations: Sequence[Conversation], *, max_new_tokens: int) -> list[str]:
        """Answer every conversation, greedily."""
        ...


@runtime_checkable
class LocalModel(Protocol):
    """A model on this machine; `ftsdk.evals.local_target` makes one."""

    @property
    def name(self) -> str:
        """Display name."""
        ...

    @property
    def identity(self) -> str:
        """Changes when the answers could."""
        ...

    def open(self) -> AbstractContextManager[LocalGenerator]:
        """Load the model; leaving the context lets go of it."""
        ...


TextModel: TypeAlias = ChatEndpoint | LocalModel | AnswerFunction


@dataclass(frozen=True, kw_only=True)
class NamedModel:
    """What is asked, how records name it, and what it costs."""

    asked: TextModel
    name: str
    url: str | None
    """The address of an endpoint, without secrets."""
    identity: str | None
    """Answers are kept under it; None: nothing says whether a function would answer the same again."""
    price: TokenPrice | None

    @property
    def is_billed(self) -> bool:
        """Whether its answers cost money: those of an endpoint do, as far as is known."""
        return self.url is not None

    @property
    def described(self) -> str:
        """The name and the address, for a line of text."""
        return printable(self.name if self.url is None else f"{self.name} at {self.url}", 200)


def named_model(model: TextModel) -> NamedModel:
    """Return what is asked with its name and price.

    Raises:
        SpecError: It is nothing that answers.
    """
    wrapped = getattr(model, "endpoint", None)
    if isinstance(wrapped, ChatEndpoint):  # something to evaluate, around an endpoint that has a price
        model = wrapped
    if isinstance(model, ChatEndpoint):
        url = mask_urls(model.url)
        known = json.dumps(["endpoint", model.url, model.model, model.revision])
        return NamedModel(asked=model, name=model.model, url=url, identity=_digest(known), price=model.price)
    if isinstance(model, LocalModel):
        return NamedModel(asked=model, name=model.name, url=None, identity=_digest(model.identity), price=None)
    if callable(cast("object", model)):
        name = getattr(model, "__qualname__", None) or type(model).__qualname__
        return NamedModel(asked=model, name=str(name), url=None, identity=None, price=None)
    raise SpecError(
        f"a {type(model).__name__} can't be asked for text: pass an Endpoint, ftsdk.evals.local_target(...) for a "
        "model on this machine, or a function from messages to text"
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
