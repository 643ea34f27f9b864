"""A target whose answers keep to a constraint."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Generator as Yields
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftsdk.errors import SpecError
from ftsdk.evals.constraints import CanConstrain, Choices, Constraint, JsonSchema
from ftsdk.evals.generation import Generator
from ftsdk.evals.targets import Target

__all__ = ["ConstrainedTarget", "constrained"]


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
