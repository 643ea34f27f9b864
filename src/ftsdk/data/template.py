"""Templates with `{column}` fields: as much of `str.format` as data needs, and no more."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from ftsdk.data.location import Location
from ftsdk.errors import DatasetError
from ftsdk.spec.base import nearest

__all__ = ["Template"]

_WRITTEN_OUT = (int, float, Decimal, date, time, timedelta, UUID)
"""Types, besides text and truth values, whose `str` is what a table shows."""

_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


class Template:
    """Text with `{column}` fields, bound to the columns of a table. `{{` and `}}` are single braces.

    Attribute access, indexing, conversions and format codes are refused: templates come from job files, and data is
    text.
    """

    def __init__(self, text: str, *, parameter: str, columns: Sequence[str], source: str | None = None) -> None:
        """Parse a template.

        Args:
            text: The template.
            parameter: What the caller calls it (`"prompt"`), for errors.
            columns: The columns that fields may name.
            source: The file, for errors.

        Raises:
            DatasetError: A brace has no partner, or a field isn't the plain name of a column.
        """
        self.text = text
        self._literals: list[str] = []
        self._fields: list[str] = []
        literal, end = "", 0
        for part in _PART.finditer(text):
            literal += text[end : part.start()]
            end = part.end()
            if part.group() in ("{{", "}}"):
                literal += part.group()[0]
            elif part.group(1) is None:
                raise DatasetError(
                    f"{parameter}={text!r} has a {part.group()!r} alone at position {part.start()}.",
                    source=source,
                    hint="Write {column} for a column, and {{ or }} for a brace.",
                )
            else:
                self._add(part.group(1), parameter, columns, source)
                self._literals.append(literal)
                literal = ""
        self._literals.append(literal + text[end:])
        if not self._fields and text in columns:
            raise DatasetError(
                f"{parameter}={text!r} is the name of a column, not a template.",
                source=source,
                hint=f"Did you mean '{{{text}}}'?",
            )

    def _add(self, field: str, parameter: str, columns: Sequence[str], source: str | None) -> None:
        if field not in columns:
            if not field:
                raise DatasetError(
                    f"{parameter}={self.text!r} has '{{}}', which names no column{nearest('', list(columns))}.",
                    source=source,
                )
            if any(sign in field for sign in ".[]!:\"'\n"):
                raise DatasetError(
                    f"{parameter}={self.text!r} has '{{{field}}}', but a field is only the plain name of a column.",
                    source=source,
                    hint="For a brace that is meant as text, as in JSON, write {{ and }}.",
                )
            raise DatasetError(
                f"{parameter}= names the column {field!r}, which doesn't exist{nearest(field, list(columns))}",
                source=source,
            )
        self._fields.append(field)

    @property
    def literals(self) -> tuple[str, ...]:
        """The text before each field, and after the last one."""
        return tuple(self._literals)

    @property
    def fields(self) -> tuple[str, ...]:
        """The columns that it uses, in order, with repetitions."""
        return tuple(self._fields)

    @property
    def only_field(self) -> str | None:
        """The column, if the template is `{column}` and nothing else."""
        return self._fields[0] if len(self._fields) == 1 and self._literals == ["", ""] else None

    def render(self, row: Mapping[str, Any], where: Location) -> str:
        """Return the text with the values of a row.

        Raises:
            DatasetError: A value is missing or isn't text, a number or the like; or every value is blank.
        """
        pieces = [self._literals[0]]
        blank = bool(self._fields)
        for field, literal in zip(self._fields, self._literals[1:], strict=True):
            value = _text(row.get(field), field, where)
            blank = blank and not value.strip()
            pieces += (value, literal)
        if blank:
            raise where.error("is empty.", field=self._fields[0], hint="Fill it in, or remove the row.")
        return "".join(pieces)


def _text(value: object, field: str, where: Location) -> str:
    if isinstance(value, str):
        return str.__str__(value)
    if value is None or value != value:  # NaN is how tables write "missing"
        raise where.error("has no value.", field=field, hint="Fill it in, or remove the row.")
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, _WRITTEN_OUT):
        raise where.error(f"is a {type(value).__name__}; templates take text and numbers.", field=field)
    try:
        return str(value)
    except ValueError as error:  # Python writes out no integer of more than 4,300 digits
        raise where.error("is a number that is too long to be written out.", field=field) from error
