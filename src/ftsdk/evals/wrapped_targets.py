"""What is asked behind a name, a prompt or a constraint, and whether answers keep to the constraint."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any, Protocol, assert_never, runtime_checkable

from ftsdk.evals.constrained import ConstrainedTarget
from ftsdk.evals.constraints import Choices, Constraint, JsonSchema
from ftsdk.evals.endpoint import EndpointTarget
from ftsdk.evals.reasoning import final_answer
from ftsdk.evals.targets import Target

__all__ = ["check_of", "count_unkept", "innermost", "session_of"]


@runtime_checkable
class _WrappingTarget(Protocol):
    @property
    def target(self) -> Target: ...


def innermost(target: Target) -> Target:
    """Return the target behind names, prompts and constraints."""
    while isinstance(target, _WrappingTarget):
        target = target.target
    return target


def session_of(target: Target) -> str | None:
    """Return the session whose answers a target uses again; None: answers of all."""
    asked = innermost(target)
    return asked.session if isinstance(asked, EndpointTarget) else None


def count_unkept(target: Target, answers: Iterable[str]) -> int:
    """Return how many answers don't keep to the constraint of a target, which a server may ignore; 0 if it has none."""
    while not isinstance(target, ConstrainedTarget) and isinstance(target, _WrappingTarget):
        target = target.target
    if not isinstance(target, ConstrainedTarget):
        return 0
    is_kept = check_of(target.constraint)
    return sum(not is_kept(final_answer(answer)) for answer in answers)


def check_of(constraint: Constraint) -> Callable[[str], bool]:
    """Return what tells whether an answer, without its reasoning, keeps to a constraint."""
    match constraint:
        case Choices(choices):
            stripped = {choice.strip() for choice in choices}
            return lambda answer: answer.strip() in stripped
        case JsonSchema(schema):
            fits = _fits(schema)

            def is_kept(answer: str) -> bool:
                try:
                    return fits(json.loads(answer))
                except (ValueError, RecursionError):
                    return False

            return is_kept
        case _:
            assert_never(constraint)


def _fits(schema: Any) -> Callable[[Any], bool]:
    try:
        from jsonschema import SchemaError
        from jsonschema.validators import validator_for
    except ImportError:  # an extra; that it is JSON is worth knowing, too
        return _always
    checks = validator_for(schema)
    try:
        checks.check_schema(schema)
    except SchemaError:  # the server took it
        return _always
    return checks(schema).is_valid


def _always(_: Any) -> bool:
    return True
