"""What built-in trackers log of an event and of a run: the same names and numbers in each of them."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

from ftsdk.protocol import EvalEvent, Event, StepEvent

__all__ = ["Readings", "readings_of", "settings_of"]

_OF_A_STEP = ("loss", "learning_rate", "grad_norm", "epoch", "tokens", "tokens_per_s", "peak_memory_gb")


class Readings(NamedTuple):
    """Numbers that belong to one optimizer step."""

    step: int
    at: float
    """Seconds since the epoch, UTC."""
    values: dict[str, float]
    """By name: `train/loss`, `validation/loss`. Numbers that aren't finite are left out: no tracker takes all of them.
    """


def readings_of(event: Event) -> Readings | None:
    """Return the numbers of an event; None if it has none."""
    match event:
        case StepEvent():
            found = {f"train/{name}": getattr(event, name) for name in _OF_A_STEP}
        case EvalEvent():
            found = {f"{event.name}/{name}": value for name, value in event.metrics.items()}
        case _:
            return None
    values = {name: float(value) for name, value in found.items() if value is not None and math.isfinite(value)}
    return Readings(event.step, event.at, values)


def settings_of(spec: Mapping[str, Any]) -> dict[str, str | int | float | bool]:
    """Return a specification as one level of names: `tuning.rank`. What isn't set is left out."""
    return dict(_flat(spec, ""))


def _flat(value: object, name: str) -> Iterator[tuple[str, str | int | float | bool]]:
    if isinstance(value, Mapping):
        for key, one in cast("Mapping[str, object]", value).items():
            yield from _flat(one, f"{name}.{key}" if name else key)
    elif isinstance(value, (str, int, float, bool)):
        yield name, value
    elif value is not None:
        yield name, json.dumps(value)
