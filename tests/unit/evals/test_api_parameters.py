"""What servers take and refuse: limits, temperatures, and answers held to choices or a schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_server import ApiServer, Response, completion
from serving import serving

from ftsdk import BackendError, Endpoint, Eval
from ftsdk.evals import Choices, JsonSchema, constrained, evaluate

MakeRows = Callable[..., Any]
SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer"}},
    "required": ["n"],
    "additionalProperties": False,
}
ASK = [{"role": "user", "content": "hello"}]


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving(ApiServer()) as running:
        yield running


def refusal(message: str, *, status: int = 400, **fields: str) -> Response:
    return Response(status=status, content=json.dumps({"error": {"message": message, **fields}}).encode())


def like_a_reasoning_model(request: dict[str, Any], n: int) -> Response | None:
    if "max_tokens" in request:
        return refusal(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'.",
            param="max_tokens",
            code="unsupported_parameter",
        )
    if "temperature" in request:
        return refusal(
            "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) is supported.",
            param="temperature",
            code="unsupported_value",
        )
    return None


def test_parameters_that_a_server_refuses_by_name_are_left_out(
    server: ApiServer, make_rows: MakeRows, tmp_path: Path
) -> None:
    server.respond = like_a_reasoning_model
    item = Eval.exact_match(make_rows(*((str(n), str(n)) for n in range(10))))
    report = evaluate([item], [Endpoint(url=server.url, model="o", concurrency=1).target()], into=tmp_path)

    assert report.scores[0].correct == 10
    assert len(server.requests) == 12
    assert {"max_completion_tokens", "model", "messages"} == set(server.requests[-1])


@pytest.mark.parametrize(
    ("message", "left_out"),
    [
        ("`temperature` is deprecated for this model.", "temperature"),
        ("temperature: only the default value is supported", "temperature"),
        ("max_tokens is too large: 9. This model supports at most 4 tokens", None),
        ("the prompt is not supported", None),
    ],
)
def test_only_a_parameter_that_is_named_as_refused_is_left_out(
    server: ApiServer, message: str, left_out: str | None
) -> None:
    server.respond = lambda request, n: refusal(message) if n == 1 else None
    with Endpoint(url=server.url, model="m").open() as wire:
        if left_out is None:
            with pytest.raises(BackendError, match="refused the request"):
                wire.ask(ASK, max_new_tokens=4)
        else:
            wire.ask(ASK, max_new_tokens=4)
            assert left_out not in server.requests[-1]
    assert len(server.requests) == (1 if left_out is None else 2)


def test_a_list_of_field_errors_is_read(server: ApiServer) -> None:
    detail = [{"type": "extra_forbidden", "loc": ["body", "max_tokens"], "msg": "Extra inputs are not permitted"}]
    server.respond = lambda request, n: (
        Response(status=422, content=json.dumps({"detail": detail}).encode()) if "max_tokens" in request else None
    )
    with Endpoint(url=server.url, model="m").open() as wire:
        assert wire.ask(ASK, max_new_tokens=4).text == "hello"


def test_an_endpoint_names_its_parameters(server: ApiServer) -> None:
    endpoint = Endpoint(url=server.url, model="m", limit_parameter="max_completion_tokens", sends_temperature=False)
    with endpoint.open() as wire:
        wire.ask(ASK, max_new_tokens=4, response_format={"type": "json_object"})
    assert server.requests == [
        {
            "model": "m",
            "messages": ASK,
            "max_completion_tokens": 4,
            "response_format": {"type": "json_object"},
        }
    ]


def test_choices_are_an_object_that_is_unwrapped(server: ApiServer, make_rows: MakeRows, tmp_path: Path) -> None:
    def respond(request: dict[str, Any], n: int) -> Response:
        schema = request["response_format"]["json_schema"]["schema"]
        (name,) = schema["required"]
        assert request["response_format"]["json_schema"]["strict"] is True
        return Response(content=completion(request, json.dumps({name: schema["properties"][name]["enum"][1]})))

    server.respond = respond
    item = Eval.exact_match(make_rows(("a mail", "Rückgabe")), max_new_tokens=1)
    target = constrained(Endpoint(url=server.url, model="m").target(), choices=["billing", "Rückgabe"])
    report = evaluate([item], [target], into=tmp_path)
    assert (report.scores[0].correct, report.scores[0].unkept) == (1, 0)
    assert server.requests[0]["max_tokens"] >= len('{"answer": "Rückgabe"}')


@pytest.mark.parametrize(
    ("structured", "constraint", "fields"),
    [
        ("structured_outputs", Choices(("a", "b")), {"structured_outputs": {"choice": ["a", "b"]}}),
        ("structured_outputs", JsonSchema(SCHEMA), {"structured_outputs": {"json": SCHEMA}}),
        ("guided", Choices(("a", "b")), {"guided_choice": ["a", "b"]}),
        ("guided", JsonSchema(SCHEMA), {"guided_json": SCHEMA}),
    ],
)
def test_other_servers_get_parameters_of_their_own(
    server: ApiServer, structured: Any, constraint: Choices | JsonSchema, fields: dict[str, Any]
) -> None:
    with Endpoint(url=server.url, model="m", structured=structured).open() as wire:
        assert wire.constrained(constraint).generate([ASK], max_new_tokens=4) == ["hello"]
        assert fields.items() <= server.requests[-1].items()
        wire.generate([ASK], max_new_tokens=4)
        assert not fields.keys() & server.requests[-1].keys()


@pytest.mark.parametrize("rule", [{"choices": ["yes", "no"]}, {"schema": SCHEMA}])
def test_answers_that_ignore_a_constraint_are_counted(
    server: ApiServer, make_rows: MakeRows, tmp_path: Path, rule: dict[str, Any]
) -> None:
    item = Eval.exact_match(make_rows(("yes", "yes"), ("maybe", "no"), ('{"n": 1}', "x"), ('{"n": "1"}', "x")))
    target = constrained(Endpoint(url=server.url, model="m").target("api"), **rule)
    report = evaluate([item], [target], into=tmp_path)
    assert report.scores[0].unkept == 3
    assert f"3 of 4 answers of {target.name} don't keep to its choices or schema" in str(report)


def test_a_server_without_schemas_has_a_clear_refusal(server: ApiServer, make_rows: MakeRows, tmp_path: Path) -> None:
    server.respond = lambda request, n: refusal("response_format: this response_format type is unavailable")
    target = constrained(Endpoint(url=server.url, model="m").target(), schema=SCHEMA)
    item = Eval.exact_match(make_rows(*((str(n), str(n)) for n in range(40))))
    with pytest.raises(BackendError, match="structured_outputs") as caught:
        evaluate([item], [target], into=tmp_path)
    assert "unavailable" in str(caught.value)
    assert len(server.requests) <= 16


def test_a_refusal_in_words_is_the_answer(server: ApiServer) -> None:
    body = {"choices": [{"message": {"content": None, "refusal": "I can't help with that."}}]}
    server.respond = lambda request, n: Response(content=json.dumps(body).encode())
    with Endpoint(url=server.url, model="m").open() as wire:
        assert wire.ask(ASK, max_new_tokens=4).text == "I can't help with that."


def test_reasoning_in_the_total_only_is_counted(server: ApiServer) -> None:
    body = {
        "choices": [{"message": {"content": "x"}}],
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 107},
    }
    server.respond = lambda request, n: Response(content=json.dumps(body).encode())
    with Endpoint(url=server.url, model="m").open() as wire:
        assert wire.ask(ASK, max_new_tokens=4).output_tokens == 102


@pytest.mark.parametrize(
    ("schema", "unkept"),
    [
        ({"$ref": "http://127.0.0.1:9/schema.json"}, 0),
        ({"$ref": "#/nothing"}, 0),
        ({"properties": {"n": {"multipleOf": 0.1}}}, 1),
        ({"patternProperties": {"^(n|nn)+$": False}}, 1),
    ],
)
def test_answers_are_held_against_any_schema_offline(
    server: ApiServer, make_rows: MakeRows, tmp_path: Path, schema: dict[str, Any], unkept: int
) -> None:
    item = Eval.exact_match(make_rows(('{"n": 1e400}', "x")), max_new_tokens=32)
    target = constrained(Endpoint(url=server.url, model="m").target("api"), schema=schema)
    assert evaluate([item], [target], into=tmp_path).scores[0].unkept == unkept
