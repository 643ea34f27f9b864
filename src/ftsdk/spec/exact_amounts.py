"""Amounts of money with more digits than a float holds, on their way through JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, cast

from pydantic import BaseModel

from ftsdk._numbers import ExactFloat
from ftsdk.spec.problems import models_in

__all__ = ["LONG_NUMBER", "exact_amounts"]

LONG_NUMBER = re.compile(r"[\d.]{17}|\d[eE][-+]?\d{3}")
"""What a JSON text must contain for a number in it to be one that a float can't hold."""


def exact_amounts(cls: type[BaseModel], data: Any) -> Any:
    """Return plain data for `cls` in which such amounts are texts, as JSON's own numbers would lose their last digits.

    Numbers in other fields stay floats.
    """
    return _exact([cls], data) if _holds_written(data) else data


def _holds_written(data: object) -> bool:
    if isinstance(data, Mapping):
        return any(map(_holds_written, cast("Mapping[object, object]", data).values()))
    if isinstance(data, list | tuple):
        return any(map(_holds_written, cast("Iterable[object]", data)))
    return isinstance(data, ExactFloat)


def _exact(models: list[type[BaseModel]], data: Any) -> Any:
    if isinstance(data, list | tuple):
        return [_exact(models, entry) for entry in cast("Iterable[object]", data)]
    if not isinstance(data, Mapping):
        return data
    return {key: _field(models, key, value) for key, value in cast("Mapping[str, Any]", data).items()}


def _field(models: list[type[BaseModel]], name: str, value: Any) -> Any:
    types = [model.model_fields[name].annotation for model in models if name in model.model_fields]
    if isinstance(value, ExactFloat):
        return str(value.written) if any(map(_is_amount, types)) else value
    return _exact([model for annotation in types for model in models_in(annotation)], value)


def _is_amount(annotation: object) -> bool:
    return annotation is Decimal or any(map(_is_amount, getattr(annotation, "__args__", ())))
