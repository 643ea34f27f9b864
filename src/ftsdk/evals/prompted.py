"""A target that is asked with another prompt: instructions of your own, and examples in it."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Collection, Sequence
from collections.abc import Generator as Yields
from dataclasses import dataclass

from ftsdk._spend import SpendMeter
from ftsdk.errors import SpecError
from ftsdk.evals.answers import Answer
from ftsdk.evals.constraints import CanConstrain, Constraint
from ftsdk.evals.examples import EvalData, Prompt, read_examples
from ftsdk.evals.generation import CanMeasure, CanStream, Conversation, Generator, tools_of
from ftsdk.evals.spending import CanMeter
from ftsdk.evals.targets import Target
from ftsdk.models.chat_template import message_text

__all__ = ["PromptedTarget", "prompted"]


@dataclass(frozen=True, kw_only=True)
class PromptedTarget:
    """A target that is asked with another prompt; see `prompted`."""

    name: str
    target: Target
    system: str | None = None
    """Replaces the system message of each prompt; None keeps it."""
    shots: tuple[Conversation, ...] = ()
    """Answered examples, each with its messages, that come before the question."""

    @property
    def identity(self) -> str:
        """A digest of the target and of what the prompt has of its own."""
        own = json.dumps([self.system, [list(shot) for shot in self.shots]], sort_keys=True)
        return hashlib.sha256(f"prompted\0{self.target.identity}\0{own}".encode()).hexdigest()

    @contextlib.contextmanager
    def open(self) -> Yields[Generator]:
        """Load the model, or connect, for as long as the block lasts."""
        with self.target.open() as generator:
            yield _PromptedGenerator(generator, self.rewritten, self.name)

    def rewritten(self, conversation: Conversation) -> Conversation:
        """Return a prompt with the target's own system message and examples in it.

        Raises:
            SpecError: One of the examples is the question itself, with its answer.
        """
        own = [message for message in conversation if message["role"] == "system"]
        asked = [message for message in conversation if message["role"] != "system"]
        if asked in ([*shot[:-1]] for shot in self.shots):
            raise SpecError(
                f"the examples in the prompt of {self.name} hold a question of the eval with its answer: "
                f"{message_text(asked[-1])[:80]!r}. Take examples from the training part"
            )
        system = own if self.system is None else [{"role": "system", "content": self.system}]
        return Prompt([*system, *(message for shot in self.shots for message in shot), *asked], tools_of(conversation))


class _PromptedGenerator:
    """Answers by another generator, which is asked with other prompts."""

    def __init__(self, inner: Generator, rewritten: Callable[[Conversation], Conversation], name: str) -> None:
        self._inner = inner
        self._rewritten = rewritten
        self._name = name

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return self._inner.count_tokens(texts)

    def answer_lengths(self, conversations: Sequence[Conversation], answers: Sequence[str]) -> list[int]:
        # As the plain prompt has it, so that all targets of an eval may answer at the same length.
        if isinstance(self._inner, CanMeasure):
            return self._inner.answer_lengths(conversations, answers)
        return self._inner.count_tokens(answers)

    def generate(
        self,
        conversations: Sequence[Conversation],
        *,
        max_new_tokens: int,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        asked = [self._rewritten(conversation) for conversation in conversations]
        return self._inner.generate(asked, max_new_tokens=max_new_tokens, on_progress=on_progress)

    def stream(
        self, conversations: Sequence[Conversation], *, max_new_tokens: int, skip: Collection[int] = frozenset()
    ) -> Yields[tuple[int, Answer]]:
        asked = [self._rewritten(conversation) for conversation in conversations]
        if isinstance(self._inner, CanStream):
            yield from self._inner.stream(asked, max_new_tokens=max_new_tokens, skip=skip)
            return
        wanted = [index for index in range(len(asked)) if index not in skip]
        outputs = self._inner.generate([asked[index] for index in wanted], max_new_tokens=max_new_tokens)
        yield from ((index, Answer(text=output)) for index, output in zip(wanted, outputs, strict=True))

    def constrained(self, constraint: Constraint) -> Generator:
        if not isinstance(self._inner, CanConstrain):
            raise SpecError(
                f"{self._name} can't be held to choices or a schema; models on this machine and endpoints can"
            )
        return _PromptedGenerator(self._inner.constrained(constraint), self._rewritten, self._name)

    def metered(self, meter: SpendMeter) -> Generator:
        if not isinstance(self._inner, CanMeter):
            return self
        return _PromptedGenerator(self._inner.metered(meter), self._rewritten, self._name)


def prompted(
    target: Target, *, system: str | None = None, examples: EvalData | None = None, name: str | None = None
) -> PromptedTarget:
    """Return a target that is asked with a prompt of its own, so that prompting is measured before a fine-tune.

    An eval asks every target the same; a model without training may need more words, and examples.

    Args:
        target: What answers.
        system: Replaces the system message of each prompt; None keeps it.
        examples: Chat rows that are put before each question as answered examples, without their system messages.
            Take them from the training part: asking a question that is among them is an error.
        name: Of the new target; by default the target's own with "+prompt" or "+N-shot".

    Raises:
        SpecError: Neither is given.
        DatasetError: A row isn't an example.
    """
    if system is None and examples is None:
        raise SpecError("pass system=..., examples=..., or both")
    shots: list[Conversation] = [] if examples is None else [
        [*(message for message in example.prompt if message["role"] != "system"),
         {"role": "assistant", "content": example.expected}]
        for example in read_examples(examples)
    ]  # fmt: skip
    suffix = f"{len(shots)}-shot" if shots else "prompt"
    return PromptedTarget(name=name or f"{target.name}+{suffix}", target=target, system=system, shots=tuple(shots))
