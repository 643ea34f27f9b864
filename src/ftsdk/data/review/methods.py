"""What `Dataset` can do with the verdicts of reviewers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftsdk._format import printable
from ftsdk.data.argument_checks import checked_seed
from ftsdk.data.bad_rows import DroppedRow
from ftsdk.data.cleaning.apply import replaced
from ftsdk.data.cleaning.changes import ChangedRows, Changes
from ftsdk.data.cleaning.row_texts import with_answer
from ftsdk.data.conversation import check_text
from ftsdk.data.record_steps import ReviewStep
from ftsdk.data.row_keys import answer_text
from ftsdk.data.rows import Rows
from ftsdk.data.steps import Step
from ftsdk.errors import DatasetError

if TYPE_CHECKING:
    from ftsdk.data.dataset import Dataset

__all__ = ["Reviewing"]


class Reviewing(Rows):
    """Rows that can be reviewed; the public class is `Dataset`."""

    __slots__ = ()

    def reviewed(self, verdicts: str | Path, *, only_good: bool = False) -> Dataset:
        """Remove the rows that reviewers judged bad, and put in their better answers.

        Rows without a verdict stay. A row that was judged bad and has a better answer stays with that answer. What goes
        is in `removed`, with the reviewer's note; what changes is in `changed`.

        Args:
            verdicts: The file that `ftsdk data review` wrote, or Label Studio's export as JSON.
            only_good: Keep only rows that were judged good, or corrected.

        Raises:
            DatasetError: The file can't be used, none of its verdicts is about these rows, or no row would be left.
        """
        from ftsdk.data.review.review_file import read_review
        from ftsdk.data.review.verdicts import row_ids

        path = Path(verdicts)
        kind, found, digest = read_review(path)
        removed: dict[int, str] = {}
        corrected: dict[int, str] = {}
        seen = 0
        for position, (one, row) in enumerate(zip(row_ids(self), self, strict=True)):
            verdict = found.get(one)
            seen += verdict is not None
            better = None if verdict is None else verdict.completion
            if better is not None and not (self._format == "chat" and answer_text(row) == better):
                corrected[position] = better
            elif verdict is not None and verdict.verdict == "bad":
                removed[position] = f"review: {printable(verdict.note, 300) or 'judged bad'}"
            elif only_good and (verdict is None or verdict.verdict != "good"):
                removed[position] = "review: not judged good"
        if not seen:
            raise DatasetError(
                f"none of its {len(found):,} verdicts is about these rows.",
                source=printable(str(path)),
                hint="Verdicts belong to rows of the same content and shape: review these rows, in this shape.",
            )
        if len(removed) == len(self):
            raise DatasetError(f"the review leaves none of the {len(self):,} rows.", source=self.name)
        places = list(self._places())
        after, changed = self._corrected(corrected, path)
        gone = sorted(removed)
        dropped = [
            DroppedRow(places[number].source, places[number].line, removed[number], row)
            for number, row in zip(gone, self._rows.at(gone), strict=True)
        ]
        kept = [number for number in range(len(self)) if number not in removed]
        table = self._table.at(kept)
        step = ReviewStep(kind=kind, sha256=digest, reviewed=seen, removed=len(removed), corrected=len(corrected))
        return self._derived(
            table,
            table.rows if self._format == "table" else after.at(kept),
            Step(review=step),
            format=self._format,
            dropped=dropped,
            changed=changed,
        )

    def to_label_studio(self, path: str | Path, *, rows: int | None = None, seed: int = 0) -> Path:
        """Write rows as tasks for Label Studio, and the labelling interface beside them; return the latter's file.

        Args:
            path: The file for the tasks, ending in `.json`.
            rows: A stratified sample of so many rows; None: all.
            seed: Which rows.

        Raises:
            DatasetError: The rows are still a table, a number is out of range, or a file can't be written.
        """
        from ftsdk.data.review.label_studio import write_label_studio
        from ftsdk.data.review.sample import review_sample

        seed = checked_seed(seed, source=self.name)
        positions = range(len(self)) if rows is None else review_sample(self, rows, seed)[0]
        return write_label_studio(self, positions, Path(path))

    def _corrected(self, corrected: dict[int, str], path: Path) -> tuple[Any, ChangedRows]:
        if not corrected:
            return self._rows, ChangedRows()
        if self._format != "chat":
            raise DatasetError(
                f"better answers are for chat rows; these are {self._format} rows.", source=printable(str(path))
            )
        places = [place for number, place in enumerate(self._places()) if number in corrected]
        positions = sorted(corrected)
        for number, where in zip(positions, places, strict=True):
            if not check_text(corrected[number], where, "completion").strip():
                raise where.error("its better answer is empty.", field="completion")
        new = (with_answer(self._rows[number], corrected[number]) for number in positions)
        after, made = replaced(self._rows, positions, new, format="chat", source=self._source.location)
        reasons = ["review: a better answer"] * len(positions)
        return after, ChangedRows([Changes(self._rows.at(positions), made, places, reasons)])
