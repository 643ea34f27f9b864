"""Steps that remove rows by what they are among the others: empty, repeated, too long, in another language."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from ftsdk.data.cleaning.cleaner import Removed, Verdicts, cleaner
from ftsdk.data.cleaning.row_texts import CleanRows
from ftsdk.data.duplicates.exact import normalised, text_key
from ftsdk.data.duplicates.limits import MIN_WORDS
from ftsdk.data.duplicates.near import near_duplicates as find_near
from ftsdk.data.duplicates.same_answers import class_columns, class_labels, repeats_in, short_answers
from ftsdk.data.labels import are_labels
from ftsdk.data.location import Location
from ftsdk.data.message_rows import BESIDE
from ftsdk.data.quality import languages, unusual_lengths
from ftsdk.data.row_keys import prompt_key, row_key
from ftsdk.errors import DatasetError
from ftsdk.models.chat_template import message_text
from ftsdk.spec.base import nearest

__all__ = ["empty", "exact_duplicates", "language", "length", "near_duplicates"]

Names = Annotated[tuple[str, ...], Field(strict=False)]


@cleaner(version=1)
def empty(rows: CleanRows, *, columns: Names | None = None) -> Verdicts:
    """Remove rows with an empty message; of a table, those with nothing in any column, or in one of `columns`."""
    _check_columns(rows, columns)
    for first, batch in rows.batches():
        for number, row in enumerate(batch, start=first):
            if rows.format != "table":
                if any(_says_nothing(message) for side in row.keys() - BESIDE for message in row[side]):
                    yield Removed(number, "an empty message")
            elif columns is None:
                if all(map(_is_blank, row.values())):
                    yield Removed(number, "an empty row")
            elif blank := [name for name in columns if _is_blank(row.get(name))]:
                yield Removed(number, f"nothing in {', '.join(blank)}")


def _says_nothing(message: Mapping[str, Any]) -> bool:
    """Return whether a message is empty; a tool may answer a call with nothing."""
    return "tool_call_id" not in message and not message_text(message).strip()


@cleaner(version=1)
def exact_duplicates(
    rows: CleanRows,
    *,
    by: Literal["row", "prompt"] = "row",
    columns: Names | None = None,
    ignore_case: bool = False,
    ignore_blanks: bool = False,
) -> Verdicts:
    """Remove rows that equal an earlier one; `by="prompt"` compares everything before the answer."""
    _check_columns(rows, columns)
    if by == "prompt" and rows.format == "table":
        raise DatasetError('by="prompt" needs prompts; shape the table first with as_chat(...) or as_preference(...).')
    folded = partial(normalised, ignore_case=ignore_case, ignore_blanks=ignore_blanks)
    key = _row_identity(rows, by, columns, folded)

    def keys() -> Iterator[bytes]:
        for _, batch in rows.batches():
            for row in batch:
                yield text_key(key(row))

    seen: dict[bytes, int] = {}
    repeats = {number: seen[found] for number, found in enumerate(keys()) if seen.setdefault(found, number) != number}
    what = "repeats" if by == "row" else "repeats the prompt of"
    yield from _repeats(rows, repeats, lambda _, where: f"{what} {where}")


@cleaner(version=1)
def near_duplicates(
    rows: CleanRows,
    *,
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.7,
    min_words: Annotated[int, Field(ge=3)] = MIN_WORDS,
    columns: Names | None = None,
) -> Verdicts:
    """Remove rows almost the same as an earlier one; short ones only if they differ by case and blanks alone."""
    _check_columns(rows, columns)
    texts, labels = _compared(rows, columns)
    leader: dict[int, int] = {}
    reason: dict[int, str] = {}
    first: dict[object, int] = {}
    for number, text in enumerate(texts):
        found = first.setdefault((text_key(normalised(text)), labels[number]), number)
        if found != number:
            leader[number], reason[number] = found, "repeats but for case and blanks"
    # What most rows share is a template, and says nothing about what they have in common.
    clusters = find_near(texts, threshold=threshold, min_words=min_words, ignore_templates=True).clusters
    for number, head in repeats_in(clusters, labels).items():
        if number not in leader:
            leader[number], reason[number] = head, "almost the same as"
    yield from _repeats(rows, leader, lambda number, where: f"{reason[number]} {where}")


@cleaner(version=1)
def length(
    rows: CleanRows,
    *,
    min_characters: Annotated[int, Field(ge=0)] | None = None,
    max_characters: Annotated[int, Field(ge=1)] | None = None,
) -> Verdicts:
    """Remove rows outside the limits of characters; without limits, those far shorter or longer than the others."""
    texts = rows.whole_texts()
    if min_characters is None and max_characters is None:
        unusual = unusual_lengths(texts)
        reasons = {number: f"{len(texts[number]):,} characters, far fewer than the others" for number in unusual.short}
        reasons |= {number: f"{len(texts[number]):,} characters, far more than the others" for number in unusual.long}
        answers = rows.answers()
        if not are_labels(set(answers), len(answers)):  # whose lengths mean nothing
            few = unusual_lengths(answers).short
            reasons |= {number: f"an answer of {len(answers[number]):,} characters" for number in few}
        yield from (Removed(number, reasons[number]) for number in sorted(reasons))
        return
    for number, text in enumerate(texts):
        if min_characters is not None and len(text) < min_characters:
            yield Removed(number, f"{len(text):,} characters, fewer than {min_characters:,}")
        elif max_characters is not None and len(text) > max_characters:
            yield Removed(number, f"{len(text):,} characters, more than {max_characters:,}")


@cleaner(version=1)
def language(rows: CleanRows, *, keep: Names | None = None) -> Verdicts:
    """Remove rows that are surely in another language than `keep` (ISO 639-1 codes), or than most rows."""
    texts = rows.whole_texts()
    found = languages(texts, sample=None)
    wanted = (found.main,) if keep is None else keep
    for number, text in enumerate(texts):
        code = found.others.get(number)
        if code is None and found.main not in wanted:
            code = languages([text]).main  # the main language, or too short to be sure
        if code is not None and code not in wanted:
            yield Removed(number, f"in {code!r}")


def _is_blank(value: object) -> bool:
    return value is None or value != value or (isinstance(value, str) and (not value or value.isspace()))


def _check_columns(rows: CleanRows, columns: Sequence[str] | None) -> None:
    if columns is None:
        return
    if rows.format != "table":
        raise DatasetError(f"columns= is for tables; these are {rows.format} rows.", hint="Clean the table first.")
    known = {name for _, batch in rows.batches() for row in batch for name in row}
    for name in columns:
        if name not in known:
            raise DatasetError(f"columns= names {name!r}, which doesn't exist{nearest(name, known)}")


def _row_identity(
    rows: CleanRows, by: Literal["row", "prompt"], columns: Sequence[str] | None, folded: Callable[[str], str]
) -> Callable[[Mapping[str, Any]], str]:
    if columns is not None:
        return lambda row: "".join(_flat([_cell(row.get(name)) for name in columns], folded))
    if rows.format == "table":
        return lambda row: "".join(_flat([(name, *_cell(row[name])) for name in sorted(row)], folded))
    key = row_key if by == "row" else prompt_key
    return lambda row: "\0".join(_flat(key(row, rows.format), folded))


def _cell(value: object) -> tuple[str, str]:
    """Return a cell as text and of which kind: a number and its text aren't equal."""
    return ("text", value) if isinstance(value, str) else ("value", repr(value))


