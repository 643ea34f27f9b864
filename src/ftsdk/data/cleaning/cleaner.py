"""What a step of cleaning is: a function over rows with a name, a version and parameters; and the steps that exist."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, get_type_hints

from pydantic import create_model

from ftsdk.errors import DatasetError
from ftsdk.spec import Value
from ftsdk.spec.base import nearest

__all__ = ["CLEANERS", "GROUPS", "Changed", "Cleaner", "Removed", "chosen_cleaners", "cleaner"]


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


CLEANERS: dict[str, Cleaner] = {}
"""All steps by name."""

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
        CLEANERS[name] = Cleaner(name=name, version=version, does=does, parameters=parameters, run=function)
        return function

    return register


def chosen_cleaners(
    names: Sequence[str], options: Mapping[str, Any], *, source: str | None
) -> list[tuple[Cleaner, Value]]:
    """Return the steps with their parameters.

    Args:
        names: Names of steps and groups; empty: the group `safe`.
        options: Parameters by name, each of exactly one of the steps.
        source: The dataset, for errors.

    Raises:
        DatasetError: There is no such step, or an option belongs to none or to several of the steps.
        SpecError: A parameter has an impossible value.
    """
    steps = [CLEANERS[name] for name in dict.fromkeys(_expanded(names or ("safe",), source))]
    given: dict[str, dict[str, Any]] = {step.name: {} for step in steps}
    for option, value in options.items():
        owners = [step.name for step in steps if option in step.parameters.model_fields]
        if len(owners) == 1:
            given[owners[0]][option] = value
            continue
        if owners:
            raise DatasetError(
                f"{option}= is a parameter of {' and '.join(owners)}.",
                source=source,
                hint=f'Clean in several calls: clean("{owners[0]}", {option}={value!r}).clean("{owners[1]}").',
            )
        known = sorted({field for step in steps for field in step.parameters.model_fields})
        others = [name for name, step in CLEANERS.items() if option in step.parameters.model_fields]
        raise DatasetError(
            f"{option}= is no parameter of {', '.join(step.name for step in steps)}{nearest(option, known)}",
            source=source,
            hint=f'It belongs to clean("{others[0]}", {option}=...).' if others else None,
        )
    return [(step, step.parameters(**given[step.name])) for step in steps]


def _expanded(names: Sequence[str], source: str | None) -> Iterator[str]:
    for name in names:
        if name in GROUPS:
            yield from GROUPS[name]
        elif name in CLEANERS:
            yield name
        else:
            known = [*GROUPS, *CLEANERS]
            raise DatasetError(
                f"there is no step {name!r}{nearest(str(name), known)}",
                source=source,
                hint=f"Known are {', '.join(CLEANERS)}; {' and '.join(GROUPS)} stand for several.",
            )
