"""What was done to rows, one step after the other, as plain data."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from ftsdk.data.bad_rows import OnBad
from ftsdk.data.record_steps import AugmentStep, JudgedStep, ReviewStep
from ftsdk.errors import DatasetError
from ftsdk.spec import Value

if TYPE_CHECKING:
    from ftsdk.data.dataset import Dataset

__all__ = [
    "CanaryStep",
    "ChatStep",
    "CleanStep",
    "ContextStep",
    "FunctionStep",
    "MixStep",
    "PreferenceStep",
    "SampleStep",
    "SliceStep",
    "SplitStep",
    "Step",
    "UnpairedStep",
    "function_step",
]


class _Arguments(Value):
    """The arguments of one call, with only those that were set."""

    @classmethod
    def of(cls, **arguments: Any) -> Self:
        """Record the arguments that aren't None, and `on_bad` where it isn't its default."""
        given = {name: value for name, value in arguments.items() if value is not None}
        if given.get("on_bad") == "raise":
            del given["on_bad"]
        return cls(**given)


class ChatStep(_Arguments):
    """The arguments of `Dataset.as_chat`."""

    prompt: str | None = None
    completion: str | None = None
    system: str | None = None
    messages: str | None = None
    on_bad: OnBad = "raise"


class PreferenceStep(_Arguments):
    """The arguments of `Dataset.as_preference`."""

    prompt: str | None = None
    chosen: str
    rejected: str
    system: str | None = None
    on_bad: OnBad = "raise"


class UnpairedStep(_Arguments):
    """The arguments of `Dataset.as_unpaired`."""

    prompt: str | None = None
    completion: str | None = None
    label: str
    system: str | None = None
    messages: str | None = None
    on_bad: OnBad = "raise"


class SplitStep(_Arguments):
    """The arguments of `Dataset.split`."""

    validation: int | float | None = None
    test: int | float | None = None
    seed: int = 0
    stratify: str | Literal[False] = "auto"
    """`"auto"`, the name of a column, or false."""
    group: str | Literal[False] = "auto"
    """`"auto"`, the name of a column, or false."""


class SampleStep(Value):
    """The arguments of `Dataset.sample`."""

    n: int
    seed: int = 0


class SliceStep(_Arguments):
    """The rows of a slice; negative numbers count from the end."""

    start: int | None = None
    stop: int | None = None
    step: int | None = None


class FunctionStep(Value):
    """A function that was called for each row. It can't be called again from this record."""

    name: str
    """The qualified name of the function."""
    source_sha256: str | None = None
    """SHA-256 of its source text; None where Python can't find that, such as for built-in functions."""
    rows_before: int
    rows_after: int


class CleanStep(_Arguments):
    """One step of `Dataset.clean`, with what it did."""

    name: str
    version: int
    parameters: dict[str, Any] | None = None
    """Those that aren't the default."""
    removed: int | None = None
    """Rows that it removed. This and what follows is a record; a recipe does without."""
    changed: int | None = None
    before: str | None = None
    """Fingerprint of the rows before."""
    after: str | None = None


class MixStep(_Arguments):
    """The arguments of `Dataset.mix`, on the rows of its parts one after the other."""

    shares: Annotated[tuple[float, ...], Field(strict=False, min_length=2)]
    rows: int | None = None
    seed: int = 0
    repeat: bool = False


class ContextStep(_Arguments):
    """The arguments of `Dataset.with_context`."""

    passages: str
    wrong: float = 0.0
    empty: float = 0.0
    unanswerable: str | None = None
    distractors: int = 0
    template: str | None = None
    separator: str | None = None
    no_passages: str | None = None
    seed: int = 0


class CanaryStep(Value):
    """The arguments of `Dataset.with_canaries`."""

    n: int
    seed: int = 0
    times: Annotated[tuple[int, ...], Field(strict=False, min_length=1)] = (1,)


_KINDS = (
    "chat",
    "preference",
    "unpaired",
    "split",
    "sample",
    "take",
    "slice",
    "drop_duplicates",
    "clean",
    "mix",
    "context",
    "canaries",
    "augment",
    "judged",
    "review",
    "filter",
    "map",
)


