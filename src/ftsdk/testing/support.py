"""What each backend declares, as a table.

The conformance suite tests the same data, so the table can't promise more.

`python -m ftsdk.testing.support PAGE...` writes it between two markers in the pages.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from ftsdk.backends.registry import backend_names, get_backend
from ftsdk.errors import SpecError
from ftsdk.protocol import Backend, CanQuote, CanResume
from ftsdk.protocol.serving import CanServe
from ftsdk.testing.specs import optional_fields

__all__ = ["installed_backends", "page_with_table", "support_table"]

BEGIN, END = "<!-- support table: begin -->", "<!-- support table: end -->"
_FIELDS = "Optional fields"


def installed_backends() -> tuple[Backend, ...]:
    """Build every installed backend, by name.

    Raises:
        MissingExtraError: The package of one isn't installed.
    """
    return tuple(get_backend(name) for name in backend_names())


def support_table(backends: Iterable[Backend]) -> str:
    """Write what backends declare as a table in Markdown.

    One row for each ability and optional field, one column for each backend.

    What one backend offers is a row for all of them, and so is an optional field that none honours.

    Args:
        backends: The columns, in this order.
    """
    columns = tuple(backends)
    lines = [_line("", *(f"`{backend.name}`" for backend in columns)), _line("---", *[":-:"] * len(columns))]
    for heading, names_in in _SECTIONS.items():
        offered = [names_in(backend) for backend in columns]
        rows = optional_fields() if heading == _FIELDS else frozenset[str]().union(*offered)
        lines.append(_line(f"**{heading}**", *[""] * len(columns)))
        lines += [_line(f"`{name}`", *("yes" if name in names else "-" for names in offered)) for name in sorted(rows)]
    return "\n".join(lines)


def page_with_table(page: str, table: str) -> str:
    """Return the page with the table between its two markers.

    Raises:
        SpecError: The page lacks the markers.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SpecError(f"the page has no markers for the table; add two lines, {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


def _abilities(backend: Backend) -> frozenset[str]:
    found = {
        "FineTuneJob.estimate(live=True)": isinstance(backend, CanQuote),
        "Run.resume": isinstance(backend, CanResume),
        "Run.serve": isinstance(backend, CanServe),
    }
    return frozenset(name for name, has_it in found.items() if has_it)


_SECTIONS: Mapping[str, Callable[[Backend], frozenset[str]]] = {
    "Methods": lambda backend: backend.capabilities.methods,
    "Tunings": lambda backend: backend.capabilities.tunings,
    "Formats of data": lambda backend: backend.capabilities.formats,
    "Sources of models": lambda backend: backend.capabilities.model_sources,
    "Abilities": _abilities,
    _FIELDS: lambda backend: frozenset(field for field in optional_fields() if backend.capabilities.honours(field)),
}


def _line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main(pages: Sequence[str]) -> None:
    """Write the table into pages.

    Args:
        pages: Paths of Markdown files with the markers.
    """
    table = support_table(installed_backends())
    for path in map(Path, pages):
        path.write_text(page_with_table(path.read_text(encoding="utf-8"), table), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
