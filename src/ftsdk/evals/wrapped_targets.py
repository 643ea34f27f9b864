"""What is asked behind a name or a constraint, and whether answers keep to the constraint."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any, assert_never

from ftsdk.evals.constraints import Choices, ConstrainedTarget, Constraint, JsonSchema
from ftsdk.evals.endpoint import EndpointTarget
from ftsdk.evals.reasoning import final_answer
from ftsdk.evals.targets import NamedTarget, Target

__all__ = ["count_unkept", "innermost", "session_of"]


def innermost(target: Target) -> Target:
    """Return the target behind names and constraints."""
    while isinstance(target, ConstrainedTarget | NamedTarget):
        target = target.target
    return target


def session_of(target: Target) -> str | None:
    """Return the session whose answers a target uses again; None: answers of all."""
    asked = innermost(target)
    return asked.session if isinstance(asked, EndpointTarget) else None


def count_unkept(target: Target, answers: Iterable[str]) -> int:
    """Return how many answers don't keep to the constraint of a target, which a server may ignore; 0 if it has none."""
    while isinstance(target, NamedTarget):
        target = target.target
    if not isinstance(target, ConstrainedTarget):
        return 0
    return sum(not _is_kept(target.constraint, final_answer(answer)) for answer in answers)


def _is_kept(constraint: Constraint, answer: str) -> bool:
    match constraint:
        case Choices(choices):
            return answer.strip() in {choice.strip() for choice in choices}
        case JsonSchema(schema):
            try:
                return _fits(json.loads(answer), schema)
            except (ValueError, RecursionError):
                return False
        case _:
            assert_never(constraint)


def _fits(value: Any, schema: Any) -> bool:
    try:
        from jsonschema import SchemaError, ValidationError, validate
    except ImportError:  # an extra; JSON is better than nothing
        return True
    try:
        validate(value, schema)
    except (ValidationError, SchemaError):
        return False
    return True
