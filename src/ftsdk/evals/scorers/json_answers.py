"""JSON in answers of models: strict reading, and the fields of a value by their paths."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn, cast

from ftsdk.errors import FtsdkError

__all__ = ["NotJson", "fields_of", "is_same", "read_json"]

_DEEPEST = 100
_MOST_DIGITS = 4300
"""Python reads no longer ones: it takes quadratic time."""
_FENCE = re.compile(r"\A\s*```(?:json|JSON)?[ \t]*\r?\n(.*?)\r?\n[ \t]*```\s*\Z", re.DOTALL)


class NotJson(FtsdkError, ValueError):
    """A text that isn't JSON; the message says why."""


def read_json(text: str, *, allow_fence: bool = False) -> Any:
    """Return the value of a text that is JSON as RFC 8259 has it, and nothing else: no `NaN`, nothing around it.

    Args:
        text: Of any length.
        allow_fence: The whole text may be one fenced code block of Markdown.

    Raises:
        NotJson: It isn't JSON, nests deeper than 100 levels, or has a number of more than 4,300 digits.
    """
    if allow_fence and (fenced := _FENCE.match(text)) is not None:
        text = fenced[1]
    try:
        found = json.loads(text, parse_constant=_refuse, parse_int=_whole_number)
    except json.JSONDecodeError as error:
        raise NotJson(f"not JSON: {error.msg} at character {error.pos + 1}") from error
    except RecursionError as error:
        raise NotJson(f"nested deeper than {_DEEPEST} levels") from error
    except ValueError as error:
        raise NotJson(f"not JSON: {error}") from error
    _check_depth(found)
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no number of JSON")


def _whole_number(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of more than {_MOST_DIGITS:,} digits can't be read")
    return int(digits)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_DEEPEST + 1):
        level = [
            child
            for one in level
            if isinstance(one, (dict, list))
            for child in (cast("dict[str, Any]", one).values() if isinstance(one, dict) else cast("list[Any]", one))
        ]
        if not level:
            return
    raise NotJson(f"nested deeper than {_DEEPEST} levels")


def fields_of(value: Any, path: str = "") -> dict[str, Any]:
    r"""Return the fields of a JSON value by dotted path, such as `items.0.name`; empty objects and lists are fields.

    Dots in keys are written as `\.`; the path of a value without fields is empty.
    """
    if isinstance(value, Mapping) and value:
        parts = {key.replace(".", "\\."): child for key, child in cast("Mapping[str, Any]", value).items()}
    elif isinstance(value, list) and value:
        parts = {str(index): child for index, child in enumerate(cast("list[Any]", value))}
    else:
        return {path: value}
    found: dict[str, Any] = {}
    for key, child in parts.items():
        found |= fields_of(child, f"{path}.{key}" if path else key)
    return found


def is_same(one: Any, other: Any) -> bool:
    """Return whether two values without fields are the same: `1` is `1.0`, but not `true`."""
    return isinstance(one, bool) == isinstance(other, bool) and one == other
