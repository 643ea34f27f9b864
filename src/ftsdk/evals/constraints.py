"""Answers held to choices or to a JSON Schema while they are decoded, as a target of its own."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Generator as Yields
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from ftsdk.errors import SpecError
from ftsdk.evals.generation import Generator
from ftsdk.evals.targets import Target

__all__ = ["CanConstrain", "Choices", "ConstrainedTarget", "Constraint", "JsonSchema", "constrained"]


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


@dataclass(frozen=True, kw_only=True)
class ConstrainedTarget:
    """A target whose answers keep to a constraint; see `constrained`."""

    name: str
    target: Target
    constraint: Constraint

    @property
    def identity(self) -> str:
        """A digest of the target and the constraint."""
        rule = json.dumps(self.constraint.to_dict(), sort_keys=True)
        return hashlib.sha256(f"constrained\0{self.target.identity}\0{rule}".encode()).hexdigest()

    @contextlib.contextmanager
    def open(self) -> Yields[Generator]:
        """Load the model, or connect, for as long as the block lasts.

        Raises:
            SpecError: The target can't keep to a constraint.
        """
        with self.target.open() as generator:
            if not isinstance(generator, CanConstrain):
                raise SpecError(
                    f"{self.target.name} can't be held to choices or a schema; models on this machine and endpoints can"
                )
            yield generator.constrained(self.constraint)


def constrained(
    target: Target,
    *,
    choices: Sequence[str] | None = None,
    schema: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> ConstrainedTarget:
    """Return a target whose answers are one of the choices, or JSON that fits a schema.

    Does the base model do as well with constrained decoding? It costs nothing to try, so measure it before paying for
    a fine-tune.

    Args:
        target: What answers.
        choices: Texts, one of which is the answer.
        schema: A JSON Schema.
        name: Of the new target; by default the target's own with "+choices" or "+schema".

    Raises:
        SpecError: Neither or both are given, or the choices can't be told apart.
    """
    if (choices is None) == (schema is None):
        raise SpecError("pass either choices=[...] or schema={...}")
    rule = Choices(tuple(choices)) if choices is not None else JsonSchema(dict(schema or {}))
    suffix = "choices" if choices is not None else "schema"
    return ConstrainedTarget(name=name or f"{target.name}+{suffix}", target=target, constraint=rule)
