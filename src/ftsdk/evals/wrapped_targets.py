"""What is asked behind a name, a prompt or a constraint, and whether answers keep to the constraint."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Protocol, assert_never, runtime_checkable

from ftsdk.errors import MissingExtraError, SpecError
from ftsdk.evals.constrained import ConstrainedTarget
from ftsdk.evals.constraints import Choices, Constraint, JsonSchema
from ftsdk.evals.endpoint import EndpointTarget
from ftsdk.evals.reasoning import final_answer
from ftsdk.evals.scorers.json_answers import NotJson, read_json
from ftsdk.evals.scorers.schema_rules import schema_problem
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
            rule = json.dumps(schema)
            return lambda answer: _fits(rule, answer)
        case _:
            assert_never(constraint)


def _fits(schema: str, answer: str) -> bool:
    try:
        return schema_problem(schema, read_json(answer)) is None
    except NotJson:
        return False
    except (MissingExtraError, SpecError):  # the package is an extra, and a server may read what it can't
        return True