def _flat(key: Any, folded: Callable[[str], str]) -> Iterator[str]:
    for one in key:
        if isinstance(one, str):
            text = folded(one)  # before its length is taken, which folding changes
            yield f"{len(text)}:{text}"
        else:
            yield from _flat(one, folded)
            yield "|"


def _repeats(rows: CleanRows, leaders: Mapping[int, int], reason: Callable[[int, Location], str]) -> Verdicts:
    wanted = set(leaders.values())
    places = {number: where for number, where in enumerate(rows.places()) if number in wanted}
    for number in sorted(leaders):
        yield Removed(number, reason(number, places[leaders[number]]))


def _compared(rows: CleanRows, columns: Sequence[str] | None) -> tuple[list[str], list[object]]:
    """Return the text of each row, and what two rows must share beside similar texts: a short answer, a class."""
    if rows.format != "table":
        return rows.whole_texts(), short_answers(rows.answers())
    classes = class_columns((row for _, batch in rows.batches() for row in batch), len(rows))
    texts: list[str] = []
    labels: list[object] = []
    for _, batch in rows.batches():
        for row in batch:
            cells = [(name, row.get(name)) for name in (sorted(row) if columns is None else columns)]
            texts.append("\n".join(value for name, value in cells if isinstance(value, str) and name not in classes))
            labels.append(class_labels(row, classes))
    return texts, labels
