"""A short description of a dataset: its size, its lengths, its classes."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from ftsdk._format import html_block, html_table, printable, text_table
from ftsdk._rich_text import rich_text
from ftsdk.data.asked import asked_again, labels_of
from ftsdk.data.labels import are_labels, label_variants
from ftsdk.data.message_columns import has_plain_messages, messages_of
from ftsdk.data.message_rows import message_lists
from ftsdk.data.repeated_rows import different_rows, repeated_rows
from ftsdk.data.row_keys import asked_of
from ftsdk.data.row_sequence import RowSequence
from ftsdk.models.chat_template import message_text

if TYPE_CHECKING:
    from ftsdk.data.rows import Rows

__all__ = ["Summary", "summarise"]

_SHOWN_CLASSES = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """What is in a dataset."""

    name: str
    format: Literal["table", "chat", "preference", "unpaired"]
    rows: int
    columns: tuple[str, ...]
    prompt_chars_median: int | None
    """Characters of all messages before the answer; None for a table."""
    completion_chars_median: int | None
    """Characters of the answer, in preference data of the chosen one."""
    duplicate_rows: int
    """Rows that repeat an earlier one exactly; `drop_duplicates()` leaves them out."""
    classes: tuple[tuple[str, int], ...]
    """Completions and how often each occurs, most frequent first, if they look like class labels."""
    label_variants: tuple[tuple[str, ...], ...] = ()
    """Completions that differ by case, blanks or Unicode form alone, and so are probably meant to be one class."""
    dropped_rows: int = 0
    """Rows that were left out on the way; see `Dataset.removed`."""
    form: str | None = None
    """The form in which the rows were found, such as `ShareGPT`."""
    left_out: tuple[str, ...] = ()
    """Columns with values that this form doesn't have."""
    skipped: tuple[str, ...] = ()
    """What else is in the folder that was read: hidden files, other files and folders."""
    next_call: str = ""
    """Of a table: what to call for it to become rows that can be trained on."""

    def to_dict(self) -> dict[str, Any]:
        """Return the summary as plain data."""
        return {
            **asdict(self),
            "columns": list(self.columns),
            "left_out": list(self.left_out),
            "skipped": list(self.skipped),
            "classes": dict(self.classes),
            "label_variants": [list(group) for group in self.label_variants],
        }

    def _facts(self) -> list[tuple[str, str]]:
        facts = [
            ("rows", f"{self.rows:,}"),
            ("format", self.format if self.form is None else f"{self.format}, from {self.form}"),
            ("columns", printable(", ".join(self.columns), 200)),
        ]
        if self.skipped:
            facts.append(("not read", printable(", ".join(self.skipped), 200)))
        if self.left_out:
            facts.append(
                ("not trained", f"{printable(', '.join(self.left_out), 160)} ({self.form} has no such columns)")
            )
        if self.prompt_chars_median is not None:
            facts.append(("prompt", f"{self.prompt_chars_median:,} characters (median)"))
            facts.append(("completion", f"{self.completion_chars_median:,} characters (median)"))
        if self.duplicate_rows:
            facts.append(
                (
                    "duplicates",
                    f"{self.duplicate_rows:,} row{' repeats' if self.duplicate_rows == 1 else 's repeat'} an earlier "
                    "one",
                )
            )
        if self.dropped_rows:
            facts.append(("removed", f"{self.dropped_rows:,} rows, with their reasons in .removed"))
        facts += [
            ("one class?", printable(" and ".join(map(repr, group)), 200) + " differ by case or blanks alone")
            for group in self.label_variants
        ]
        return facts

    def _class_rows(self) -> list[tuple[str, str, str]]:
        found = [
            (printable(text, 40), f"{count:,}", f"{count / self.rows:.1%}")
            for text, count in self.classes[:_SHOWN_CLASSES]
        ]
        others = self.classes[_SHOWN_CLASSES:]
        if others:
            count = sum(count for _, count in others)
            found.append((f"({len(others):,} others)", f"{count:,}", f"{count / self.rows:.1%}"))
        return found

    def __str__(self) -> str:
        lines = [printable(self.name), *(f"  {label:<11} {value}" for label, value in self._facts())]
        if self.classes:
            lines.append("  completions")
            lines.append(text_table(((f"    {name}", *rest) for name, *rest in self._class_rows()), right={1, 2}))
        if self.format == "table":
            lines.append(f"  next        {printable(self.next_call, 400)}")
        return "\n".join(lines)

    __rich__ = rich_text

    def to_html(self) -> str:
        """Return the summary as an HTML fragment."""
        classes = html_table(self._class_rows(), head=("completion", "rows", "share"), right={1, 2})
        return html_block(html_table(self._facts(), has_row_heads=True), classes, title=self.name)


def summarise(dataset: Rows) -> Summary:
    """Describe a dataset."""
    rows, is_chat = dataset.rows, dataset.format == "chat"
    prompts, completions = _characters(dataset) if dataset.format != "table" else (None, None)
    counts = labels_of(dataset.canonical) if is_chat else Counter[str]()
    is_labelled = are_labels(counts, len(rows))
    return Summary(
        name=dataset.name,
        format=dataset.format,
        rows=len(rows),
        columns=dataset.columns,
        prompt_chars_median=None if prompts is None else _median(prompts),
        completion_chars_median=None if completions is None else _median(completions),
        duplicate_rows=_repeats(dataset),
        classes=tuple(counts.most_common()) if is_labelled else (),
        label_variants=label_variants(counts),
        dropped_rows=len(dataset.dropped),
        form=dataset.form,
        skipped=dataset.source.skipped,
        left_out=dataset.left_out if not any(step.shape for step in dataset.steps) else (),
        next_call=dataset.shape_hint if dataset.format == "table" else "",
    )


def _repeats(dataset: Rows) -> int:
    """Return how many rows repeat an earlier one. Only rows with the same prompt can."""
    among = None
    if dataset.format != "table":
        among = asked_again(dataset.canonical, dataset.format, lambda: dataset.prompt_hashes)
    if among is None:
        return len(dataset) - different_rows(dataset.rows, dataset.format)
    return sum(len(group) - 1 for group in repeated_rows(dataset.rows, dataset.format, among=among))


def _characters(dataset: Rows) -> tuple[Any, Any]:
    """Return the characters before the answer of each row, and those of the answer, as NumPy arrays."""
    import numpy
    import pyarrow.compute as compute

    side = "chosen" if dataset.format == "preference" else "messages"
    before: list[Any] = []
    answers: list[Any] = []
    for batch in dataset.canonical.batches():
        if not has_plain_messages(batch):
            said = list(RowSequence([batch], message_lists))
            before.append(numpy.asarray([sum(len(message_text(one)) for one in asked_of(row)) for row in said]))
            answers.append(numpy.asarray([len(message_text(row[side][-1])) for row in said]))
            continue
        sides = {name: messages_of(batch.arrow.column(name)) for name in batch.arrow.schema.names}
        answered = sides[side]
        asked = sides["prompt"] if dataset.format == "preference" else answered
        lengths, answer = (compute.call_function("utf8_length", [one.contents]) for one in (asked, answered))
        answer = answer.to_numpy()[answered.last]
        sums = numpy.concatenate([[0], numpy.cumsum(lengths.to_numpy())])
        total = numpy.diff(sums[numpy.concatenate([[0], asked.last + 1])])
        before.append(total - answer if asked is answered else total)
        answers.append(answer)
    return numpy.concatenate(before), numpy.concatenate(answers)


def _median(values: Any) -> int:
    import numpy

    middle = (len(values) - 1) // 2
    return int(numpy.partition(values, middle)[middle])
