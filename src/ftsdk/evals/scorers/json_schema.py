"""`json_schema`: the answer is JSON that fits a schema, and its fields equal those of the reference."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator

from ftsdk.errors import SpecError
from ftsdk.evals.examples import Example
from ftsdk.evals.scorers.json_answers import NotJson, fields_of, is_same, read_json
from ftsdk.evals.scorers.schema_rules import check_schema, schema_problem
from ftsdk.evals.scorers.scorer import Score, scorer

__all__ = ["json_schema"]

_ABSENT = object()


def _checked(schema: dict[str, Any]) -> dict[str, Any]:
    if schema:
        try:
            check_schema(json.dumps(schema))
        except SpecError as error:
            raise ValueError(f"must be a JSON Schema ({error})") from error
    return schema


def _prepare(
    examples: Sequence[Example], *, schema: Mapping[str, Any] | None = None, schema_column: str = "", **_: Any
) -> Mapping[str, Any]:
    if not schema and not schema_column:
        raise SpecError("json_schema needs its option schema, a JSON Schema, or schema_column, a column that has one")
    for number, example in enumerate(examples, start=1):
        if schema_column:
            check_schema(_schema_in(example, schema_column, f"example {number}"))
    return {}


@scorer(prepare=_prepare)
def json_schema(
    example: Example,
    answer: str,
    *,
    schema: Annotated[dict[str, Any], AfterValidator(_checked)] = {},  # noqa: B006 - never changed
    schema_column: str = "",
    conformance_only: bool = False,
    allow_fence: bool = False,
) -> Score:
    """Score the share of the reference's fields that the answer has, with the same values; 0 if it doesn't fit.

    `parts` has the score of each field by its dotted path, such as `items.0.name`. Further fields of the answer don't
    count: `additionalProperties: false` in the schema forbids them. Where the reference isn't JSON, an answer that
    fits scores 1. `1` equals `1.0`, and texts must be equal to the letter.

    Args:
        example: The prompt with its reference.
        answer: What the model answered.
        schema: A JSON Schema; `$schema` chooses the draft, 2020-12 by default. Nothing is fetched for its references.
        schema_column: A column with the schema of each row, as an object or as JSON; the eval must name it in
            `columns`.
        conformance_only: Score 1 for every answer that fits, whatever its values.
        allow_fence: Accept one fenced code block of Markdown around the JSON.
    """
    rule = _schema_in(example, schema_column, "the example") if schema_column else json.dumps(schema)
    expected = {} if conformance_only else _expected_fields(example.expected, allow_fence=allow_fence)
    try:
        found = read_json(answer, allow_fence=allow_fence)
        problem = schema_problem(rule, found)
    except NotJson as error:
        problem = str(error)
        found = None
    if problem is not None:
        return Score(0.0, problem, parts=dict.fromkeys(expected, 0.0))
    if not expected:
        return Score(1.0, "fits the schema")
    given = fields_of(found)
    parts = {path: float(is_same(given.get(path, _ABSENT), value)) for path, value in expected.items()}
    wrong = [path for path, value in parts.items() if not value]
    reason = f"{len(parts) - len(wrong)} of {len(parts)} fields right"
    return Score(
        sum(parts.values()) / len(parts), f"{reason}; not {', '.join(wrong[:5])}" if wrong else reason, parts=parts
    )


def _expected_fields(reference: str, *, allow_fence: bool) -> dict[str, Any]:
    try:
        return fields_of(read_json(reference, allow_fence=allow_fence))
    except NotJson:
        return {}


def _schema_in(example: Example, column: str, which: str) -> str:
    if column not in example.columns:
        raise SpecError(f"json_schema reads the column {column!r}; name it in the eval: columns=[{column!r}]")
    found = example.columns[column]
    if isinstance(found, str):
        return found
    if isinstance(found, Mapping):
        return json.dumps(found)
    raise SpecError(f"the column {column!r} of {which} must have a JSON Schema; got {type(found).__name__}")
