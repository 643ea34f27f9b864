"""What answers are held to while they are decoded: choices, or a JSON Schema."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ftsdk.errors import SpecError
from ftsdk.evals.generation import Generator

__all__ = ["CanConstrain", "Choices", "Constraint", "JsonSchema"]


@dataclass(frozen=True)
class Choices:
    """The answer is one of these texts."""

    choices: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.choices) < 2 or len(set(self.choices)) < len(self.choices) or not all(self.choices):
            raise SpecError(f"choices must be at least two different texts; got {list(self.choices)}")

    def to_dict(self) -> dict[str, Any]:
        """Return the constraint as plain data."""
        return {"choices": list(self.choices)}


@dataclass(frozen=True)
class JsonSchema:
    """The answer is JSON that a JSON Schema accepts."""

    schema: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the constraint as plain data."""
        return {"json_schema": dict(self.schema)}


Constraint = Choices | JsonSchema


@runtime_checkable
class CanConstrain(Protocol):
    """An optional ability of a generator: answers that keep to a constraint."""

    def constrained(self, constraint: Constraint) -> Generator:
        """Return a generator whose answers keep to the constraint.

        Raises:
            SpecError: The constraint can't be kept.
            MissingExtraError: A package that decoding needs isn't installed.
        """
        ...
