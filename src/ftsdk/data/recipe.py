"""How a dataset was made, as plain data: what a job file says about its data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from ftsdk.errors import DatasetError
from ftsdk.spec import DataFormat, Value

if TYPE_CHECKING:
    from ftsdk.data.dataset import Dataset

__all__ = ["ChatStep", "PreferenceStep", "Recipe", "SampleStep", "SplitStep", "Step"]


class ChatStep(Value):
    """The arguments of `Dataset.as_chat`."""

    prompt: str | None = None
    completion: str | None = None
    system: str | None = None
    messages: str | None = None


class PreferenceStep(Value):
    """The arguments of `Dataset.as_preference`."""

    prompt: str | None = None
    chosen: str
    rejected: str
    system: str | None = None


class SplitStep(Value):
    """The arguments of `Dataset.split`."""

    validation: int | float | None = None
    test: int | float | None = None
    seed: int = 0
    stratify: str | Literal[False] = "auto"
    """`"auto"`, the name of a column, or false."""


class SampleStep(Value):
    """The arguments of `Dataset.sample`."""

    n: int
    seed: int = 0


class Step(Value):
    """One change of the rows: exactly one of these fields, and `part` with `split`."""

    chat: ChatStep | None = None
    preference: PreferenceStep | None = None
    split: SplitStep | None = None
    part: Literal["train", "validation", "test"] | None = None
    """Which part of the split."""
    sample: SampleStep | None = None
    take: int | None = None

    @model_validator(mode="after")
    def _one_thing(self) -> Step:
        given = [name for name in ("chat", "preference", "split", "sample", "take") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(
                f"must do one of chat, preference, split, sample and take, not {' and '.join(given) or 'none'}"
            )
        if (self.split is None) != (self.part is None):
            raise ValueError("split and part go together: part says which part of the split this is")
        return self

    def apply(self, dataset: Dataset) -> Dataset:
        """Return the dataset after this step.

        Raises:
            DatasetError: The rows can't be used in this way, or the split has no such part.
        """
        if self.chat is not None:
            return dataset.as_chat(**self.chat.to_dict())
        if self.preference is not None:
            return dataset.as_preference(**self.preference.to_dict())
        if self.sample is not None:
            return dataset.sample(self.sample.n, self.sample.seed)
        if self.take is not None:
            return dataset.take(self.take)
        how = self.split or SplitStep()
        part = getattr(dataset.split(how.validation, how.test, how.seed, how.stratify), self.part or "train")
        if part is None:
            raise DatasetError(
                f"the recipe takes the part {self.part!r} of a split that has none; give split.{self.part} a size.",
                source=dataset.name,
            )
        return part


class Recipe(Value):
    """Where rows come from, and what was done to them.

    The usual order (first `chat` or `preference`, then `split`) is written flat; anything else goes into `steps`, in
    order.
    """

    file: str | None = None
    """A file; relative paths start at the folder of the job file."""
    hub: str | None = None
    """A dataset on the Hugging Face hub."""
    hub_split: str | None = None
    """Which split of it; None is `train`."""
    revision: str | None = None
    subset: str | None = None
    stored: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Fingerprint of rows that came from memory; the content-addressed store must hold them."""
    format: DataFormat | None = None
    """With `stored`: the format of the rows."""
    name: str | None = None
    """With `stored`: a display name."""
    chat: ChatStep | None = None
    preference: PreferenceStep | None = None
    split: SplitStep | None = None
    part: Literal["train", "validation", "test"] | None = None
    steps: Annotated[tuple[Step, ...], Field(strict=False)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Recipe:
        sources = [name for name in ("file", "hub", "stored") if getattr(self, name) is not None]
        if len(sources) != 1:
            raise ValueError(f"must name one source, file, hub or stored, not {' and '.join(sources) or 'none'}")
        for source, fields in (("hub", ("hub_split", "revision", "subset")), ("stored", ("format", "name"))):
            for field in fields:
                if getattr(self, field) is not None and sources != [source]:
                    raise ValueError(f"{field} belongs to {source}, and this is {sources[0]} data")
        if self.stored is not None and self.format is None:
            raise ValueError("stored data needs format: chat or preference")
        flat = [name for name in ("chat", "preference", "split") if getattr(self, name) is not None]
        if self.steps is not None and flat:
            raise ValueError(f"{flat[0]} is given beside steps; put it into steps, whose order counts")
        if self.chat is not None and self.preference is not None:
            raise ValueError("rows are chat or preference, not both")
        if (self.split is None) != (self.part is None):
            raise ValueError("split and part go together: part says which part of the split this is")
        return self

    @property
    def all_steps(self) -> tuple[Step, ...]:
        """The steps in order, whether written flat or as `steps`."""
        if self.steps is not None:
            return self.steps
        flat: list[Step] = []
        if self.chat is not None:
            flat.append(Step(chat=self.chat))
        if self.preference is not None:
            flat.append(Step(preference=self.preference))
        if self.split is not None:
            flat.append(Step(split=self.split, part=self.part))
        return tuple(flat)

    @classmethod
    def of(cls, origin: Mapping[str, Any], steps: tuple[Step, ...], *, base: Path) -> Recipe:
        """Return the recipe of rows that were read from `origin`: flat if the steps are in the usual order.

        Args:
            origin: The fields that name the source; a file with an absolute path.
            steps: What was done to the rows since.
            base: The folder that a relative path will start from.
        """
        source: dict[str, Any] = dict(origin)
        if "file" in source:
            source["file"] = _portable_path(source["file"], base)
        kinds = ["chat" if step.chat or step.preference else "split" if step.split else "other" for step in steps]
        if kinds not in ([], ["chat"], ["split"], ["chat", "split"]):
            return cls(**source, steps=steps)
        flat = {
            name: value
            for step in steps
            for name in ("chat", "preference", "split", "part")
            if (value := getattr(step, name)) is not None
        }
        return cls(**source, **flat)


def _portable_path(path: Path, base: Path) -> str:
    """Return a path as a job file in `base` should have it.

    Relative if the file is near, so that the two can move together.
    """
    path, base = path.resolve(), base.resolve()
    try:
        relative = Path(os.path.relpath(path, base))
    except ValueError:  # another drive
        return path.as_posix()
    # Up to two folders up is one project (jobs/a.yaml beside data/b.csv); further off, only the absolute path means
    # anything.
    ups = relative.parts.count("..")
    is_near = ups == 0 or (ups <= 2 and len(base.parts) - ups > 1)
    return relative.as_posix() if is_near else path.as_posix()
