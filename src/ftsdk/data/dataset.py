"""`Dataset`: rows to learn from, with their lines in the file, their recipe and their fingerprint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

from ftsdk._format import printable
from ftsdk.data.answer_labels import classes_of_labels
from ftsdk.data.argument_checks import checked_count, checked_index, checked_seed, checked_slice
from ftsdk.data.bad_rows import BadRows, DroppedRow, OnBad
from ftsdk.data.canonical import Row, ready_rows
from ftsdk.data.cleaning.changes import ChangedRows
from ftsdk.data.cleaning.row_texts import CleanRows
from ftsdk.data.forms import detect_form
from ftsdk.data.growing.methods import Growing
from ftsdk.data.lineage import follow
from ftsdk.data.recipe import Recipe
from ftsdk.data.review.methods import Reviewing
from ftsdk.data.row_functions import kept_by, mapped_table
from ftsdk.data.row_sequence import RowSequence
from ftsdk.data.shaping import Shaping
from ftsdk.data.sources import Source, memory_table, open_hub, open_source, open_stream, rows_table
from ftsdk.data.split import (
    ByColumn,
    Splits,
    choose,
    groups_of,
    slice_positions,
    split_positions,
    strata_of,
)
from ftsdk.data.steps import (
    SampleStep,
    SliceStep,
    SplitStep,
    Step,
    function_step,
)
from ftsdk.data.table import Table, join_tables, table_of
from ftsdk.data.traffic import TrafficOnly, traffic_rows
from ftsdk.errors import DatasetError

if TYPE_CHECKING:
    from ftsdk.data.store import Store

__all__ = ["Dataset"]


class Dataset(Shaping, Growing, Reviewing):
    """Rows to learn from. A dataset never changes: every method returns a new one.

    Rows are read once and held in Arrow; large ones in a file that is mapped into memory. `format` says what they are:
    `"chat"`, `"preference"` and `"unpaired"` rows can be trained on; `"table"` rows become one of these by `as_chat`,
    `as_preference` or `as_unpaired`.
    """

    __slots__ = ()

    def __init__(
        self,
        table: Table,
        source: Source,
        *,
        steps: tuple[Step, ...] = (),
        format: Literal["table", "chat", "preference", "unpaired"] | None = None,  # noqa: A002
        rows: RowSequence | None = None,
        bad: BadRows | None = None,
        dropped: tuple[DroppedRow, ...] = (),
        changed: ChangedRows | None = None,
        parts: tuple[Dataset, ...] = (),
    ) -> None:
        """Build a dataset. Use `from_file`, `from_hub`, `from_table` or `from_rows` instead."""
        bad = bad or BadRows()
        found = format or "table"
        if rows is None:
            form, left_out, _ = detect_form(table)
            if form is not None and not steps:
                source = source.in_form(form.name, left_out)
            if format != "table" and form is not None and form.format is not None and form.make is not None:
                found = form.format
                maker = form.make(table, source.location)
                table, rows = ready_rows(table, maker, source.location, bad, reads=form.needs)
        rows = table.rows if rows is None else rows
        dropped = (*dropped, *bad.dropped)
        super().__init__(table, source, found, rows, dropped=dropped, changed=changed, steps=steps, parts=parts)

    @classmethod
    def from_file(
        cls,
        path: Any,
        *,
        split: str | None = None,
        revision: str | None = None,
        subset: str | None = None,
        on_bad: OnBad = "raise",
        stream: bool = False,
    ) -> Dataset:
        """Read data from a file, the Hugging Face hub or memory.

        Args:
            path: A `.csv`, `.tsv`, `.jsonl`, `.json`, `.parquet` or `.arrow` file, also with `.gz` or `.zst` behind
                that; a folder of such files, or a pattern (`"data/*.jsonl"`), read in the order of their names; the
                `https://` or `s3://` address of such a file; an id on the Hugging Face hub (`"org/name"`); a pandas,
                polars or pyarrow table; or a list of dicts. Text is in UTF-8.
            split: Which split of a hub dataset; None is `"train"`.
            revision: Which branch, tag or commit of a hub dataset.
            subset: Which subset (configuration) of a hub dataset.
            on_bad: `"raise"` lists rows that can't be used in one error; `"drop"` leaves them out and keeps them in
                `dropped`.
            stream: Read rows when they are needed, for data that doesn't fit on the disk twice. `take(n)` reads the
                first rows; a job with `max_steps` reads `max_steps` times `batch_size` of them.

        Raises:
            DatasetError: There is no such file or it can't be used; names up to ten rows, and what to do.
            MissingExtraError: The file is on S3, and the extra `s3` isn't installed.
        """
        bad = BadRows(on_bad)
        if stream:
            from ftsdk.data.stream import DatasetStream

            return DatasetStream(
                *open_stream(path, split=split, revision=revision, subset=subset, bad=bad), on_bad=on_bad
            )
        table, source = open_source(path, split=split, revision=revision, subset=subset, bad=bad)
        return cls(table, source, bad=bad)

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

    @classmethod
    def from_traffic(
        cls,
        folder: str | Path,
        *,
        only: TrafficOnly = "accepted",
        route: str | None = None,
        since: datetime | None = None,
    ) -> Dataset:
        """Read the answers that a router kept (`TrafficFolder`): the next round's data.

        Each row has `messages`, and where it comes from in the columns `traffic_id`, `traffic_at`, `traffic_route`,
        `traffic_arm`, `traffic_version`, `traffic_model`, `traffic_accepted_by`, `traffic_corrected` and others. An
        answer of a fallback is its provider's: check that its terms allow training on it, or filter by `traffic_role`.

        Args:
            folder: The folder of the `TrafficFolder`.
            only: `"accepted"`: answers that a validator, a judge or a user accepted, and those that a user corrected,
                with the correction as the answer. `"corrected"`: the latter alone. `"rejected"`: those that weren't
                accepted, as they were. `"all"`: also those that nobody judged.
            route: Only those of this router.
            since: Only requests from this time on.

        Raises:
            DatasetError: There is no such folder, or no row is left.
        """
        folder = Path(folder)
        found = traffic_rows(folder, only=only, route=route, since=None if since is None else since.timestamp())
        name = printable(folder.name or str(folder), 200)
        if not found.rows:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in found.left_out.items()) or "no answers"
            raise DatasetError(
                f"no answer is left with only={only!r}: {reasons}.",
                source=name,
                hint="Judge answers with a validator, a judge or feedback; only='all' takes those that nobody judged.",
            )
        origin = {"traffic": name, "only": only, "rows": len(found.rows), "left_out": found.left_out}
        source = Source(name=name, location=name, lineage=({**origin, "sha256": found.sha256},))
        return cls(rows_table(found.rows), source)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Dataset: ...
    def __getitem__(self, index: int | slice) -> Row | Dataset:
        if not isinstance(index, slice):
            return self._rows[checked_index(index, len(self), source=self.name)]
        index, bounds = checked_slice(index, source=self.name)
        positions = slice_positions(index, len(self), source=self.name)
        return self._selected(positions, Step(slice=SliceStep.of(**bounds)))

    def __add__(self, other: object) -> Dataset:
        if not isinstance(other, Dataset):
            return NotImplemented
        if other._format != self._format:
            raise DatasetError(
                f"{self._format} rows can't be joined with the {other._format} rows of {other.name!r}.",
                source=self.name,
                hint="Give both the same shape first, with as_chat(...) or as_preference(...).",
            )
        table = join_tables((self._table, self._source.location), (other._table, other._source.location))
        return Dataset(
            table,
            Source(name=f"{self.name} + {other.name}"),
            format=self._format,
            rows=table.rows if self._format == "table" else self._rows + other._rows,
            dropped=(*self._dropped, *other._dropped),
            changed=self._changed + other._changed,
            parts=(self, other),
        )

    def filter(self, function: Callable[[Row], object]) -> Dataset:
        """Keep the rows for which a function is true. The others are in `dropped`.

        Args:
            function: Called with a copy of each row: `{"messages": [...]}` of chat rows, the columns of a table.

        Raises:
            DatasetError: It keeps no row, or returns None.
        """
        kept, dropped = kept_by(self, self._places(), function)
        if not kept:
            raise DatasetError(f"filter keeps none of the {len(self)} rows.", source=self.name)
        step = Step(filter=function_step(function, before=len(self), after=len(kept)))
        return self._selected(kept, step, dropped=dropped)

    def map(self, function: Callable[[Row], Mapping[str, Any]]) -> Dataset:
        """Change each row by a function.

        What it returns is read anew: rows with `messages`, or with `prompt` and `completion`, are chat rows then. Of
        chat rows the columns that they were made of are gone afterwards.

        Args:
            function: Called with a copy of each row; returns the new row, a dict of columns.

        Raises:
            DatasetError: It returns something else, or rows that can't be used.
        """
        changed = mapped_table(self, self._places(), function)
        table = table_of(zip(self._table.lines.tolist(), changed, strict=True), source=self.name)
        table = table._replace(sources=self._table.sources)
        step = Step(map=function_step(function, before=len(self), after=len(self)))
        return Dataset(
            table,
            self._source,
            steps=(*self._steps, step),
            dropped=self._dropped,
            changed=self._changed,
            parts=self._parts,
        )

    def drop_duplicates(self, by: Literal["row", "prompt"] = "row") -> Dataset:
        """Keep the first of rows that are equal. The others are in `dropped`.

        The same rows as `clean("exact_duplicates")`, which has more to choose: single columns, case and blanks.

        Args:
            by: `"row"` compares whole rows, `"prompt"` everything before the answer.

        Raises:
            DatasetError: Prompts are asked for, and the rows are still a table.
        """
        if by not in ("row", "prompt"):
            raise DatasetError(f'by={by!r} isn\'t known: pass "row" or "prompt".', source=self.name)
        if by == "prompt" and self._format == "table":
            raise self._not_shaped()
        from ftsdk.data.cleaning.row_steps import exact_duplicates

        rows = CleanRows(self._rows, self._format, self._places)
        repeats = {found.position: found.reason for found in exact_duplicates(rows, by=by)}
        dropped = [
            DroppedRow(where.source, where.line, repeats[position], row)
            for position, (row, where) in enumerate(self._table.located(self._source.location))
            if position in repeats
        ]
        kept = [position for position in range(len(self)) if position not in repeats]
        return self._selected(kept, Step(drop_duplicates=by), dropped=dropped)

    @overload
    def split(
        self, validation: float, test: float, seed: int = 0, stratify: ByColumn = "auto", group: ByColumn = "auto"
    ) -> Splits[Dataset, Dataset]: ...
    @overload
    def split(
        self, validation: float, test: None = None, seed: int = 0, stratify: ByColumn = "auto", group: ByColumn = "auto"
    ) -> Splits[Dataset, None]: ...
    @overload
    def split(
        self,
        validation: None = None,
        *,
        test: float,
        seed: int = 0,
        stratify: ByColumn = "auto",
        group: ByColumn = "auto",
    ) -> Splits[None, Dataset]: ...
    @overload
    def split(
        self,
        validation: float | None = None,
        test: float | None = None,
        seed: int = 0,
        stratify: ByColumn = "auto",
        group: ByColumn = "auto",
    ) -> Splits[Dataset | None, Dataset | None]: ...
    def split(
        self,
        validation: float | None = None,
        test: float | None = None,
        seed: int = 0,
        stratify: ByColumn = "auto",
        group: ByColumn = "auto",
    ) -> Splits[Any, Any]:
        """Cut into parts that share no row and no prompt.

        The same seed gives the same parts on every machine; each part keeps the order of the rows. Rows that stay
        together may leave a part a few rows short.

        Args:
            validation: A fraction (0.1) or a number of rows (200). None: no such part.
            test: Likewise.
            seed: Which rows go where.
            stratify: `"auto"` gives every part the same mix of completions if these look like class labels (two or
                more, each at least twice; up to 50, or up to 1,000 with three rows each on average; at most 200
                characters long); a column does so by that column; None doesn't.
            group: Which rows stay in one part. `"auto"`: those whose prompts are the same (case and blanks don't count)
                or near-duplicates; of a table, rows that are. A column: also those with the same value in it, such as a
                customer or a document. None: each row is drawn alone.

        Raises:
            DatasetError: A part would be empty, no part has a size, or the seed can't be used.
        """
        seed = checked_seed(seed, source=self.name)
        sizes = {name: size for name, size in (("validation", validation), ("test", test)) if size is not None}
        location = self._source.location
        groups = self.found_once(f"groups by {group!r}", lambda: self._groups(group))
        chosen = split_positions(len(self), sizes, seed, self._strata(stratify), groups, source=location)
        step = SplitStep.of(
            **sizes,
            seed=seed,
            stratify=None if stratify == "auto" else stratify or False,
            group=None if group == "auto" else group or False,
        )

        def part(name: Literal["train", "validation", "test"]) -> Dataset:
            return self._selected(chosen[name], Step(split=step, part=name))

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
        size = checked_count(n, len(self), source=self.name)
        seed = checked_seed(seed, source=self.name)
        positions = choose(len(self), [size], seed, self._strata("auto"))[0]
        return self._selected(positions, Step(sample=SampleStep(n=size, seed=seed)))

    def take(self, n: int) -> Dataset:
        """Take the first `n` rows.

        Raises:
            DatasetError: There are fewer rows, or `n` is below 1.
        """
        size = checked_count(n, len(self), source=self.name)
        return self._selected(tuple(range(size)), Step(take=size))

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
        return follow(Recipe.from_dict(data), base or Path.cwd(), store)

    def _groups(self, group: ByColumn) -> Any | None:
        return groups_of(
            self._rows,
            self._table,
            group,
            format=self._format,
            source=self._source.location,
            prompt_hashes=lambda: self.prompt_hashes,
            prompt_words=lambda: self.prompt_words,
        )

    def _strata(self, stratify: ByColumn) -> tuple[str, ...] | None:
        if self._format == "unpaired" and stratify == "auto":
            return classes_of_labels(self._rows)
        return strata_of(
            self._rows, self._table, stratify, is_chat=self._format == "chat", source=self._source.location
        )
