"""What an eval measures: a model on this machine, an endpoint, or any function that answers."""

from __future__ import annotations

import contextlib
import hashlib
import threading
import time
import uuid
from collections.abc import Callable, Collection, Sequence
from collections.abc import Generator as Yields
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, cast, runtime_checkable

from ftsdk.errors import SpecError
from ftsdk.evals.answers import Answer
from ftsdk.evals.endpoint import Endpoint
from ftsdk.evals.generation import Conversation, Generator
from ftsdk.evals.in_flight import finished
from ftsdk.evals.local import local_target, local_targets
from ftsdk.spec import Model
from ftsdk.spec.amounts import check_amount

__all__ = ["AnswerFunction", "FunctionTarget", "Measurable", "NamedTarget", "Target", "as_target", "targets"]

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
    concurrency: int = 1
    """The most calls at once, in threads."""

    def __post_init__(self) -> None:
        check_amount("concurrency", self.concurrency, at_least=1, at_most=256, is_whole=True)

    @property
    def identity(self) -> str:
        """A digest of the revision."""
        return hashlib.sha256(f"function\0{self.revision}".encode()).hexdigest()

    @contextlib.contextmanager
    def open(self) -> Yields[Generator]:
        """Yield a generator that calls the function."""
        yield _FunctionGenerator(self.function, self.concurrency)


@dataclass(frozen=True, kw_only=True)
class NamedTarget:
    """A target under another name."""

    name: str
    target: Target

    @property
    def identity(self) -> str:
        """That of the target: answers don't depend on its name."""
        return self.target.identity

    def open(self) -> AbstractContextManager[Generator]:
        """Open the target."""
        return self.target.open()


Measurable: TypeAlias = Model | Endpoint | AnswerFunction | Target
"""What `evaluate` can measure, once it has a name."""


class _FunctionGenerator:
    def __init__(self, function: AnswerFunction, concurrency: int) -> None:
        self._function = function
        self._concurrency = concurrency

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
        outputs = [""] * len(conversations)
        for done, (index, answer) in enumerate(self.stream(conversations, max_new_tokens=max_new_tokens), start=1):
            outputs[index] = answer.text
            if on_progress is not None:
                on_progress(done, len(conversations))
        return outputs

    def stream(
        self, conversations: Sequence[Conversation], *, max_new_tokens: int, skip: Collection[int] = frozenset()
    ) -> Yields[tuple[int, Answer]]:
        """Yield each answer; see `CanStream.stream`. When a call fails, those in flight are still yielded."""
        del max_new_tokens  # the function decides
        wanted = (index for index in range(len(conversations)) if index not in skip)
        if self._concurrency == 1:  # in this thread, which the function may need
            yield from ((index, self._answer(index, conversations[index])) for index in wanted)
            return
        is_over = threading.Event()
        failure: BaseException | None = None
        coming = finished(
            lambda index: self._answer(index, conversations[index]),
            wanted,
            concurrency=self._concurrency,
            is_over=is_over,
        )
        with contextlib.closing(coming):
            for index, future in coming:
                error = future.exception()
                if error is None:
                    yield index, future.result()
                else:
                    failure = failure or error
                    is_over.set()
        if failure is not None:
            raise failure

    def _answer(self, index: int, conversation: Conversation) -> Answer:
        started = time.monotonic()
        try:
            answer = cast("object", self._function(conversation))
        except Exception as error:
            error.add_note(f"while answering example {index + 1}")
            raise
        if not isinstance(answer, str):
            raise SpecError(
                f"a function that is evaluated must return text; it returned {answer!r} for example {index + 1}"
            )
        return Answer(text=answer, seconds=time.monotonic() - started)


def as_target(name: str, measured: Measurable) -> Target:
    """Return something to measure under a name.

    Args:
        name: For the report and the files of the answers.
        measured: A model to load on this machine, an endpoint, a function that answers, or a target.

    Raises:
        SpecError: It is none of these.
        ModelError: The model can't be found or isn't whole.
    """
    if isinstance(measured, Model):
        return local_target(name, measured)
    if isinstance(measured, Endpoint):
        return measured.target(name)
    if isinstance(measured, Target):
        return measured if measured.name == name else NamedTarget(name=name, target=measured)
    if callable(measured):
        return FunctionTarget(name=name, function=measured)
    raise SpecError(
        f"{name} is a {type(measured).__name__}, which can't be measured: pass a Model, an Endpoint, a function from "
        "messages to text, or a target"
    )


def targets(base: Measurable, tuned: Measurable | None = None, **others: Measurable) -> tuple[Target, ...]:
    """Return targets for `evaluate`: `"base"`, `"tuned"`, and any number of others under names of their own.

    An endpoint has no tokenizer, so where an eval leaves `max_new_tokens` open its answers may be longer than those
    of a local model: up to the bytes of the longest reference, and a margin. Set `max_new_tokens` to hold both to the
    same limit.

    Args:
        base: A model to load on this machine, an endpoint that serves it, a function that answers, or a target.
        tuned: The same for the tuned model; None: there is none.
        **others: What both are compared with, by name: `haiku=Endpoint(...)`.

    Raises:
        SpecError: Something else was passed.
        ModelError: A model can't be found or isn't whole.
    """
    rest = tuple(as_target(name, measured) for name, measured in others.items())
    if tuned is None:
        return as_target("base", base), *rest
    if isinstance(base, Model) and isinstance(tuned, Model):
        return *local_targets(base, tuned), *rest  # the weights that they share are loaded once
    return as_target("base", base), as_target("tuned", tuned), *rest
