"""Answers that are JSON, fit a schema, and have the fields of the reference."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from ftsdk.errors import SpecError
from ftsdk.evals import Eval, Example
from ftsdk.evals.scorers.json_schema import json_schema
from ftsdk.evals.scorers.json_valid import json_valid

MakeRows = Callable[..., Any]
SCHEMA = {
    "type": "object",
    "required": ["name"],
    "properties": {"name": {"type": "string"}, "tags": {"type": "array"}, "ok": {}},
    "additionalProperties": False,
}
EXAMPLE = Example([], '{"name": "Ada", "tags": ["a", {"b.c": 1}], "ok": true}')
HOSTILE = [
    "",
    "\x00",
    "\ud800",
    "[" * 100_000,
    "[" * 150 + "]" * 150,
    '{"a":' * 50_000,
    "1" * 5_000,
    "NaN",
    "1e",
    "{'a': 1}",
]


@pytest.mark.parametrize("answer", HOSTILE)
def test_what_is_not_json_scores_zero_and_says_why(answer: str) -> None:
    assert json_valid(EXAMPLE, answer).value == 0.0
    found = json_schema.with_options(schema=SCHEMA)(EXAMPLE, answer)
    assert (found.value, set(found.parts.values())) == (0.0, {0.0})
    assert "not JSON" in found.reason or "nested" in found.reason


def test_json_stands_alone_unless_a_fence_is_allowed() -> None:
    fenced = "```json\n[1]\n```\n"
    assert [json_valid(EXAMPLE, text).value for text in ("[1]", '"a"', fenced, "Here: [1]")] == [1, 1, 0, 0]
    allowed = json_valid.with_options(allow_fence=True)
    assert [allowed(EXAMPLE, text).value for text in ("[1]", fenced, f"Here:\n{fenced}", "```\n[\n```")] == [1, 1, 0, 0]


def test_fields_are_scored_by_their_paths() -> None:
    judge = json_schema.with_options(schema=SCHEMA)
    found = judge(EXAMPLE, '{"name": "Ada", "tags": ["a", {"b.c": 1.0}], "ok": 1}')

    assert dict(found.parts) == {"name": 1.0, "tags.0": 1.0, "tags.1.b\\.c": 1.0, "ok": 0.0}
    assert (found.value, found.reason) == (0.75, "3 of 4 fields right; not ok")
    assert judge.with_options(conformance_only=True)(EXAMPLE, '{"name": "Bob"}').value == 1.0
    assert judge(Example([], "free text"), '{"name": "Bob"}').reason == "fits the schema"


def test_an_answer_that_does_not_fit_scores_zero_in_all_fields() -> None:
    found = json_schema.with_options(schema=SCHEMA)(EXAMPLE, '{"name": 3, "tags": ["a", {"b.c": 1}], "ok": true}')

    assert found.reason == "doesn't fit the schema at name: 3 is not of type 'string'"
    assert set(found.parts.values()) == {0.0}


@pytest.mark.parametrize("column", [SCHEMA, json.dumps(SCHEMA)])
def test_each_row_may_have_its_own_schema(column: Any) -> None:
    example = EXAMPLE._replace(columns={"form": column})
    assert json_schema.with_options(schema_column="form")(example, '{"name": "Ada"}').value == 0.25
    with pytest.raises(SpecError, match=r"name it in the eval: columns=\['form'\]"):
        json_schema.with_options(schema_column="form")(EXAMPLE, "{}")


def test_schemas_that_cannot_work_are_refused(make_rows: MakeRows) -> None:
    rows = make_rows(("1", "{}"))
    with pytest.raises(SpecError, match="schema of the scorer 'json_schema' must be a JSON Schema"):
        Eval.of(rows, json_schema, schema={"type": "objekt"})
    with pytest.raises(SpecError, match="needs its option schema"):
        Eval.of(rows, json_schema).score(EXAMPLE, "{}")


def test_references_of_a_schema_are_never_fetched() -> None:
    judge = json_schema.with_options(schema={"$ref": "http://127.0.0.1:9/schema.json"})
    with pytest.raises(SpecError, match="can't be used: Unresolvable"):
        judge(EXAMPLE, "{}")


def test_a_pattern_of_a_schema_is_stopped_in_time() -> None:
    started = time.monotonic()
    judge = json_schema.with_options(schema={"type": "string", "pattern": r"(?=(a+))(a|aa)+$"})

    assert judge(EXAMPLE, json.dumps("a" * 60 + "b")).reason == "holding it against the schema took longer than 1 s"
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("answer", ["1e999", "9" * 4000, '{"n": 1e400}', '{"n": -' + "9" * 400 + "}"])
def test_numbers_beyond_arithmetic_do_not_fit(answer: str) -> None:
    judge = json_schema.with_options(schema={"multipleOf": 0.5, "properties": {"n": {"multipleOf": 0.01}}})
    assert "too large" in judge(EXAMPLE, answer).reason


@pytest.mark.parametrize("more", [{}, {"additionalProperties": False}, {"additionalProperties": {"type": "string"}}])
def test_patterns_of_names_are_stopped_in_time(more: dict[str, Any]) -> None:
    judge = json_schema.with_options(schema={"patternProperties": {"^(a|aa)+$": {}}, **more}, conformance_only=True)
    started = time.process_time()
    judge(EXAMPLE, json.dumps({"a" * 60 + "!": 1}))
    assert time.process_time() - started < 5


def test_names_are_matched_as_jsonschema_does() -> None:
    rule = {"properties": {"id": {}}, "patternProperties": {"^x-": {"type": "integer"}}, "additionalProperties": False}
    judge = json_schema.with_options(schema=rule, conformance_only=True)
    answers = ['{"id": 1, "x-a": 2}', '{"x-a": "2"}', '{"y": 1}', "5"]
    assert [judge(EXAMPLE, answer).value for answer in answers] == [1, 0, 0, 1]
    assert "'y' was unexpected" in judge(EXAMPLE, '{"y": 1}').reason
    some = json_schema.with_options(schema={"additionalProperties": {"type": "integer"}}, conformance_only=True)
    assert [some(EXAMPLE, answer).value for answer in ('{"a": 1}', '{"a": "1"}')] == [1, 0]
