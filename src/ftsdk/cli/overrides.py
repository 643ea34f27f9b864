"""`--set KEY=VALUE`: fields of a job file, changed on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, cast

from ftsdk._yaml import LIMITS, parse_yaml
from ftsdk.errors import SpecError
from ftsdk.spec import JobFields, Value

__all__ = ["with_overrides"]


def with_overrides(data: dict[str, Any], assignments: Sequence[str]) -> dict[str, Any]:
    """Return the content of a job file with some fields changed.

    Args:
        data: The content of the file, which stays as it is.
        assignments: Each `key=value`, with a dotted key (`tuning.rank=8`, `evals.0.name=accuracy`) and a value in YAML.
            Unknown keys are refused where the job is built.

    Raises:
        SpecError: It isn't `key=value`, the value isn't YAML, or the key leads through something without fields.
    """
    changed = deepcopy(data)
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        path = key.strip().split(".")
        if not equals or not all(path):
            raise SpecError(f"--set {assignment}: write key=value, such as --set epochs=1 or --set tuning.rank=8")
        if len(path) > LIMITS.depth:
            raise SpecError(f"--set: the key is nested deeper than {LIMITS.depth} levels")
        if path[0].startswith("x-"):
            raise SpecError(f"--set {assignment}: {path[0]!r} is a YAML anchor's, which changes nothing by itself")
        _set(changed, path, parse_yaml(text, f"--set {key}"), assignment)
    return changed


def _set(data: dict[str, Any], path: Sequence[str], value: object, assignment: str) -> None:
    at: Any = data
    for n, name in enumerate(path[:-1]):
        if isinstance(at, list):
            at = cast("list[Any]", at)[_index(at, name, assignment)]
            continue
        if name not in at or at[name] is None:
            at[name] = _default(path[: n + 1])
        elif path[0] == "backend" and n == 0 and isinstance(at[name], str):
            at[name] = {"name": at[name]}
        at = at[name]
        if not isinstance(at, dict | list):
            raise SpecError(f"--set {assignment}: {'.'.join(path[: n + 1])} is {at!r}, which has no fields to set")
    if isinstance(at, list):
        at[_index(cast("list[Any]", at), path[-1], assignment)] = value
    else:
        at[path[-1]] = value


def _default(path: Sequence[str]) -> dict[str, Any]:
    """Return what a missing mapping starts from: the kind of the default, such as `lora` for `tuning`."""
    field = JobFields.model_fields.get(path[0]) if len(path) == 1 else None
    if path == ["backend"]:
        return {"name": "local"}
    kind = getattr(field.default, "kind", None) if field is not None and isinstance(field.default, Value) else None
    return {} if kind is None else {"kind": kind}


def _index(entries: list[Any], word: str, assignment: str) -> int:
    # The length first: Python refuses to read a number of thousands of digits.
    if not word.isdecimal() or len(word) > 9 or int(word) >= len(entries):
        raise SpecError(f"--set {assignment}: {word!r} is no index of a list with {len(entries)} entries, from 0")
    return int(word)
