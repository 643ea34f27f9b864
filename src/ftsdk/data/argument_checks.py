"""Checks of the numbers that are passed to the methods of a dataset."""

from __future__ import annotations

from decimal import Decimal
from math import isfinite
from operator import index as as_int

from ftsdk.errors import DatasetError
from ftsdk.spec.amounts import shown_number

__all__ = [
    "RowIndexError",
    "RowIndexTypeError",
    "checked_count",
    "checked_index",
    "checked_number",
    "checked_seed",
    "checked_slice",
    "checked_whole",
]

_LARGEST = 10**18 - 1
"""The largest whole number that a recipe holds."""


class RowIndexError(DatasetError, IndexError):
    """There is no row with this number: also an `IndexError`, as of any sequence."""


class RowIndexTypeError(DatasetError, TypeError):
    """A row can't be named by this: also a `TypeError`, as of any sequence."""


def checked_count(n: object, rows: int | None, *, source: str | None) -> int:
    """Return a number of rows to take.

    Args:
        n: The number.
        rows: How many rows there are; None: not known.
        source: The dataset, for the message.

    Raises:
        DatasetError: There are fewer, or it isn't a whole number of at least 1.
    """
    count = _whole(n)
    if count is None or not 1 <= count <= (_LARGEST if rows is None else rows):
        of, to = ("", ", at least 1") if rows is None else (f" of {rows}", f" from 1 to {rows}")
        raise DatasetError(f"can't take {shown_number(n)}{of} rows.", source=source, hint=f"Pass a whole number{to}.")
    return count


def checked_whole(
    name: str, value: object, *, at_least: int, at_most: int = _LARGEST, source: str | None = None
) -> int:
    """Return a whole number within its bounds; NumPy's count as whole numbers, and bools don't.

    Args:
        name: What it is called, for the message.
        value: The number.
        at_least: Inclusive lower bound.
        at_most: Inclusive upper bound.
        source: The dataset, for the message.

    Raises:
        DatasetError: It isn't such a number.
    """
    number = _whole(value)
    if number is None or not at_least <= number <= at_most:
        most = "" if at_most == _LARGEST else f" and at most {at_most:,}"
        raise DatasetError(
            f"{name}={shown_number(value)} can't be used.",
            source=source,
            hint=f"Pass a whole number, at least {at_least}{most}.",
        )
    return number


def checked_seed(seed: object, *, source: str | None = None) -> int:
    """Return a seed. Python's generator ignores its sign, so a negative one would draw the same as a positive one.

    Raises:
        DatasetError: It isn't a whole number of at most 18 digits, or negative.
    """
    number = _whole(seed)
    if number is None or not 0 <= number <= _LARGEST:
        raise DatasetError(
            f"seed={shown_number(seed)} can't be used.",
            source=source,
            hint="Pass a whole number from 0, of at most 18 digits.",
        )
    return number


def checked_number(
    name: str, value: object, *, at_least: float | None = None, at_most: float | None = None, source: str | None = None
) -> float:
    """Return a finite number within its bounds.

    Args:
        name: What it is called, for the message.
        value: An int, float or Decimal; a bool is refused.
        at_least: Inclusive lower bound; None: there is none.
        at_most: Inclusive upper bound; None: there is none.
        source: The dataset, for the message.

    Raises:
        DatasetError: It isn't such a number.
    """
    number = _number(value)
    is_low = number is not None and at_least is not None and number < at_least
    if number is None or is_low or (at_most is not None and number > at_most):
        bounds = "" if at_least is None or at_most is None else f" from {at_least:g} to {at_most:g}"
        raise DatasetError(
            f"{name}={shown_number(value)} can't be used.", source=source, hint=f"Pass a finite number{bounds}."
        )
    return number


def checked_index(index: object, rows: int, *, source: str | None = None) -> int:
    """Return the position of a row; negative numbers count from the end.

    Raises:
        RowIndexTypeError: It isn't a whole number.
        RowIndexError: There is no such row.
    """
    number = _whole(index)
    if number is None:
        raise RowIndexTypeError(
            f"row indices must be integers or slices; {shown_number(index)} isn't one.",
            source=source,
            hint=f"Pass one from 0 to {rows - 1}.",
        )
    if not -rows <= number < rows:
        raise RowIndexError(
            f"there is no row {shown_number(number)}.",
            source=source,
            hint=f"Rows count from 0 to {rows - 1}, or from the end, -1 to -{rows}.",
        )
    return number % rows


def checked_slice(index: slice, *, source: str | None = None) -> tuple[slice, dict[str, int | None]]:
    """Return a slice of whole numbers, and its bounds as a recipe holds them.

    Raises:
        RowIndexTypeError: A bound isn't a whole number.
        DatasetError: The step is 0.
    """
    bounds: dict[str, int | None] = {}
    for name, value in (("start", index.start), ("stop", index.stop), ("step", index.step)):
        number = None if value is None else _whole(value)
        if value is not None and number is None:
            raise RowIndexTypeError(
                f"slice indices must be integers; {name}={shown_number(value)} isn't one.",
                source=source,
                hint="Pass whole numbers.",
            )
        bounds[name] = None if number is None else max(-_LARGEST, min(number, _LARGEST))
    if bounds["step"] == 0:
        raise DatasetError("the step of a slice is 0.", source=source, hint="Pass another one; -1 goes backwards.")
    return slice(bounds["start"], bounds["stop"], bounds["step"]), bounds


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return None
    try:
        return as_int(value)  # type: ignore[arg-type]  # it has __index__
    except TypeError:  # an array of several numbers
        return None


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int | float | Decimal):
        try:
            number = float(value)
        except (OverflowError, ValueError):  # too large an int; a signalling NaN
            return None
        return number if isfinite(number) else None
    whole = _whole(value)
    return None if whole is None else _number(whole)
