"""The answer to arguments without a name, where a type takes them by name alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from inspect import Parameter, signature
from typing import Any, TypeVar, cast

from ftsdk._format import printable
from ftsdk._secrets import redact
from ftsdk.errors import SpecError

__all__ = ["by_name_only", "positional_error"]

_T = TypeVar("_T")


def positional_error(name: str, fields: Sequence[str], given: Sequence[object]) -> SpecError:
    """Return the error for arguments without a name: what to write instead.

    Args:
        name: The type that was called.
        fields: The names that it takes, the most likely ones first.
        given: The arguments without a name.
    """
    if not fields:
        return SpecError(f"{name} takes no arguments; write {name}()")
    written = ", ".join(f"{field}={_shown(value)}" for field, value in zip(fields, given, strict=False))
    others = f"; it takes {', '.join(fields)}" if len(fields) > 1 else ""
    return SpecError(f"{name} takes its arguments by name, as in {name}({written}){others}")


def _shown(value: object) -> str:
    if not isinstance(value, bool | int | float | str) and value is not None:
        return "..."
    text = printable(redact(repr(value)), 60)
    return text if len(text) < 60 else "..."


def by_name_only(cls: type[_T]) -> type[_T]:
    """Make a class whose arguments are keyword-only answer others with a `SpecError` (a class decorator)."""
    init = cast("Callable[..., None]", cls.__init__)
    fields = [name for name, one in signature(init).parameters.items() if one.kind is Parameter.KEYWORD_ONLY]

    @functools.wraps(init)
    def checked(self: object, /, *given: object, **named: Any) -> None:
        if given:
            raise positional_error(cls.__name__, fields, given)
        init(self, **named)

    cast("Any", cls).__init__ = checked
    return cls
