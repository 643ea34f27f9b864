"""`Dataset`: rows to learn from, with their lines in the file, their recipe and their fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar, overload

from ftsdk.data.canonical import Row, as_lines, chat_rows, detect_format, preference_rows, ready_rows
from ftsdk.data.recipe import ChatStep, PreferenceStep, Recipe, SampleStep, SplitStep, Step
from ftsdk.data.sources import Source, memory_table, open_hub, open_source, rows_table
from ftsdk.data.split import choose, split_positions, strata_of
from ftsdk.data.table import Table
from ftsdk.data.token_guess import RowGuess, guess_row, total_and_longest
from ftsdk.errors import DatasetError
from ftsdk.spec import DatasetRef

if TYPE_CHECKING:
    from ftsdk.data.store import Store
    from ftsdk.data.summary import Summary

__all__ = ["Dataset", "Splits"]


_Validation_co = TypeVar("_Validation_co", covariant=True)
_Test_co = TypeVar("_Test_co", covariant=True)


class Splits(NamedTuple, Generic[_Validation_co, _Test_co]):
    """The parts of a dataset. A part without a size is None."""

    train: Dataset
    validation: _Validation_co
    test: _Test_co


class Dataset:
    """Rows to learn from. A dataset never changes: every method returns a new one.

    Rows are read once and held as plain Python. `format` says what they are: `"chat"` and `"preference"` rows can be
    trained on, `"table"` rows become one of these by `as_chat` or `as_preference`.
    """

    __slots__ = ("_fingerprint", "_format", "_guesses", "_lines", "_rows", "_source", "_steps", "_table")

    def __init__(
        self,
        table: Table,
        source: Source,
        *,
        steps: tuple[Step, ...] = (),
        format: Literal["table", "chat", "preference"] | None = None,  # noqa: A002
        rows: tuple[Row, ...] | None = None,
    ) -> None:
        """Build a dataset. Use `from_file`, `from_hub`, `from_table` or `from_rows` instead."""
        self._table = table
        self._source = source
        self._steps = steps
        self._format: Literal["table", "chat", "preference"] = format or detect_format(table)
        if rows is None:
            rows = table.rows if self._format == "table" else ready_rows(table, self._format, source.location)
        self._rows = rows
        self._lines: bytes | None = None
        self._fingerprint: str | None = None
        self._guesses: tuple[RowGuess, ...] | None = None

    @classmethod
    def from_file(
        cls, path: Any, *, split: str | None = None, revision: str | None = None, subset: str | None = None
    ) -> Dataset:
        """Read data from a file, the Hugging Face hub or memory.

        Args:
            path: A `.csv`, `.tsv`, `.jsonl`, `.json` or `.parquet` file, in UTF-8; an id on the Hugging Face hub
                (`"org/name"`); a pandas, polars or pyarrow table; or a list of dicts.
            split: Which split of a hub dataset; None is `"train"`.
            revision: Which branch, tag or commit of a hub dataset.
            subset: Which subset (configuration) of a hub dataset.

        Raises:
            DatasetError: There is no such file or it can't be used; names the line and field, and what to do.
        """
        return cls(*open_source(path, split=split, revision=revision, subset=subset))

    @classmethod
    def from_hub(
        cls, hub_id: str, *, split: str = "train", revision: str | None = None, subset: str | None = None
    ) -> Dataset:
        """Read a dataset from the Hugging Face hub, or from its cache on this machine when offline.

        Classes (`ClassLabel`) are read as their names.

        Raises:
            DatasetError: It can't be found or reached, or it has no such split or subset.
        """
        return cls(*open_hub(hub_id, split=split, revision=revision, subset=subset))

    @classmethod
    def from_table(cls, table: Any, *, name: str = "table") -> Dataset:
        """Read a pandas, polars or pyarrow table, or a `datasets.Dataset`. Missing values (NaN, null) stay missing.

        Raises:
            DatasetError: It is none of these, or it has no rows.
        """
        return cls(memory_table(table), Source(name=name))

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], *, name: str = "rows") -> Dataset:
        """Read rows from memory.

        Raises:
            DatasetError: There are none, or one isn't a dict.
        """
        return cls(rows_table(rows), Source(name=name))

    @property
    def name(self) -> str:
        """The file's name or the hub id."""
        return self._source.name

    @property
    def format(self) -> Literal["table", "chat", "preference"]:
        """What the rows are."""
        return self._format

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns as they were read; templates may use them."""
        return self._table.columns

    @property
    def rows(self) -> tuple[Row, ...]:
        """The rows themselves, not copies: don't change them."""
        return self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return map(self._copied, self._rows)

    def __getitem__(self, index: int) -> Row:
        return self._copied(self._rows[index])

    def head(self, n: int = 5) -> list[Row]:
        """Return the first rows, at most `n`."""
        return [self._copied(row) for row in self._rows[:n]]

    def line_of(self, index: int) -> int:
        """Return the line of a row in its text file; elsewhere its number. Both count from 1."""
        return self._table.lines[index]

    def as_chat(
        self,
        prompt: str | None = None,
        completion: str | None = None,
        system: str | None = None,
        messages: str | None = None,
    ) -> Dataset:
        """Make conversations.

        Args:
            prompt: A template for what the user says, with `{column}` fields; `{{` and `}}` are single braces.
            completion: A template for what the assistant answers.
            system: A template for a system message in front.
            messages: Instead of `prompt` and `completion`: the column that holds lists of `{"role", "content"}`
                messages (or ShareGPT's `{"from", "value"}`). A column `system` beside it goes in front, unless `system`
                is given.

        Raises:
            DatasetError: A template names no such column, a value is missing, a completion is empty, the roles of a
                conversation are out of order, or something that can't be trained on would be dropped; names the line
                and field.
        """
        rows = chat_rows(
            self._table, self._source.location, prompt=prompt, completion=completion, system=system, messages=messages
        )
        given = {"prompt": prompt, "completion": completion, "system": system, "messages": messages}
        step = Step(chat=ChatStep(**{key: value for key, value in given.items() if value is not None}))
        return self._derived(self._table, rows, step, format="chat")

    def as_preference(
        self,
        prompt: str | None = None,
        chosen: str = "{chosen}",
        rejected: str = "{rejected}",
        system: str | None = None,
    ) -> Dataset:
        """Make pairs of a better and a worse answer.

        Args:
            prompt: A template, or a column of messages. None: the conversation with which `chosen` and `rejected` both
                begin.
            chosen: The better answer: a template, or a column of messages.
            rejected: The worse answer.
            system: A template for a system message in front.

        Raises:
            DatasetError: As for `as_chat`, or the two answers of a row are the same.
        """
        rows = preference_rows(
            self._table, self._source.location, prompt=prompt, chosen=chosen, rejected=rejected, system=system
        )
        given = {"prompt": prompt, "chosen": chosen, "rejected": rejected, "system": system}
        step = Step(preference=PreferenceStep(**{key: value for key, value in given.items() if value is not None}))
        return self._derived(self._table, rows, step, format="preference")

    @overload
    def split(
        self, validation: float, test: float, seed: int = 0, stratify: str | Literal[False] | None = "auto"
    ) -> Splits[Dataset, Dataset]: ...
    @overload
    def split(
        self, validation: float, test: None = None, seed: int = 0, stratify: str | Literal[False] | None = "auto"
    ) -> Splits[Dataset, None]: ...
    @overload
    def split(
        self, validation: None = None, *, test: float, seed: int = 0, stratify: str | Literal[False] | None = "auto"
    ) -> Splits[None, Dataset]: ...
    @overload
    def split(
        self,
        validation: float | None = None,
        test: float | None = None,
        seed: int = 0,
        stratify: str | Literal[False] | None = "auto",
    ) -> Splits[Dataset | None, Dataset | None]: ...
    def split(
        self,
        validation: float | None = None,
        test: float | None = None,
        seed: int = 0,
        stratify: str | Literal[False] | None = "auto",
    ) -> Splits[Any, Any]:
        """Cut into parts that share no row.

        The same seed gives the same parts on every machine; each part keeps the order of the rows.

        Args:
            validation: A fraction (0.1) or a number of rows (200). None: no such part.
            test: Likewise.
            seed: Which rows go where.
            stratify: `"auto"` gives every part the same mix of completions if these look like class labels (2 to 50
                distinct ones, each at least twice); a column does so by that column; None doesn't.

        Raises:
            DatasetError: A part would be empty, or no part has a size.
        """
        sizes = {name: size for name, size in (("validation", validation), ("test", test)) if size is not None}
        chosen = split_positions(len(self), sizes, seed, self._strata(stratify), source=self._source.location)
        given: dict[str, Any] = {
            **sizes,
            "seed": seed,
            **({} if stratify == "auto" else {"stratify": stratify or False}),
        }

        def part(name: Literal["train", "validation", "test"]) -> Dataset:
            return self._selected(chosen[name], Step(split=SplitStep(**given), part=name))

        return Splits(
            part("train"),
            part("validation") if "validation" in chosen else None,
            part("test") if "test" in chosen else None,
        )

    def sample(self, n: int, seed: int = 0) -> Dataset:
        """Draw `n` rows, with the mix of classes that the whole has.

        Raises:
            DatasetError: There are fewer rows, or `n` is below 1.
        """
        positions = choose(len(self), [self._enough(n)], seed, self._strata("auto"))[0]
        return self._selected(positions, Step(sample=SampleStep(n=n, seed=seed)))

    def take(self, n: int) -> Dataset:
        """Take the first `n` rows.

        Raises:
            DatasetError: There are fewer rows, or `n` is below 1.
        """
        return self._selected(tuple(range(self._enough(n))), Step(take=n))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical rows, in order: the same rows have the same fingerprint wherever they came from.

        Raises:
            DatasetError: The rows are still a table.
        """
        if self._fingerprint is None:
            self._fingerprint = hashlib.sha256(self.to_bytes()).hexdigest()
        return self._fingerprint

    def to_bytes(self) -> bytes:
        """Return the canonical rows as JSON lines, as the store keeps them; they are written once and kept.

        Raises:
            DatasetError: The rows are still a table.
        """
        if self._format == "table":
            raise DatasetError(
                f"the rows are a table (columns: {', '.join(self.columns)}), not yet something to learn from.",
                source=self.name,
                hint=(
                    'Call as_chat(prompt="...{column}...", completion="{column}") or as_preference(prompt=, chosen=, '
                    "rejected=) first."
                ),
            )
        if self._lines is None:
            self._lines = as_lines(self._rows)
        return self._lines

    @property
    def token_guesses(self) -> tuple[RowGuess, ...]:
        """The tokens of each row, estimated from its text once."""
        if self._guesses is None:
            self._guesses = tuple(guess_row(row) for row in self._rows)
        return self._guesses

    def ref(self) -> DatasetRef:
        """Return the dataset as a spec names it.

        Raises:
            DatasetError: The rows are still a table.
        """
        fingerprint = self.fingerprint
        total, longest = total_and_longest(self.token_guesses)
        return DatasetRef(
            fingerprint=fingerprint,
            format="preference" if self._format == "preference" else "chat",
            rows=len(self),
            name=self.name,
            tokens=total,
            longest_tokens=longest,
        )

    def to_dict(self, base: Path | None = None) -> dict[str, Any]:
        """Return the recipe: where the rows come from and what was done to them. `from_dict` reads it back.

        Args:
            base: The folder that relative paths start from; None is the current one.

        Raises:
            DatasetError: Rows from memory that are still a table: they can only be named by content.
        """
        if self._source.recipe is None:
            ref = self.ref()
            return Recipe(stored=ref.fingerprint, format=ref.format, name=self.name).to_dict()
        return Recipe.of(self._source.recipe, self._steps, base=base or Path.cwd()).to_dict()

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], base: Path | None = None, *, store: Store | None = None) -> Dataset:
        """Follow a recipe.

        Args:
            data: What `to_dict` returned, or a part of a job file.
            base: The folder that relative paths start from; None is the current one.
            store: The store of rows that came from memory; None is the usual one.

        Raises:
            SpecError: An unknown key or an impossible value.
            DatasetError: The rows can't be found or can't be used.
        """
        recipe = Recipe.from_dict(data)
        if recipe.stored is not None:
            from ftsdk.data.store import Store

            found = (store or Store()).open(recipe.stored, format=recipe.format or "chat", name=recipe.name or "data")
        elif recipe.hub is not None:
            found = cls.from_hub(
                recipe.hub, split=recipe.hub_split or "train", revision=recipe.revision, subset=recipe.subset
            )
        else:
            found = cls.from_file((base or Path.cwd()) / Path(recipe.file or "").expanduser())
        for step in recipe.all_steps:
            found = step.apply(found)
        return found

    def summary(self) -> Summary:
        """Describe the rows: how many, how long, which classes."""
        from ftsdk.data.summary import summarise

        return summarise(self)

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, {self._format}, {len(self):,} rows)"

    def __str__(self) -> str:
        return str(self.summary())

    def _repr_html_(self) -> str:
        return self.summary().to_html()

    def _strata(self, stratify: str | Literal[False] | None) -> tuple[str, ...] | None:
        return strata_of(
            self._rows, self._table, stratify, is_chat=self._format == "chat", source=self._source.location
        )

    def _enough(self, n: int) -> int:
        if not 1 <= n <= len(self):
            raise DatasetError(
                f"can't take {n} of {len(self)} rows.", source=self._source.location, hint=f"Ask for 1 to {len(self)}."
            )
        return n

    def _selected(self, positions: tuple[int, ...], step: Step) -> Dataset:
        table = self._table.at(positions)
        rows = table.rows if self._format == "table" else tuple(self._rows[i] for i in positions)
        return self._derived(table, rows, step, format=self._format)

    def _derived(
        self,
        table: Table,
        rows: tuple[Row, ...],
        step: Step,
        *,
        format: Literal["table", "chat", "preference"],  # noqa: A002
    ) -> Dataset:
        return Dataset(table, self._source, steps=(*self._steps, step), format=format, rows=rows)

    def _copied(self, row: Row) -> Row:
        """Copy a row, so that a caller's changes don't reach the dataset and its fingerprint."""
        if self._format == "table":
            return dict(row)
        return {key: [dict(message) for message in messages] for key, messages in row.items()}
