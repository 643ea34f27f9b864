"""All steps of cleaning, and the choice among them.

Importing this loads NumPy and every check that a step is built on, so nobody does before a dataset is cleaned.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ftsdk.data.cleaning import quality_steps, row_steps, text_steps  # they register themselves
from ftsdk.data.cleaning.cleaner import GROUPS, REGISTERED, Cleaner
from ftsdk.errors import DatasetError
from ftsdk.spec import Value
from ftsdk.spec.base import nearest

__all__ = ["CLEANERS", "chosen_cleaners"]

_ = (quality_steps, row_steps, text_steps)

CLEANERS: Mapping[str, Cleaner] = REGISTERED
"""All steps by name."""


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
        if isinstance(name, str) and name in GROUPS:  # pyright: ignore[reportUnnecessaryIsInstance]
            yield from GROUPS[name]
        elif isinstance(name, str) and name in CLEANERS:  # pyright: ignore[reportUnnecessaryIsInstance]
            yield name
        else:
            known = [*GROUPS, *CLEANERS]
            raise DatasetError(
                f"there is no step {name!r}{nearest(str(name), known)}",
                source=source,
                hint=f"Known are {', '.join(CLEANERS)}; {' and '.join(GROUPS)} stand for several.",
            )
