"""Lists of texts that users give."""

from __future__ import annotations

from collections.abc import Sequence

from ftsdk.errors import SpecError

__all__ = ["as_lines"]


def as_lines(name: str, lines: Sequence[str]) -> tuple[str, ...]:
    """Return a list of texts as a tuple.

    Raises:
        SpecError: It is one text, whose letters would be taken for a list.
    """
    if isinstance(lines, str):
        raise SpecError(f"{name}={lines!r} is one text: write a list, {name}=[{lines!r}]")
    return tuple(lines)
