"""What a step of cleaning is: a function over rows with a name, a version and parameters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, get_type_hints

from pydantic import create_model

from ftsdk.spec import Value

__all__ = ["GROUPS", "REGISTERED", "Changed", "Cleaner", "Removed", "Verdicts", "cleaner"]


class Removed(NamedTuple):
    """A row that a step removes."""

    position: int
    reason: str


class Changed(NamedTuple):
    """A row that a step changes."""

    position: int
    reason: str
    row: dict[str, Any]
    key: Mapping[str, str] = {}
    """What each placeholder that the step put in stands for."""


Verdicts: TypeAlias = Iterator[Removed | Changed]
"""At most one for each row; of changed rows in the order of their positions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cleaner:
    """A step that `Dataset.clean` knows by name."""

    name: str
    version: int
    """Counts up when the same parameters lead to other rows; a recipe of another version isn't followed."""
    does: str
    """What it removes or changes: "Remove rows that ..."."""
    parameters: type[Value]
    """Its parameters, their types and defaults."""
    run: Callable[..., Verdicts]
    """Called with `CleanRows` and the parameters by name."""


REGISTERED: dict[str, Cleaner] = {}
"""The steps of the modules that were imported; `registry` has all of them."""

GROUPS: dict[str, tuple[str, ...]] = {
    "safe": ("encoding", "empty", "credentials", "exact_duplicates"),
    "quality": (
        "cut_off",
        "template_leftover",
        "unclosed_fence",
        "invalid_json",
        "lost_characters",
        "repetition",
        "role_order",
    ),
}
"""Names that stand for several steps, in the order in which they run; `safe` runs without being named."""


def cleaner(*, version: int) -> Callable[[Callable[..., Verdicts]], Callable[..., Verdicts]]:
    """Register a function as a step, under its own name.

    Its keyword-only arguments are the parameters, and its docstring's first line is what the step does.

    Args:
        version: Count it up when the same parameters lead to other rows.
    """

    def register(function: Callable[..., Verdicts]) -> Callable[..., Verdicts]:
        hints = get_type_hints(function, include_extras=True)
        fields: dict[str, Any] = {
            name: (hints[name], parameter.default)
            for name, parameter in inspect.signature(function).parameters.items()
            if parameter.kind is inspect.Parameter.KEYWORD_ONLY
        }
        name = function.__name__
        parameters = create_model(name, __base__=Value, __doc__=f"Parameters of {name}.", **fields)
        does = (function.__doc__ or "").partition("\n")[0].rstrip(".")
        REGISTERED[name] = Cleaner(name=name, version=version, does=does, parameters=parameters, run=function)
        return function

    return register
