"""What answers: the protocol of a generator, and its optional abilities."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from collections.abc import Generator as Yields
from typing import Any, Protocol, runtime_checkable

from ftsdk.evals.answers import Answer
from ftsdk.evals.examples import Prompt
from ftsdk.evals.likelihood import Likelihood

__all__ = [
    "CanGuess",
    "CanMeasure",
    "CanMeasureLikelihood",
    "CanStream",
    "Conversation",
    "Generator",
    "tools_of",
]

Conversation = Sequence[dict[str, Any]]
"""Messages, each with `role` and `content`; a `Prompt` where a row offers tools."""


def tools_of(conversation: Conversation) -> Sequence[Mapping[str, Any]]:
    """Return the tools that a prompt offers the model, in OpenAI's form; empty: none."""
    return conversation.tools if isinstance(conversation, Prompt) else ()


class Generator(Protocol):
    """Something that answers conversations, greedily, so that the same prompt gets the same answer."""

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each text, without special tokens."""
        ...

    def generate(
        self,
        conversations: Sequence[Conversation],
        *,
        max_new_tokens: int,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        """Answer every conversation.

        Args:
            conversations: Messages up to the answer, each conversation on its own.
            max_new_tokens: Longest answer in tokens.
            on_progress: Called with how many are done, and of how many.

        Returns:
            The answers, in the order of the conversations, without special tokens.
        """
        ...


@runtime_checkable
class CanStream(Protocol):
    """An optional ability of a generator: answers as they come, so that a failure doesn't cost those before it."""

    def stream(
        self, conversations: Sequence[Conversation], *, max_new_tokens: int, skip: Collection[int] = frozenset()
    ) -> Yields[tuple[int, Answer]]:
        """Yield each answer as soon as it is there, with the position of its conversation, in any order.

        Args:
            conversations: Messages up to the answer, each conversation on its own.
            max_new_tokens: Longest answer in tokens.
            skip: Positions that need no answer.
        """
        ...


@runtime_checkable
class CanMeasure(Protocol):
    """An optional ability of a generator: the lengths of reference answers as the model would write them."""

    def answer_lengths(self, conversations: Sequence[Conversation], answers: Sequence[str]) -> list[int]:
        """Return the tokens of each answer, with all that the chat template puts around it, such as empty reasoning.

        Args:
            conversations: Messages up to the answer, each conversation on its own.
            answers: One for each.
        """
        ...


@runtime_checkable
class CanMeasureLikelihood(Protocol):
    """An optional ability of a generator: how likely the model finds given answers."""

    def likelihoods(
        self, conversations: Sequence[Conversation], answers: Sequence[str]
    ) -> Yields[tuple[int, Likelihood]]:
        """Yield the likelihood of each answer with its position, in any order.

        Args:
            conversations: Messages up to the answer, each conversation on its own.
            answers: One for each.
        """
        ...


@runtime_checkable
class CanGuess(Protocol):
    """An optional ability of a generator: answers come sooner where they were guessed, and are the same in any case."""

    def guessing(self, guesses: Sequence[str]) -> Generator:
        """Return a generator that tries a guess for each conversation first.

        Args:
            guesses: One for each conversation of the calls to come, such as the reference; empty: none.
        """
        ...
