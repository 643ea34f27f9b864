"""What an eval measures: a model on this machine, an endpoint, or any function that answers."""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Callable, Collection, Sequence
from collections.abc import Generator as Yields
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, cast, runtime_checkable

from ftsdk.errors import SpecError
from ftsdk.evals.answers import Answer
from ftsdk.evals.endpoint import Endpoint
from ftsdk.evals.generation import Conversation, Generator
from ftsdk.evals.local import local_target, local_targets
from ftsdk.spec import Model

__all__ = ["AnswerFunction", "FunctionTarget", "Target", "targets"]

AnswerFunction = Callable[[Conversation], str]
"""Takes the messages up to the answer, and answers. Where rows offer tools, the list has them as `.tools`."""


@runtime_checkable
class Target(Protocol):
    """Something that `evaluate` can measure."""

    @property
    def name(self) -> str:
        """`"base"` or `"tuned"`; also the name of its files."""
        ...

    @property
    def identity(self) -> str:
        """Changes when the answers could: answers kept under the same identity are used again."""
        ...

    def open(self) -> AbstractContextManager[Generator]:
        """Load the model, or connect; leaving the context lets go of it."""
        ...


@dataclass(frozen=True, kw_only=True)
class FunctionTarget:
    """A function that answers: rules, a pipeline, or a client of another library."""

    name: str
    function: AnswerFunction
    revision: str = field(default_factory=lambda: uuid.uuid4().hex)
    """A name for exactly this function; answers are used again under it. Each target has one of its own by default."""

    @property
    def identity(self) -> str:
        """A digest of the revision."""
        return hashlib.sha256(f"function\0{self.revision}".encode()).hexdigest()

    @contextlib.contextmanager
    def open(self) -> Yields[Generator]:
        """Yield a generator that calls the function, one conversation at a time."""
        yield _FunctionGenerator(self.function)


class _FunctionGenerator:
    def __init__(self, function: AnswerFunction) -> None:
        self._function = function

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Return 0 for each text: nothing limits the length of an answer."""
        return [0] * len(texts)

    def generate(
        self,
        conversations: Sequence[Conversation],
        *,
        max_new_tokens: int,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> list[str]:
        """Answer every conversation; see `Generator.generate`."""
        outputs: list[str] = []
        for _, answer in self.stream(conversations, max_new_tokens=max_new_tokens):
            outputs.append(answer.text)
            if on_progress is not None:
                on_progress(len(outputs), len(conversations))
        return outputs

    def stream(
        self, conversations: Sequence[Conversation], *, max_new_tokens: int, skip: Collection[int] = frozenset()
    ) -> Yields[tuple[int, Answer]]:
        """Yield each answer; see `CanStream.stream`."""
        del max_new_tokens  # the function decides
        for index, conversation in enumerate(conversations):
            if index in skip:
                continue
            try:
                answer = cast("object", self._function(conversation))
            except Exception as error:
                error.add_note(f"while answering example {index + 1}")
                raise
            if not isinstance(answer, str):
                raise SpecError(
                    f"a function that is evaluated must return text; it returned {answer!r} for example {index + 1}"
                )
            yield index, Answer(text=answer)


def targets(base: Model | Endpoint | AnswerFunction, tuned: Model | Endpoint | AnswerFunction) -> tuple[Target, Target]:
    """Return the targets `"base"` and `"tuned"`, for `evaluate`.

    An endpoint has no tokenizer, so where an eval leaves `max_new_tokens` open its answers may be longer than those
    of a local model: up to the bytes of the longest reference, and a margin. Set `max_new_tokens` to hold both to the
    same limit.

    Args:
        base: A model to load on this machine, an endpoint that serves it, or a function that answers.
        tuned: The same for the tuned model.

    Raises:
        ModelError: A model can't be found or isn't whole.
    """
    if isinstance(base, Model) and isinstance(tuned, Model):
        return local_targets(base, tuned)  # the weights that they share are loaded once
    return _target("base", base), _target("tuned", tuned)


def _target(name: str, measured: Model | Endpoint | AnswerFunction) -> Target:
    match measured:
        case Model():
            return local_target(name, measured)
        case Endpoint():
            return measured.target(name)
        case _:
            return FunctionTarget(name=name, function=measured)
