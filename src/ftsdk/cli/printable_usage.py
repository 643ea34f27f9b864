"""Errors of usage, which repeat what was typed, without the control characters in it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from typer.core import TyperGroup

from ftsdk._format import printable

__all__ = ["PrintableUsage"]


class PrintableUsage(TyperGroup):
    """The commands of `ftsdk`."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        """Read the options before the command."""
        with _printable():
            return super().make_context(*args, **options)

    def invoke(self, ctx: Any) -> Any:
        """Run the command, whose own options are read here."""
        with _printable():
            return super().invoke(ctx)


@contextmanager
def _printable() -> Generator[None]:
    try:
        yield
    except Exception as error:
        # typer brings click under a name of its own, or needs the package: its errors are known by what they have.
        message: object = getattr(error, "message", None)
        if hasattr(error, "format_message") and isinstance(message, str):
            error.message = printable(message)  # type: ignore[attr-defined]
        raise
