"""Where the rows of a dataset come from, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ftsdk._secrets import mask_urls
from ftsdk.data.bad_rows import BadRows

__all__ = ["RowSource", "Source"]

RowSource = Callable[[BadRows], Generator[tuple[str | None, int, dict[str, Any]]]]
"""Starts to read rows, each with the name of its file and its line."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Where the rows of a dataset come from; user names, passwords and queries of URLs in its name are masked."""

    name: str
    """The display name: a file's name, a hub id, or what the caller calls it."""
    location: str | None = None
    """The file or hub id that errors name; None for rows from memory."""
    recipe: Mapping[str, Any] | None = field(default=None, repr=False)
    """The fields of a `Recipe` that lead back to these rows, with an absolute path; None for rows from memory. Has the
    address of a file as it is, to read it again."""
    facts: Mapping[str, Any] | None = None
    """What the lineage says besides: how many files, or size and hash of a file that was fetched."""
    skipped: tuple[str, ...] = ()
    """What else is in the folder, and wasn't read."""
    lineage: tuple[Mapping[str, Any], ...] | None = None
    """Of rows that were stored: what their recipe says about where they came from."""
    stream: Any = field(default=None, repr=False, compare=False)
    """Of the first rows of a stream: the `DatasetStream`."""
    form: str | None = None
    """The form that the rows were recognised in, such as `ShareGPT`; None: a table of its own."""
    left_out: tuple[str, ...] = ()
    """Columns with values that the form doesn't have, and that are only there for templates and splits."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", mask_urls(self.name))

    def in_form(self, name: str, left_out: tuple[str, ...]) -> Source:
        """Return this source with the form of its rows."""
        return replace(self, form=name, left_out=left_out)
