"""Labels that say whether an answer is a good one, for methods that learn from single answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ftsdk.data.canonical import RowMaker
from ftsdk.data.location import Location
from ftsdk.data.message_rows import Row

__all__ = ["classes_of_labels", "is_label", "labelled", "read_label"]

_WORDS: Mapping[str, bool] = {"true": True, "1": True, "false": False, "0": False}


def is_label(value: object) -> bool:
    """Return whether a value says yes or no: true or false, 1 or 0, as text too."""
    return isinstance(value, (bool, int, str)) and str(value).strip().lower() in _WORDS


def read_label(value: object, where: Location, field: str) -> bool:
    """Return what a label says.

    Raises:
        DatasetError: It says neither yes nor no.
    """
    if not is_label(value):
        raise where.error(
            "is missing." if value is None else f"is {value!r:.60}, which says neither good nor bad.",
            field=field,
            hint="A label is true of a good answer and false of a bad one.",
        )
    return _WORDS[str(value).strip().lower()]


def labelled(maker: RowMaker, column: str) -> RowMaker:
    """Return a maker of conversations that also keeps the label of their last answer.

    Args:
        maker: Makes the conversations.
        column: The column of the labels.
    """

    def make(row: Mapping[str, Any], where: Location) -> Row:
        made = maker.row(row, where)
        if "weight" in made["messages"][-1]:
            raise where.error("the last answer has the weight 0, and its label says to learn from it.", field=column)
        return {**made, "label": read_label(row.get(column), where, column)}

    return RowMaker(make)


def classes_of_labels(rows: Iterable[Row]) -> tuple[str, ...] | None:
    """Return the label of each row as a class to draw by; None where one of the two is on fewer than two rows."""
    found = tuple("True" if row["label"] else "False" for row in rows)
    return found if min(found.count("True"), found.count("False")) >= 2 else None
