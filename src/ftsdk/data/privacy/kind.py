"""A kind of personal data or credential, as data: what to search, with which pattern, and what makes it valid."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Check", "Gate", "Kind"]

Gate: TypeAlias = Literal["at", "digits", "iban", "dotted", "colons", "dashed", "date", "token", "begin"]
"""A cheap test of bytes that every text with such a value passes; `gates.py` has them."""

Check: TypeAlias = Callable[[str, int, int], int]
"""Takes a text, and the start and end of a candidate; returns where the valid value ends, or the start if none does."""


def whole(text: str, start: int, end: int) -> int:  # noqa: ARG001
    """Accept every candidate."""
    return end


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """A kind of value that doesn't belong into training data."""

    name: str
    """Its name, such as `"email"`."""
    placeholder: str
    """What stands in its place, without brackets and number: `EMAIL` for `[EMAIL_1]`."""
    gate: Gate
    """The test of bytes that a text has to pass before the pattern is tried."""
    pattern: re.Pattern[str]
    """Finds candidates. A group named `value` marks the value where the pattern needs what is around it.

    Every repetition is bounded or possessive, so that the time is linear in the text's length whatever it holds."""
    anchor: re.Pattern[str] | None = None
    """Finds where `pattern` can match, faster than trying it at every character; None: everywhere."""
    check: Check = whole
    """Judges a candidate: checksum, ranges, context."""
    needs: tuple[str, ...] = ()
    """Substrings of which a text has at least one where the pattern matches; empty: no such test."""
    source: str
    """Where the format is described."""
