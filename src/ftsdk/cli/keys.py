"""Keys: one at a time in a terminal, one a line in a pipe."""

from __future__ import annotations

import sys
from collections.abc import Callable

__all__ = ["key_reader", "reads_keys"]


def reads_keys() -> bool:
    """Return whether a key is read as soon as it is pressed: there is a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def key_reader() -> Callable[[], tuple[str, str]]:
    """Return a function that waits for a key, in lower case, and the text behind it, which only a pipe has.

    The end of the input, Ctrl-C and Ctrl-D are `q`.
    """
    return _read_key if reads_keys() else _read_line


def _read_key() -> tuple[str, str]:
    import click

    key = click.getchar()
    if key in ("\x03", "\x04", ""):
        return "q", ""
    return key.casefold(), ""


def _read_line() -> tuple[str, str]:
    line = sys.stdin.readline()
    if not line:
        return "q", ""
    key, _, text = line.strip().partition(" ")
    return key.casefold(), text
