"""The rows of a dataset: what they are, where they come from, and how they are counted, named and shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, cast

from ftsdk._format import printable
from ftsdk._rich_text import rich_text
from ftsdk.data.argument_checks import checked_index, checked_whole
from ftsdk.data.asked import loose_prompt_hashes, prompts_of
from ftsdk.data.bad_rows import DroppedRow
from ftsdk.data.cleaning.changes import ChangedRows
from ftsdk.data.forms import detect_form
from ftsdk.data.jsonl_output import write_jsonl
from ftsdk.data.kept_guesses import guesses_of_rows
from ftsdk.data.last_results import LastResults
from ftsdk.data.lineage import lineage_of, recipe_of, record_of
from ftsdk.data.location import Location
from ftsdk.data.message_rows import Row, fingerprint_of, line_blocks
from ftsdk.data.row_sequence import RowSequence
from ftsdk.data.shape_hint import shape_hint
from ftsdk.data.sources import Source
from ftsdk.data.table import Table, room_on_disk
from ftsdk.data.token_guess import TokenGuesses
from ftsdk.errors import DatasetError
from ftsdk.spec import DatasetRef
from ftsdk.spec.base import nearest

if TYPE_CHECKING:
    import pandas

    from ftsdk.data.dataset import Dataset
    from ftsdk.data.duplicates.hashed_words import HashedWords
    from ftsdk.data.report import DataReport
    from ftsdk.data.steps import Step
    from ftsdk.data.summary import Summary
    from ftsdk.spec import DataFormat, Model

__all__ = ["Rows"]

_Found = TypeVar("_Found")
_MOST_FOUND = 8


class Rows:
    """Rows, where they come from, and how they are counted and shown; the public class is `Dataset`."""

    __slots__ = (
        "_changed",
        "_dropped",
        "_fingerprint",
        "_format",
        "_found",
        "_guesses",
        "_parts",
        "_prompt_words",
        "_ref",
        "_rows",
        "_source",
        "_steps",
        "_table",
    )

    def __init__(
        self,
        table: Table,
        source: Source,
        format: Literal["table", "chat", "preference", "unpaired"],  # noqa: A002
        rows: RowSequence,
        *,
        dropped: Iterable[DroppedRow],
        changed: ChangedRows | None = None,
        steps: tuple[Step, ...],
        parts: tuple[Dataset, ...],
    ) -> None:
        """Hold rows, each with the row of the table that it was made of."""
        self._table = table
        self._source = source
        self._format: Literal["table", "chat", "preference", "unpaired"] = format
        self._rows = rows
        self._dropped = tuple(dropped)
        self._changed = ChangedRows() if changed is None else changed
        self._steps = steps
        self._parts = parts
        self._fingerprint: str | None = None
        self._guesses: TokenGuesses | None = None
        self._prompt_words: HashedWords | None = None
        self._ref: DatasetRef | None = None
        self._found: LastResults[Any] = LastResults(_MOST_FOUND)

    @property
    def name(self) -> str:
        """The file's name or the hub id."""
        return self._source.name

    @property
    def source(self) -> Source:
        """Where the rows were read; of joined datasets, see `parts`."""
        return self._source

    @property
    def removed(self) -> tuple[DroppedRow, ...]:
        """Every row that was left out on the way here, with the reason.

        By `clean`, `filter`, `drop_duplicates` or `on_bad="drop"`; not by `split`, `sample`, `take` and slices.
        """
        return self._dropped

    @property
    def dropped(self) -> tuple[DroppedRow, ...]:
        """The same as `removed`."""
        return self._dropped

    @property
    def changed(self) -> ChangedRows:
        """Every row that `clean` changed on the way here: before, after, and why. Holds what was scrubbed."""
        return self._changed

    @property
    def steps(self) -> tuple[Step, ...]:
        """What was done to the rows since they were read."""
        return self._steps

    @property
    def lineage(self) -> tuple[dict[str, Any], ...]:
        """The source and each step since, as plain data; functions by name and by the hash of their source."""
        return lineage_of(self)

    @property
    def parts(self) -> tuple[Dataset, ...]:
        """The datasets that were joined by `+`, before `steps`; empty for all others."""
        return self._parts

    @property
    def format(self) -> Literal["table", "chat", "preference", "unpaired"]:
        """What the rows are."""
        return self._format

    @property
    def form(self) -> str | None:
        """The form in which the rows were found, such as `"ShareGPT"`; None for a table that no form fits."""
        return self._source.form

    @property
    def left_out(self) -> tuple[str, ...]:
        """The columns with values that `form` doesn't read. They are still there for templates and splits."""
        return self._source.left_out

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns as they were read; templates may use them."""
        return self._table.columns

    def column(self, name: str) -> list[Any]:
        """Return the values of a column as it was read, one for each row.

        Raises:
            DatasetError: No such column.
        """
        if name not in self.columns:
            message = f"there is no column {name!r}{nearest(str(name), list(self.columns))}"
            raise DatasetError(message, source=self._source.location)
        return list(self._table.column(name))

    @property
    def rows(self) -> Sequence[Row]:
        """The rows. Each look at one makes a new dict of it."""
        return self._rows

    @property
    def canonical(self) -> RowSequence:
        """The rows in Arrow.

        Raises:
            DatasetError: The rows are still a table.
        """
        if self._format == "table":
            raise self._not_shaped()
        return self._rows

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows)

    def head(self, n: int = 5) -> list[Row]:
        """Return the first rows, at most `n`.

        Raises:
            DatasetError: `n` isn't a whole number, or is below 0.
        """
        return list(self._rows[: checked_whole("n", n, at_least=0, source=self.name)])

    def line_of(self, index: int) -> int:
        """Return the line of a row in its text file; elsewhere its number. Both count from 1.

        Raises:
            DatasetError: There is no row with this number; also an `IndexError`.
        """
        return int(self._table.lines[checked_index(index, len(self), source=self.name)])

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the canonical rows, in order: the same rows have the same fingerprint wherever they came from.

        Raises:
            DatasetError: The rows are still a table.
        """
        if self._fingerprint is None:
            self._fingerprint = fingerprint_of(self.canonical)
        return self._fingerprint

    def named_by(self, fingerprint: str) -> None:
        """Take a fingerprint that these very rows were just found to have, so that they aren't hashed again."""
        self._fingerprint = fingerprint

    def to_bytes(self) -> bytes:
        """Return the canonical rows as JSON lines; their SHA-256 is the fingerprint.

        Raises:
            DatasetError: The rows are still a table.
        """
        return b"".join(line_blocks(self.canonical))

    def to_pandas(self) -> pandas.DataFrame:
        """Return the rows as a `pandas.DataFrame`: the columns of a table, `messages` of chat rows.

        Whole numbers with gaps stay whole numbers, in a column of objects.
        """
        import pandas

        columns = list(self.columns) if self._format == "table" else None
        return pandas.DataFrame(list(self), columns=columns, dtype=object).infer_objects()

    @property
    def token_guesses(self) -> TokenGuesses:
        """The tokens of each row, estimated from its text once."""
        if self._guesses is None:
            self._guesses = guesses_of_rows(self._rows, self._fingerprint)
        return self._guesses

    def found_once(self, what: str, find: Callable[[], _Found]) -> _Found:
        """Return what was found out about these rows before, or find it out. Parts and slices start anew.

        Args:
            what: Names the result, whatever called for it: `split` and `report` share what both need.
            find: What finds it out. The result mustn't be changed.
        """
        return self._found.get(what, find)

    @property
    def prompt_hashes(self) -> Any:
        """The `loose_prompt_hashes` of the rows, a NumPy array."""
        return self.found_once("prompt hashes", lambda: loose_prompt_hashes(self._rows, self._format))

    @property
    def prompt_words(self) -> HashedWords:
        """The words of the prompts, as hashes: in memory, or beyond a limit in a file that is mapped into it.

        Raises:
            DatasetError: The disk is full.
        """
        from ftsdk.data.duplicates.hashed_words import HashedWords  # loads NumPy

        if self._prompt_words is None:
            with room_on_disk(self._source.location):
                self._prompt_words = HashedWords(prompts_of(self._rows, self._format))
        return self._prompt_words

    def ref(self) -> DatasetRef:
        """Return the dataset as a spec names it.

        Raises:
            DatasetError: The rows are still a table.
        """
        if self._ref is None:
            self._ref = self._named()
        return self._ref

    def _named(self) -> DatasetRef:
        fingerprint = self.fingerprint
        total, longest = self.token_guesses.total_and_longest()
        return DatasetRef(
            fingerprint=fingerprint,
            format=cast("DataFormat", self._format),
            rows=len(self),
            name=self.name,
            tokens=total,
            longest_tokens=longest,
            lineage=record_of(self),
        )

    def to_dict(self, base: Path | None = None) -> dict[str, Any]:
        """Return the recipe: where the rows come from and what was done to them. `from_dict` reads it back.

        Args:
            base: The folder that relative paths start from; None is the current one.

        Raises:
            DatasetError: Rows from memory that are still a table: they can only be named by content.
        """
        return recipe_of(self, base or Path.cwd()).to_dict()

    def summary(self) -> Summary:
        """Describe the rows: how many, how long, which classes."""
        from ftsdk.data.summary import summarise

        return summarise(self)

    def report(
        self,
        *,
        model: Model | str | None = None,
        max_length: int | None = None,
        against: Mapping[str, Rows] | None = None,
        queries: Sequence[str] = (),
    ) -> DataReport:
        """Return what is wrong with the rows, and the call that mends each fault. Changes nothing.

        Args:
            model: Count tokens with this model's tokenizer and chat template; None guesses them from the text.
            max_length: Tokens that training keeps of a row. None: as many as the model reads, or no limit without one.
            against: Other datasets by name, such as `{"test": test}`: rows that they share with this one are leaks.
            queries: What users ask: those without a similar prompt in the data are found.

        Raises:
            DatasetError: `model` or `against` is given, and the rows are still a table; or `max_length` isn't a whole
                number of at least 1.
            ModelError: The model isn't found, or its tokenizer or template can't be used.
        """
        from ftsdk.data.leak_check import JudgedBy
        from ftsdk.data.report.build import build_report, counter_for

        if max_length is not None:
            max_length = checked_whole("max_length", max_length, at_least=1, source=self.name)
        return build_report(
            self,
            counter=None if model is None else counter_for(model, max_length=max_length),
            max_length=max_length,
            judges=[JudgedBy(name, rows) for name, rows in (against or {}).items()],
            queries=queries,
        )

    def __repr__(self) -> str:
        return f"Dataset({self.name!r}, {self._format}, {len(self):,} rows)"

    def __str__(self) -> str:
        return str(self.summary())

    __rich__ = rich_text

    def _repr_html_(self) -> str:
        return self.summary().to_html()

    @property
    def shape_hint(self) -> str:
        """What to call for a table to become rows that can be trained on, with its own columns."""
        return detect_form(self._table).hint or shape_hint(self.columns, self._table.rows)

    def to_jsonl(self, path: str | Path) -> Path:
        """Write the rows to a JSON Lines file that `from_file` reads back, and return its path.

        The file is replaced as a whole. The rows of a table are written with their columns; dates as ISO 8601 text.

        Args:
            path: The file, ending in `.jsonl`. Its folder is made if missing.

        Raises:
            DatasetError: It can't be written, or a value of a table has a type that JSON lacks.
        """
        return write_jsonl(self._rows, Path(path), self._format, self._places())

    def _not_shaped(self) -> DatasetError:
        what = "a table" if self.form is None else f"{self.form} in a table"
        return DatasetError(
            f"the rows are {what} (columns: {printable(', '.join(self.columns), 200)}), not yet something to learn "
            "from.",
            source=self.name,
            hint=self.shape_hint,
        )

    def _places(self) -> Iterator[Location]:
        return self._table.places(self._source.location)

    def _selected(self, positions: Sequence[int], step: Step, *, dropped: Iterable[DroppedRow] = ()) -> Dataset:
        table = self._table.at(positions)
        rows = table.rows if self._format == "table" else self._rows.at(positions)
        return self._derived(table, rows, step, format=self._format, dropped=dropped)

    def _derived(
        self,
        table: Table,
        rows: RowSequence,
        step: Step,
        *,
        format: Literal["table", "chat", "preference", "unpaired"],  # noqa: A002
        dropped: Iterable[DroppedRow] = (),
        changed: ChangedRows | None = None,
    ) -> Dataset:
        """Return a dataset of other rows, after one more step."""
        from ftsdk.data.dataset import Dataset

        return Dataset(
            table,
            self._source,
            steps=(*self._steps, step),
            format=format,
            rows=rows,
            dropped=(*self._dropped, *dropped),
            changed=self._changed if changed is None else self._changed + changed,
            parts=self._parts,
        )
