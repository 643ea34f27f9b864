"""Regular expressions of users on answers of models: one that backtracks for ever is stopped."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from ftsdk.errors import MissingExtraError, SpecError

__all__ = ["check_pattern", "compiled"]


@lru_cache(maxsize=256)
def compiled(pattern: str, *, ignore_case: bool = False) -> Any:
    """Return a pattern of the package `regex`, which reads those of `re` and whose methods take a `timeout`.

    Python's own `re` can't be stopped: `(a+)+b` takes hours for 40 letters.

    Raises:
        SpecError: It isn't a regular expression.
        MissingExtraError: The package isn't installed.
    """
    try:
        import regex
    except ImportError as error:
        raise MissingExtraError("evals", needed_for="a regular expression", missing=error.name) from error
    try:
        return regex.compile(pattern, regex.IGNORECASE if ignore_case else 0, cache_pattern=False)
    except (regex.error, RecursionError, OverflowError, MemoryError) as error:
        raise SpecError(f"the pattern {pattern[:80]!r} can't be read: {error}") from error


def check_pattern(pattern: str) -> str:
    """Return a pattern that can be compiled.

    Raises:
        ValueError: It can't.
        MissingExtraError: The package `regex` isn't installed.
    """
    try:
        compiled(pattern)
    except SpecError as error:
        raise ValueError(f"must be a regular expression ({error.__cause__})") from error
    return pattern
