"""What `Dataset` can do about its rows: clean them, put names back, and describe what was done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from ftsdk.data.cleaning.apply import apply_cleaner, replaced
from ftsdk.data.cleaning.changes import ChangedRows, Changes
from ftsdk.data.cleaning.cleaner import Changed, Cleaner
from ftsdk.data.cleaning.row_texts import CleanRows
from ftsdk.data.cleaning.table_fingerprint import table_fingerprint
from ftsdk.data.message_rows import fingerprint_of
from ftsdk.data.rows import Rows
from ftsdk.data.steps import CleanStep, FunctionStep, Step
from ftsdk.errors import DatasetError
from ftsdk.spec import Value

if TYPE_CHECKING:
    from ftsdk.data.cleaning.keys import KeySource, KeyTarget
    from ftsdk.data.dataset import Dataset

__all__ = ["Cleaning"]


class Cleaning(Rows):
    """Rows that can be cleaned; the public class is `Dataset`."""

    __slots__ = ()

    def clean(self, *steps: str, key: KeyTarget | None = None, **options: Any) -> Dataset:
        """Run steps of cleaning, one after the other. What they remove is in `removed`, what they change in `changed`.

        Without names: `encoding`, `empty`, `credentials` and `exact_duplicates`, which do no harm to good rows. By
        choice: `near_duplicates`, `pii`, `language`, `length`, `labels`, `label_errors`, and those that the name
        `quality` stands for; `safe` stands for the first four. A recipe repeats them.

            >>> rows.clean()
            >>> rows.clean("safe", "near_duplicates", "pii", threshold=0.8, key="names.json")

        Args:
            steps: Names of steps, in the order in which they run.
            key: With `credentials` or `pii`: a JSON file or a dict to which is added what each placeholder stands for,
                so that `restore` can put it back. It holds the personal data itself: keep it apart from the rows.
            options: Parameters of the steps by name.

        Raises:
            DatasetError: There is no such step or parameter, a step can't be used on these rows, or it would remove all
                of them.
            SpecError: A parameter has an impossible value.
            MissingExtraError: A step needs a library that isn't installed.
        """
        from ftsdk.data.cleaning.registry import chosen_cleaners

        chosen = chosen_cleaners(steps, options, source=self.name)
        if key is not None and not {"credentials", "pii"} & {cleaner.name for cleaner, _ in chosen}:
            raise DatasetError(
                "key= is for steps that put in placeholders.", source=self.name, hint='Add "credentials" or "pii".'
            )
        found: Cleaning = self
        for cleaner, parameters in chosen:
            found = found._cleaned(cleaner, parameters, key)
        return cast("Dataset", found)

    def restore(self, key: KeySource) -> Dataset:
        """Put back what `clean(..., key=...)` replaced by placeholders, row by row.

        A recipe can't repeat this: it doesn't know the key.

        Args:
            key: The file or the dict that was passed to `clean`.

        Raises:
            DatasetError: The file can't be read, or isn't a key.
        """
        from ftsdk.data.cleaning.keys import read_key, restored_rows

        known = read_key(key)
        rows = CleanRows(self._rows, self._format, self._places)
        found = [one for one in restored_rows(rows, known) if isinstance(one, Changed)]
        positions = [one.position for one in found]
        after, new = replaced(
            self._rows, positions, (one.row for one in found), format=self._format, source=self._source.location
        )
        places = [place for number, place in enumerate(self._places()) if number in set(positions)]
        changes = Changes(self._rows.at(positions), new, places, [one.reason for one in found])
        step = Step(map=FunctionStep(name="Dataset.restore", rows_before=len(self), rows_after=len(self)))
        table = self._table._replace(rows=after) if self._format == "table" else self._table
        changed = ChangedRows([changes] if found else [])
        return self._derived(table, after, step, format=self._format, changed=changed)

    def card(self, *, licence: str | None = None, description: str | None = None) -> str:
        """Return a dataset card in Markdown: source, form, rows, what was done to them with counts, and fingerprint.

        Args:
            licence: The licence of the rows, if you know it; such as "cc-by-4.0".
            description: What the rows are about, in a sentence or more.
        """
        from ftsdk.data.cleaning.card import card_of

        return card_of(cast("Dataset", self), licence=licence, description=description)

    def clean_again(self, step: CleanStep) -> Dataset:
        """Repeat a step of a recipe; see `from_dict`.

        Raises:
            DatasetError: There is no such step in this version, or it leads from the same rows to others.
        """
        from ftsdk.data.cleaning.registry import CLEANERS

        cleaner = CLEANERS.get(step.name)
        if cleaner is None or cleaner.version != step.version:
            has = "has no such step" if cleaner is None else f"has version {cleaner.version}"
            raise DatasetError(
                f"the recipe cleans with {step.name!r}, version {step.version}; this ftsdk {has}.",
                source=self.name,
                hint=f'Clean the rows anew: clean("{step.name}").' if cleaner else "Install the version that wrote it.",
            )
        found = self._cleaned(cleaner, cleaner.parameters.from_dict(step.parameters or {}))
        done = found.steps[-1].clean
        if done is not None and step.before == done.before and step.after not in (None, done.after):
            raise DatasetError(
                f"the recipe's step {step.name!r} leads from the same rows to others than when it was written.",
                source=self.name,
                hint="A library behind it may have changed. Clean the rows anew, and save the recipe.",
            )
        return found

    def _cleaned(self, cleaner: Cleaner, parameters: Value, key: KeyTarget | None = None) -> Dataset:
        done = apply_cleaner(
            cleaner,
            parameters,
            self._rows,
            format=self._format,
            places=self._places,
            source=self._source.location or self.name,
        )
        if key is not None and done.keys:
            from ftsdk.data.cleaning.keys import write_key

            write_key(key, done.keys)
        is_table = self._format == "table"
        table = self._table._replace(rows=done.rows) if is_table else self._table
        rows = done.rows
        if done.removed:
            table = table.at(done.kept)
            rows = table.rows if is_table else rows.at(done.kept)
        before, is_same = self._content_hash(), not done.removed and not done.changed
        after = before if is_same else table_fingerprint(rows) if is_table else fingerprint_of(rows)
        step = CleanStep.of(
            name=cleaner.name,
            version=cleaner.version,
            parameters=parameters.to_dict() or None,
            removed=len(done.removed),
            changed=len(done.changed),
            before=before,
            after=after,
        )
        made = self._derived(
            table, rows, Step(clean=step), format=self._format, dropped=done.removed, changed=done.changed
        )
        if not is_table:
            made._fingerprint = after
        return made

    def _content_hash(self) -> str:
        last = self._steps[-1].clean if self._steps else None
        if last is not None and last.after is not None:
            return last.after
        return table_fingerprint(self._rows) if self._format == "table" else self.fingerprint

    def _check_reshapable(self, call: str) -> None:
        """Refuse to make rows of a table anew that were changed since: that would bring back what was cleaned.

        Raises:
            DatasetError: They were.
        """
        step = None if self._format == "table" else _changing_step(self)
        if step is not None:
            raise DatasetError(
                f"{call} would make the rows anew of the columns that they were read from, and undo {step}.",
                source=self.name,
                hint=f"Call {call} first, and then {step}; or clean the table.",
            )


def _changing_step(rows: Rows) -> str | None:
    """Return the call since the rows were made of their table that changed them; None if none did."""
    for step in reversed(rows.steps):
        if step.clean is not None and step.clean.changed:
            return f'clean("{step.clean.name}")'
        if step.context is not None:
            return "with_context(...)"
        if step.canaries is not None:
            return "with_canaries(...)"
        if step.augment is not None:
            return "augment(...)"
        if step.judged is not None:
            return "to_preference(...)"
        if step.review is not None and step.review.corrected:
            return "reviewed(...)"
        if step.map is not None and step.map.name == "Dataset.restore":
            return "restore(...)"
        if step.shape is not None or step.map is not None:
            return None
    return next(filter(None, map(_changing_step, rows.parts)), None)
