"""A conversation that goes on: each question is sent with what was said before, as long as the model can read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from ftsdk.errors import BackendError
from ftsdk.evals.answering import DEFAULT_NEW_TOKENS, answer_locally, refuse_empty
from ftsdk.evals.answers import Answer
from ftsdk.evals.chat_wire import ChatWire
from ftsdk.evals.loaded_models import LOADED, LoadedModels
from ftsdk.evals.prompts import Prompts, read_prompts
from ftsdk.evals.reasoning import final_answer
from ftsdk.spec import Model

__all__ = ["Chat", "EndpointPartner", "LocalPartner", "Partner", "Reply"]

_TOO_LONG = frozenset({400, 413, 422})
"""Statuses by which servers refuse a prompt that is too long."""

OnText = Callable[[str], None]
"""Called with an answer so far."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """The answer to one question."""

    text: str
    is_cut: bool
    """Whether it ended at the limit of its tokens."""
    forgotten: int
    """How many exchanges were dropped for it, the oldest first: they are no longer sent."""


class Partner(Protocol):
    """What is talked to."""

    def has_room(self, asked: Prompts, max_new_tokens: int | None) -> bool:
        """Return whether a conversation and its answer fit into the context; True if that isn't known."""
        ...

    def answer(self, asked: Prompts, max_new_tokens: int | None, on_text: OnText) -> Answer:
        """Answer the only conversation of these.

        Raises:
            DatasetError: It doesn't fit into the context.
            BackendError: There is no answer.
        """
        ...


class LocalPartner:
    """A model on this machine."""

    def __init__(self, model: Model, *, models: LoadedModels = LOADED) -> None:
        """Load the model.

        Raises:
            ModelError: It can't be loaded.
            MissingExtraError: The extra `local` isn't installed.
        """
        self._model = model
        self._models = models
        with models.use(model):
            pass

    def has_room(self, asked: Prompts, max_new_tokens: int | None) -> bool:
        """Return whether there is room for the limit, or for an answer of a sensible length if there is none."""
        with self._models.use(self._model) as generator:
            context = generator.max_length
            if context is None:
                return True
            wanted = min(DEFAULT_NEW_TOKENS, context // 4) if max_new_tokens is None else max_new_tokens
            return generator.prompt_lengths(asked.conversations)[0] + wanted <= context

    def answer(self, asked: Prompts, max_new_tokens: int | None, on_text: OnText) -> Answer:
        """Answer; see `Partner.answer`."""
        with self._models.use(self._model) as generator:
            following = generator.following(lambda _, text: on_text(text))
            return answer_locally(following, asked, max_new_tokens=max_new_tokens)[0]


class EndpointPartner:
    """A server, of which it isn't known how much it reads; its answers come whole."""

    def __init__(self, wire: ChatWire) -> None:
        """Use a connection; see `Endpoint.open`."""
        self._wire = wire

    def has_room(self, asked: Prompts, max_new_tokens: int | None) -> bool:
        """Return True: the server refuses what is too long."""
        del asked, max_new_tokens
        return True

    def answer(self, asked: Prompts, max_new_tokens: int | None, on_text: OnText) -> Answer:
        """Answer; see `Partner.answer`."""
        del on_text
        limit = DEFAULT_NEW_TOKENS if max_new_tokens is None else max_new_tokens
        reply = self._wire.ask(asked.conversations[0], max_new_tokens=limit)
        answer = Answer(text=reply.text, is_cut=reply.is_cut)
        refuse_empty(answer, limit, asked.where(0))
        return answer


class Chat:
    """Questions and answers so far, and whom they were exchanged with."""

    def __init__(self, partner: Partner, *, system: str | None = None, max_new_tokens: int | None = None) -> None:
        """Begin.

        Args:
            partner: What is talked to.
            system: The system message; None sends none.
            max_new_tokens: The longest answer, in tokens; None: 512, or what the context has left.
        """
        self._partner = partner
        self._system = system
        self._max_new_tokens = max_new_tokens
        self._exchanges: list[tuple[str, str]] = []

    def ask(self, question: str, on_text: OnText = lambda _: None) -> Reply:
        """Return the answer to the next question. The oldest exchanges are dropped if they no longer fit.

        Args:
            question: A text.
            on_text: Called with the answer so far, where answers come in parts.

        Raises:
            DatasetError: The question alone doesn't fit into the context, or can't be read by a model.
            BackendError: There is no answer. The question isn't part of the conversation then.
        """
        kept = list(self._exchanges)
        while kept and not self._partner.has_room(self._asked(kept, question), self._max_new_tokens):
            kept = kept[1:]
        while True:
            try:
                answer = self._partner.answer(self._asked(kept, question), self._max_new_tokens, on_text)
                break
            except BackendError as error:
                # It has answered before, so what is new about this request is its length.
                if error.status_code not in _TOO_LONG or not kept:
                    raise
                kept = kept[(len(kept) + 1) // 2 :]
        forgotten = len(self._exchanges) - len(kept)
        # As most chat templates have it: the reasoning of earlier answers isn't read again.
        self._exchanges = [*kept, (question, final_answer(answer.text) or answer.text)]
        return Reply(text=answer.text, is_cut=bool(answer.is_cut), forgotten=forgotten)

    def _asked(self, exchanges: list[tuple[str, str]], question: str) -> Prompts:
        messages: list[dict[str, str]] = []
        for asked, answered in exchanges:
            messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
        return read_prompts([*messages, {"role": "user", "content": question}], system=self._system)
