"""Requests to several adapters: who answers is chosen by name, and every adapter's scale is written out."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk.deploy.servers.llama_cpp.request import Refusal, error_body, renamed, renamed_line, rewritten

MODELS = {"base": None, "mails-v3": 0, "mails-v4": 1}


def sent(**fields: object) -> bytes:
    return json.dumps(fields).encode()


@pytest.mark.parametrize(
    ("model", "scales"), [("base", [0.0, 0.0]), ("mails-v3", [1.0, 0.0]), ("mails-v4", [0.0, 1.0])]
)
def test_every_adapter_has_its_scale(model: str, scales: list[float]) -> None:
    request = rewritten(sent(model=model, messages=[], response_format={"type": "json_object"}), MODELS)

    body = json.loads(request.content)
    assert body["lora"] == [{"id": n, "scale": scale} for n, scale in enumerate(scales)]
    assert body["response_format"] == {"type": "json_object"}
    assert request.model == model


@pytest.mark.parametrize(
    ("content", "status", "words"),
    [
        (sent(model="mails-v5", messages=[]), 404, "it has 'base', 'mails-v3', 'mails-v4'; did you mean 'mails-v"),
        (sent(messages=[]), 400, "'model' is missing; this server has 'base'"),
        (sent(model=["mails-v3"]), 404, "no model"),
        (sent(model="mails-v3", lora=[{"id": 1, "scale": 1}]), 400, "'lora' can't be sent"),
        (sent(model="mails-v3", lora=[]), 400, "'lora' can't be sent"),
        (b"{", 400, "isn't JSON"),
        (b"[1]", 400, "JSON object"),
        (b"[" * 100_000, 400, "isn't JSON"),
        (b"\xff", 400, "isn't JSON"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_words(content: bytes, status: int, words: str) -> None:
    with pytest.raises(Refusal) as refused:
        rewritten(content, MODELS)

    assert refused.value.status == status
    assert words in json.loads(error_body(refused.value))["error"]["message"]


@given(st.dictionaries(st.text(min_size=1), st.none(), min_size=1, max_size=8), st.data())
def test_exactly_one_adapter_or_none_is_on(names: dict[str, None], data: st.DataObject) -> None:
    models: dict[str, int | None] = {name: n - 1 if n else None for n, name in enumerate(names)}
    model = data.draw(st.sampled_from(list(models)))

    lora = json.loads(rewritten(sent(model=model), models).content)["lora"]

    assert [one["id"] for one in lora] == list(range(len(models) - 1))
    assert [one["id"] for one in lora if one["scale"]] == ([] if models[model] is None else [models[model]])


def test_answers_have_the_name_that_was_asked_for() -> None:
    assert json.loads(renamed(b'{"model": "/x/base.gguf", "n": 1}', "mails-v3")) == {"model": "mails-v3", "n": 1}
    assert renamed_line(b'data: {"model": "/x/base.gguf"}\n', "v3") == b'data: {"model": "v3"}\n'
    for other in (b"data: [DONE]\n", b"\n", b": ping\n", b"data: {broken\n", b"event: x\n"):
        assert renamed_line(other, "v3") in (other, other.rstrip() + b"\n")
