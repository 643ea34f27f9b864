"""CSV and TSV, read so that every row knows the line it starts on.

The reader of the standard library isn't used: its limit on the length of a field belongs to the whole process. A test
holds the two to the same rows.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from ftsdk._format import printable
from ftsdk.data.bad_rows import BadRows
from ftsdk.data.location import Location
from ftsdk.errors import DatasetError

__all__ = ["csv_rows"]

_LINE_END = re.compile(r"\r\n|\r|\n")


def csv_rows(
    blocks: Iterable[str], source: str, bad: BadRows, *, delimiter: str
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows with the lines they start on; blank lines are skipped.

    Rows with more or fewer fields than the header go to `bad`.

    Args:
        blocks: The text, in pieces that end anywhere.
        source: The file, for errors.
        bad: Where rows go that can't be used.
        delimiter: What is between two fields.

    Raises:
        DatasetError: The text isn't CSV, its header can't be used, or there are no rows.
    """
    header: list[str] | None = None
    shown = ""
    is_empty = True
    for line, record in _records(blocks, source, delimiter):
        where = Location(source, line)
        if header is None:
            header = _header(record, where, delimiter)
            shown = printable(", ".join(header[:100]), 200)
            continue
        is_empty = False
        if len(record) != len(header):
            bad.add(
                where.error(
                    f"the row has {len(record)} fields, the header has {len(header)} ({shown}).",
                    hint=(
                        f"Put text that holds {'a tab' if delimiter != ',' else 'a comma'}, a quote or a line break in "
                        'quotes: "...".'
                    ),
                ),
                record,
            )
        else:
            yield line, dict(zip(header, record, strict=True))
    if is_empty:
        raise DatasetError("has a header and no rows.", source=source)


def _records(blocks: Iterable[str], source: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of each record and the line it starts on."""
    # One field and what ends it. A quote that isn't the first character of a field is text, as in the standard library.
    field = re.compile(
        rf'(?:"([^"]*+(?:""[^"]*+)*+)"|([^"\r\n{delimiter}][^\r\n{delimiter}]*+)?+)({delimiter}|\r\n|\r|\n|\Z)'
    )
    remaining = iter(blocks)
    text, is_whole = "", False
    position, line, started = 0, 1, 1
    record: list[str] = []
    while position < len(text) or record or not is_whole:
        found = field.match(text, position)
        if not is_whole and (found is None or found.end() == len(text)):  # it may go on in the next block
            text, is_whole = _longer(text[position:], remaining)
            position = 0
            continue
        if found is None:
            closed = re.compile(r'"[^"]*+(?:""[^"]*+)*+"').match(text, position)
            reason = "text follows a closing quote" if closed else "a quote is never closed"
            raise Location(source, started).error(
                f"the row can't be read: {reason}.", hint='A quote inside quoted text is written twice: "".'
            )
        quoted, plain, terminator = found.groups()
        position = found.end()
        if quoted is not None:
            line += len(_LINE_END.findall(quoted)) if "\n" in quoted or "\r" in quoted else 0
            record.append(quoted.replace('""', '"'))
        elif plain is not None or record or terminator == delimiter:
            record.append(plain or "")
        if terminator == delimiter:
            continue
        if record:
            yield started, record
        record = []
        line += 1
        started = line


def _longer(text: str, blocks: Iterator[str]) -> tuple[str, bool]:
    """Return text with what follows it, and whether that is all.

    At least twice as long, so that a field of many blocks isn't searched once for each of them.
    """
    parts, missing = [text], len(text)
    for block in blocks:
        parts.append(block)
        missing -= len(block)
        if missing < 0:
            return "".join(parts), False
    return "".join(parts), True


def _header(record: list[str], where: Location, delimiter: str) -> list[str]:
    header = [name.strip() for name in record]
    if len(header) == 1:
        other = next((sign for sign in (";", "\t", ",", "|") if sign != delimiter and sign in header[0]), None)
        if other is not None:
            raise where.error(
                f"the columns seem to be separated by {other!r}, not by {delimiter!r}: {printable(header[0], 200)!r}.",
                hint="Save it with that separator.",
            )
    for name, count in Counter(header).items():
        if not name:
            raise where.error("a column of the header has no name.")
        if count > 1:
            raise where.error(f"the header has the column {printable(name, 80)!r} twice.")
    return header