class Step(Value):
    """One change of the rows: exactly one of these fields, and `part` with `split`."""

    chat: ChatStep | None = None
    preference: PreferenceStep | None = None
    unpaired: UnpairedStep | None = None
    split: SplitStep | None = None
    part: Literal["train", "validation", "test"] | None = None
    """Which part of the split."""
    sample: SampleStep | None = None
    take: int | None = None
    slice: SliceStep | None = None
    drop_duplicates: Literal["row", "prompt"] | None = None
    """What counts as the same."""
    clean: CleanStep | None = None
    mix: MixStep | None = None
    context: ContextStep | None = None
    canaries: CanaryStep | None = None
    augment: AugmentStep | None = None
    judged: JudgedStep | None = None
    review: ReviewStep | None = None
    filter: FunctionStep | None = None
    map: FunctionStep | None = None

    @model_validator(mode="after")
    def _one_thing(self) -> Step:
        given = [name for name in _KINDS if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"must do one of {', '.join(_KINDS[:-1])} and {_KINDS[-1]}, not {' and '.join(given) or 'none'}"
            )
        if (self.split is None) != (self.part is None):
            raise ValueError("split and part go together: part says which part of the split this is")
        return self

    @property
    def shape(self) -> ChatStep | PreferenceStep | UnpairedStep | None:
        """What made rows to train on of a table; None for all other steps."""
        return self.chat or self.preference or self.unpaired

    @property
    def function(self) -> FunctionStep | None:
        """The function that was called, which a record can't call again; None for all other steps."""
        return self.filter or self.map

    @property
    def is_record(self) -> bool:
        """Whether it can't be repeated from this record: a function was called, a model asked, or the rows judged."""
        return (self.function or self.augment or self.judged or self.review) is not None

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the dataset after this step.

        Raises:
            DatasetError: The rows can't be used in this way, the split has no such part, or a function was called.
        """
        if self.chat is not None:
            return dataset.as_chat(**self.chat.to_dict())
        if self.preference is not None:
            return dataset.as_preference(**self.preference.to_dict())
        if self.unpaired is not None:
            return dataset.as_unpaired(**self.unpaired.to_dict())
        if self.sample is not None:
            return dataset.sample(self.sample.n, self.sample.seed)
        if self.take is not None:
            return dataset.take(self.take)
        if self.slice is not None:
            return dataset[self.slice.start : self.slice.stop : self.slice.step]
        if self.drop_duplicates is not None:
            return dataset.drop_duplicates(by=self.drop_duplicates)
        if self.clean is not None:
            return dataset.clean_again(self.clean)
        if self.mix is not None:
            return dataset.mix_again(self.mix)
        if self.context is not None:
            return dataset.with_context(**self.context.to_dict())
        if self.canaries is not None:
            return dataset.with_canaries(self.canaries.n, self.canaries.seed, times=self.canaries.times)
        if self.split is not None:
            return self._part_of(dataset, self.split)
        raise DatasetError(
            f"a recipe can't call the function {self.function.name!r} again."
            if self.function is not None
            else "a recipe can't ask models or reviewers again.",
            source=dataset.name,
            hint="Name the rows by content instead: Store().put(dataset), and dataset.to_dict() for the recipe.",
        )

    def _part_of(self, dataset: Dataset, how: SplitStep) -> Dataset:
        parts = dataset.split(how.validation, how.test, how.seed, how.stratify, how.group)
        part = getattr(parts, self.part or "train")
        if part is None:
            raise DatasetError(
                f"the recipe takes the part {self.part!r} of a split that has none; give split.{self.part} a size.",
                source=dataset.name,
            )
        return part


def function_step(function: Callable[..., Any], *, before: int, after: int) -> FunctionStep:
    """Describe a function that was called for each row: by name, and by the hash of its source."""
    try:
        source = hashlib.sha256(inspect.getsource(function).encode("utf-8", "surrogatepass")).hexdigest()
    except (OSError, TypeError):  # no source file, or not a Python function
        source = None
    name = getattr(function, "__qualname__", None) or type(function).__qualname__
    return FunctionStep(name=name, source_sha256=source, rows_before=before, rows_after=after)
