"""How a dataset was made, as plain data: what a job file says about its data."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ftsdk.data.bad_rows import OnBad
from ftsdk.data.steps import ChatStep, PreferenceStep, SplitStep, Step, UnpairedStep
from ftsdk.spec import DataFormat, Value
from ftsdk.spec.urls import NoUrl, NoUrlSecret, is_url

__all__ = ["Recipe", "portable_path"]


class Recipe(Value):
    """Where rows come from, and what was done to them.

    The usual order (first `chat`, `preference` or `unpaired`, then `split`) is written flat; anything else goes into
    `steps`, in order.
    """

    file: NoUrlSecret | None = None
    """A file, a folder of files or a pattern of them, or the `https://` or `s3://` address of a file. Relative paths
    start at the folder of the job file."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """With the address of a file: the SHA-256 that it must have; None takes what is there."""
    hub: NoUrl | None = None
    """A dataset on the Hugging Face hub."""
    hub_split: NoUrlSecret | None = None
    """Which split of it; None is `train`."""
    revision: NoUrlSecret | None = None
    subset: NoUrlSecret | None = None
    included: Literal["general"] | None = None
    """A dataset that comes with ftsdk: `Dataset.general`."""
    concat: Annotated[tuple[Recipe, ...], Field(strict=False, min_length=2)] | None = None
    """Recipes whose rows follow each other, as `a + b` makes them."""
    stored: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Fingerprint of rows that came from memory; the content-addressed store must hold them."""
    format: DataFormat | None = None
    """With `stored`: the format of the rows."""
    name: NoUrlSecret | None = None
    """With `stored`: a display name."""
    lineage: Annotated[tuple[dict[str, Any], ...], Field(strict=False)] | None = None
    """With `stored`: where the rows came from, if a function made them. For readers; nothing is done with it."""
    on_bad: OnBad | None = None
    """With `file`: what happens to rows that can't be read; None raises an error."""
    stream_rows: Annotated[int, Field(ge=1)] | None = None
    """With `file` or `hub`: how many of the first rows are read; None reads all."""
    chat: ChatStep | None = None
    preference: PreferenceStep | None = None
    unpaired: UnpairedStep | None = None
    split: SplitStep | None = None
    part: Literal["train", "validation", "test"] | None = None
    steps: Annotated[tuple[Step, ...], Field(strict=False)] | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Recipe:
        sources = [name for name in ("file", "hub", "included", "concat", "stored") if getattr(self, name) is not None]
        if len(sources) != 1:
            raise ValueError(
                f"must name one source, file, hub, included, concat or stored, not {' and '.join(sources) or 'none'}"
            )
        for source, fields in (
            ("hub", ("hub_split", "revision", "subset")),
            ("stored", ("format", "name", "lineage")),
            ("file", ("on_bad", "sha256")),
        ):
            for field in fields:
                if getattr(self, field) is not None and sources != [source]:
                    raise ValueError(f"{field} belongs to {source}, and this is {sources[0]} data")
        if self.stream_rows is not None and sources[0] not in ("file", "hub"):
            raise ValueError(f"stream_rows belongs to file or hub, and this is {sources[0]} data")
        if self.sha256 is not None and not is_url(self.file or ""):
            raise ValueError("sha256 belongs to a file at an address, and this one is on this machine")
        if self.stored is not None and self.format is None:
            raise ValueError("stored data needs format: chat, preference or unpaired")
        flat = [name for name in ("chat", "preference", "unpaired", "split") if getattr(self, name) is not None]
        if self.steps is not None and flat:
            raise ValueError(f"{flat[0]} is given beside steps; put it into steps, whose order counts")
        if sum(shape is not None for shape in (self.chat, self.preference, self.unpaired)) > 1:
            raise ValueError("rows are chat, preference or unpaired: only one of these")
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
        if self.unpaired is not None:
            flat.append(Step(unpaired=self.unpaired))
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
        if isinstance(source.get("file"), Path):
            source["file"] = portable_path(source["file"], base)
        kinds = ["chat" if step.shape else "split" if step.split else "other" for step in steps]
        if kinds not in ([], ["chat"], ["split"], ["chat", "split"]):
            return cls(**source, steps=steps)
        flat = {
            name: value
            for step in steps
            for name in ("chat", "preference", "unpaired", "split", "part")
            if (value := getattr(step, name)) is not None
        }
        return cls(**source, **flat)


def portable_path(path: Path, base: Path) -> str:
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
