"""Rows that are read when they are needed, for data that doesn't fit on the disk twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import Any, NoReturn

from ftsdk._format import printable
from ftsdk.data.argument_checks import checked_count
from ftsdk.data.bad_rows import BadRows, OnBad
from ftsdk.data.dataset import Dataset
from ftsdk.data.sources import RowSource, Source
from ftsdk.data.steps import ChatStep, PreferenceStep, Step, UnpairedStep
from ftsdk.data.table import table_of
from ftsdk.errors import DatasetError

__all__ = ["DatasetStream"]


class DatasetStream(Dataset):
    """A dataset of which only the rows are read that are needed, from the first on.

    `take(n)` returns the first rows as an ordinary dataset, `as_chat`, `as_preference` and `as_unpaired` shape those
    that will be read, and iterating yields raw rows. A job with `max_steps` reads what it trains on. Everything else
    needs all rows, and is refused.
    """

    __slots__ = ("_on_bad", "_origin", "_read", "_shape")

    def __init__(self, read: RowSource, source: Source, *, on_bad: OnBad, shape: Step | None = None) -> None:
        """Build a stream. Use `Dataset.from_file(..., stream=True)` instead.

        Args:
            read: Starts to read the rows.
            source: Where they come from.
            on_bad: As for `from_file`.
            shape: What `as_chat` or `as_preference` was called with.
        """
        self._read, self._origin, self._shape = read, source, shape
        self._on_bad: OnBad = on_bad

    @property
    def name(self) -> str:
        """The file's name or the hub id."""
        return self._origin.name

    def take(self, n: int) -> Dataset:
        """Read the first `n` rows.

        Raises:
            DatasetError: There are fewer rows, `n` is below 1, or a row can't be used.
        """
        n = checked_count(n, None, source=self.name)
        found = self.first(n)
        if len(found) + len(found.dropped) < n:
            raise DatasetError(f"can't take {n:,} rows of a stream that has {len(found):,}.", source=self.name)
        return found

    def first(self, n: int, *, for_job: bool = False) -> Dataset:
        """Read the first `n` rows, or all if there are fewer.

        Args:
            n: How many.
            for_job: Whether a job that takes more steps may replace them by more rows.

        Raises:
            DatasetError: There are none, one can't be used, or `n` is below 1.
        """
        import numpy

        n = checked_count(n, None, source=self.name)
        bad = BadRows(self._on_bad)
        names: dict[str | None, int] = {}
        numbers: list[int] = []

        def rows() -> Iterator[tuple[int, dict[str, Any]]]:
            with closing(self._read(bad)) as found:
                for name, line, row in islice(found, n):
                    numbers.append(names.setdefault(name, len(names)))
                    yield line, row

        table = table_of(rows(), source=self.name, bad=bad)
        table = table._replace(sources=(numpy.asarray(numbers), tuple(names)))
        recipe = None if self._origin.recipe is None else {**self._origin.recipe, "stream_rows": n}
        facts = {**(self._origin.facts or {}), "stream_rows": n}
        source = replace(self._origin, recipe=recipe, facts=facts, stream=self if for_job else None)
        data = Dataset(table, source, bad=bad)
        return data if self._shape is None else self._shape.apply(data)

    def for_job(self, data: Dataset, *, max_steps: int | None, batch_size: int | None, packing: bool | None) -> Dataset:
        """Return the rows that a job trains on.

        Args:
            data: The stream, or what another job read of it, which is kept if it was changed or is enough.
            max_steps: The job's.
            batch_size: The job's.
            packing: The job's.

        Raises:
            DatasetError: The job has no `max_steps`, packs rows, or a row can't be used.
        """
        if data is not self and (data.steps != (() if self._shape is None else (self._shape,)) or not max_steps):
            return data
        if max_steps is None or batch_size is None:
            raise DatasetError(
                "is a stream, whose end isn't known, so the job needs max_steps.",
                source=self.name,
                hint="Pass max_steps=1000: so many times batch_size rows are read.",
            )
        if packing:
            raise DatasetError(
                "is a stream, and with packing it isn't known how many rows a step takes.",
                source=self.name,
                hint="Leave packing out, or pass stream.take(n).",
            )
        needed = max_steps * batch_size
        return data if data is not self and _asked_for(data) == needed else self.first(needed, for_job=True)

    def as_chat(
        self,
        prompt: str | None = None,
        completion: str | None = None,
        system: str | None = None,
        messages: str | None = None,
        on_bad: OnBad = "raise",
    ) -> Dataset:
        """Make conversations of the rows that will be read; see `Dataset.as_chat`."""
        step = ChatStep.of(prompt=prompt, completion=completion, system=system, messages=messages, on_bad=on_bad)
        return self._shaped(Step(chat=step))

    def as_preference(
        self,
        prompt: str | None = None,
        chosen: str = "{chosen}",
        rejected: str = "{rejected}",
        system: str | None = None,
        on_bad: OnBad = "raise",
    ) -> Dataset:
        """Make pairs of answers of the rows that will be read; see `Dataset.as_preference`."""
        step = PreferenceStep.of(prompt=prompt, chosen=chosen, rejected=rejected, system=system, on_bad=on_bad)
        return self._shaped(Step(preference=step))

    def as_unpaired(
        self,
        prompt: str | None = None,
        completion: str | None = None,
        label: str = "label",
        system: str | None = None,
        messages: str | None = None,
        on_bad: OnBad = "raise",
    ) -> Dataset:
        """Make labelled answers of the rows that will be read; see `Dataset.as_unpaired`."""
        step = UnpairedStep.of(
            prompt=prompt, completion=completion, label=label, system=system, messages=messages, on_bad=on_bad
        )
        return self._shaped(Step(unpaired=step))

    def _shaped(self, step: Step) -> Dataset:
        return DatasetStream(self._read, self._origin, on_bad=self._on_bad, shape=step)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        bad = BadRows(self._on_bad)
        with closing(self._read(bad)) as found:
            for _, _, row in found:
                if bad.count:
                    bad.finish(1)
                yield row

    def __len__(self) -> int:
        raise TypeError(
            f"{self.name} is a stream, which has no length; take(n) reads the first rows"
        )  # as list() wants

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, stream)"

    def __str__(self) -> str:
        shape = "as they are" if self._shape is None else "shaped when they are read"
        return f"{printable(self.name)}\n  rows        a stream, {shape}; take(n) reads the first ones"

    def _repr_html_(self) -> str:
        return self.first(5).summary().to_html()

    def __getattr__(self, name: str) -> NoReturn:
        # Only what a stream doesn't have gets here: the rows, their table, and what is made of them.
        if name.startswith("__"):
            raise AttributeError(name)
        raise DatasetError(
            "is a stream, of which only the first rows can be read, and this needs all of them.",
            source=self.name,
            hint="Call take(n) first, or read it without stream=True.",
        )


def _asked_for(data: Dataset) -> int | None:
    return (data.source.facts or {}).get("stream_rows")
