"""Whether a JSON value fits a JSON Schema: offline, and in bounded time, whatever the value and the schema."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, cast

from ftsdk.errors import MissingExtraError, SpecError
from ftsdk.evals.scorers.json_answers import NotJson, read_json
from ftsdk.evals.scorers.timed_patterns import compiled

__all__ = ["check_schema", "schema_problem"]

_TIMEOUT_S = 1.0


class _Limit(threading.local):
    until = math.inf
    """When the check that this thread is doing has taken too long, in seconds of `time.monotonic`."""


_limit = _Limit()


def check_schema(schema: str) -> None:
    """Raise unless a text is a JSON Schema that answers can be checked against.

    Raises:
        SpecError: It isn't.
        MissingExtraError: The package jsonschema isn't installed.
    """
    _validator(schema)


def schema_problem(schema: str, value: Any, *, timeout_s: float = _TIMEOUT_S) -> str | None:
    """Return why a value doesn't fit a schema; None if it does.

    Args:
        schema: As JSON. Nothing is fetched for its references.
        value: As it comes out of JSON.
        timeout_s: The most seconds that the check takes: patterns and references that branch can take for ever. A value
            that isn't shown to fit by then doesn't.

    Raises:
        SpecError: The schema can't be used, such as for a reference to nothing.
        NotJson: The value is nested too deeply.
        MissingExtraError: The package jsonschema isn't installed.
    """
    validator = _validator(schema)
    from jsonschema.exceptions import UnknownType
    from referencing.exceptions import Unresolvable

    _limit.until = time.monotonic() + timeout_s
    try:
        error = next(iter(validator.iter_errors(value)), None)
    except RecursionError as error:
        raise NotJson("nested too deeply for the schema") from error
    except TimeoutError:
        return f"holding it against the schema took longer than {timeout_s:g} s"
    except ArithmeticError:  # 1e400, or hundreds of digits, against multipleOf
        return "doesn't fit the schema: a number is too large to be checked"
    except (Unresolvable, UnknownType) as error:
        raise SpecError(f"the JSON Schema can't be used: {error}") from error
    finally:
        _limit.until = math.inf
    if error is None:
        return None
    where = ".".join(map(str, error.absolute_path))
    return f"doesn't fit the schema{f' at {where}' if where else ''}: {error.message[:200]}"


@lru_cache(maxsize=64)
def _validator(schema: str) -> Any:
    """Return what checks values. Keywords with patterns are our own, since Python's `re` can't be stopped."""
    try:
        import jsonschema
        from jsonschema.validators import extend, validator_for
        from referencing import Registry
    except ImportError as error:
        raise MissingExtraError("evals", needed_for="checking a JSON Schema", missing=error.name) from error
    try:
        rule = read_json(schema)
        kind: Any = validator_for(rule, default=jsonschema.Draft202012Validator)
        kind.check_schema(rule)
    except (NotJson, jsonschema.SchemaError, RecursionError, TypeError, AttributeError) as error:
        message = error.message if isinstance(error, jsonschema.SchemaError) else str(error)
        raise SpecError(f"this is not a JSON Schema: {message[:200]}") from error
    if '"patternProperties"' in schema and '"unevaluatedProperties"' in schema:
        raise SpecError(
            "unevaluatedProperties beside patternProperties can't be checked in bounded time; use additionalProperties"
        )
    theirs = kind.VALIDATORS.get("additionalProperties")

    def additional(validator: Any, allowed: Any, value: Any, schema: Any) -> Iterator[Any]:
        rest = value
        if validator.is_type(value, "object"):
            patterns = schema.get("patternProperties", {})
            rest = {
                name: child
                for name, child in value.items()
                if name not in schema.get("properties", {}) and not any(_finds(pattern, name) for pattern in patterns)
            }
        yield from theirs(validator, allowed, rest, {}) or ()

    own = {"pattern": _pattern, "patternProperties": _pattern_properties, "additionalProperties": additional}
    timed = {name: _timed(check) for name, check in {**kind.VALIDATORS, **own}.items()}
    # An empty registry: the default one would fetch what `$ref` names from the network.
    return extend(kind, timed)(rule, registry=Registry())


def _timed(check: Callable[..., Any]) -> Callable[..., Any]:
    """Return the check of a keyword that isn't begun any more once the time is over."""

    def timed(validator: Any, rule: Any, value: Any, schema: Any) -> Any:
        if time.monotonic() > _limit.until:
            raise TimeoutError
        return check(validator, rule, value, schema)

    return timed


def _finds(pattern: str, text: str) -> bool:
    left_s = max(0.001, min(_limit.until - time.monotonic(), _TIMEOUT_S))
    return compiled(pattern).search(text, timeout=left_s) is not None


def _pattern(validator: Any, pattern: str, value: object, schema: object) -> Iterator[Any]:
    """Check the keyword `pattern`."""
    import jsonschema

    del schema
    if validator.is_type(value, "string"):
        text = cast("str", value)
        if not _finds(pattern, text):
            yield jsonschema.ValidationError(f"{text[:80]!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, rules: Mapping[str, Any], value: Any, schema: object) -> Iterator[Any]:
    """Check the keyword `patternProperties`."""
    del schema
    if validator.is_type(value, "object"):
        for pattern, rule in rules.items():
            for name, child in value.items():
                if _finds(pattern, name):
                    yield from validator.descend(child, rule, path=name, schema_path=pattern)
