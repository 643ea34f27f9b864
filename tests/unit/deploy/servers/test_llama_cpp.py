"""A real llama.cpp with two adapters: each answer is of the model that was asked for, and nothing is left running."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("xllamacpp", reason="the extra 'export' isn't installed")

from ftsdk import BackendError, CredentialsError, Model, RunNotReadyError, SpecError
from ftsdk.deploy.servers import LlamaCpp, Server, serve, servers, stop_server
from ftsdk.runfolder.lock import is_held

PROMPTS = ["book a flight to rome for two people " * n for n in (1, 2, 3)] + [
    "what is the weather " * n for n in (1, 3)
]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def ftsdk_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One for the module, so that adapters are written as GGUF once."""
    monkeypatch.setenv("FTSDK_HOME", str(home))
    return home


@pytest.fixture(scope="module")
def running(two_models: dict[str, Model], home: Path) -> Iterator[Server]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FTSDK_HOME", str(home))
        with serve(two_models, engine=LlamaCpp(threads=1, context_tokens=256, parallel=2)) as server:
            yield server


def tokens(server: Server, model: str, prompt: str, **fields: Any) -> list[int]:
    body = {"model": model, "prompt": prompt, "n_predict": 8, "temperature": 0, "return_tokens": True, **fields}
    answer = httpx.post(server.endpoint(model).url.removesuffix("/v1") + "/completion", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json()["tokens"]


def chat(server: Server, model: str, **fields: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "book a flight"}], "max_tokens": 6, **fields}
    return httpx.post(f"{server.endpoint('mails-v3').url}/chat/completions", json=body, timeout=60)


@pytest.fixture(scope="module")
def expected(running: Server) -> dict[tuple[str, str], list[int]]:
    """Answers that no cache has a part in."""
    return {
        (model, prompt): tokens(running, model, prompt, cache_prompt=False)
        for model in running.names
        for prompt in PROMPTS
    }


def test_models_answer_differently_and_the_base_is_one_of_them(expected: dict[tuple[str, str], list[int]]) -> None:
    assert all(
        len({tuple(answer) for (_, asked), answer in expected.items() if asked == prompt}) == 3 for prompt in PROMPTS
    )


@pytest.mark.parametrize(
    "order",
    [
        ["mails-v3", "mails-v4", "tiny.gguf"],
        ["mails-v3", "tiny.gguf", "mails-v3"],
        ["mails-v4", "tiny.gguf", "mails-v3"],
        ["tiny.gguf", "mails-v4", "mails-v3", "mails-v3"],
    ],
)
def test_no_adapter_answers_from_the_cache_of_another(
    running: Server, expected: dict[tuple[str, str], list[int]], order: list[str]
) -> None:
    for model in order:
        assert tokens(running, model, PROMPTS[1]) == expected[model, PROMPTS[1]], model


@pytest.mark.parametrize("times", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_concurrent_requests_never_mix_answers(
    running: Server, expected: dict[tuple[str, str], list[int]], times: int
) -> None:
    chance = random.Random(0)
    asked = [(chance.choice(running.names), chance.choice(PROMPTS)) for _ in range(times)]

    with ThreadPoolExecutor(12) as pool:
        found = list(pool.map(lambda one: tokens(running, *one), asked))

    assert [answer == expected[one] for one, answer in zip(asked, found, strict=True)] == [True] * len(asked)


def test_streams_pass_through_under_the_name_that_was_asked_for(running: Server) -> None:
    whole = chat(running, "mails-v3", temperature=0).json()
    streamed = chat(running, "mails-v3", temperature=0, stream=True)

    assert streamed.headers["content-type"] == "text/event-stream"
    assert streamed.text.endswith("data: [DONE]\n\n")
    events = [json.loads(line[6:]) for line in streamed.text.splitlines() if line.startswith("data: {")]
    assert {event["model"] for event in events} == {"mails-v3"} == {whole["model"]}
    assert len(events) > 3  # one after the other
    parts = [event["choices"][0]["delta"].get("content") or "" for event in events if event["choices"]]
    # A letter of which only a part came is missing in a stream.
    assert "".join(parts) == whole["choices"][0]["message"]["content"].rstrip("\ufffd")


def test_answers_keep_to_a_json_schema(running: Server) -> None:
    schema = {
        "type": "object",
        "properties": {"ok": {"enum": [True]}},
        "required": ["ok"],
        "additionalProperties": False,
    }
    form = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}

    answer = chat(running, "mails-v4", response_format=form, max_tokens=60).json()["choices"][0]["message"]["content"]

    assert answer.lstrip().startswith("{")
    if answer.rstrip().endswith("}"):  # a random model may pad it with blanks up to the limit
        assert json.loads(answer) == {"ok": True}


def test_unknown_models_are_refused_with_the_names_there_are(running: Server) -> None:
    answer = chat(running, "mails-v9")

    assert answer.status_code == 404
    assert "it has 'tiny.gguf', 'mails-v3', 'mails-v4'" in answer.json()["error"]["message"]
    listed = httpx.get(f"{running.endpoint('mails-v3').url}/models").json()["data"]
    assert [one["id"] for one in listed] == list(running.names)


def test_scales_cannot_be_set_by_clients(running: Server) -> None:
    root = running.endpoint("mails-v3").url.removesuffix("/v1")

    assert httpx.post(f"{root}/lora-adapters", json=[{"id": 0, "scale": 1.0}]).status_code == 404
    assert chat(running, "mails-v3", lora=[]).status_code == 400


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"Content-Type": "text/plain"}, 415), ({"Content-Type": "application/json", "Host": "evil.example:80"}, 403)],
)
def test_pages_in_a_browser_cannot_ask(running: Server, headers: dict[str, str], status: int) -> None:
    address = f"{running.endpoint('mails-v3').url}/chat/completions"

    assert httpx.post(address, content=b"{}", headers=headers).status_code == status


def test_metrics_and_health_are_those_of_llama_cpp(running: Server, expected: object) -> None:
    root = running.endpoint("mails-v3").url.removesuffix("/v1")

    assert httpx.get(f"{root}/health").json() == {"status": "ok"}
    assert "llamacpp:prompt_tokens_total" in httpx.get(f"{root}/metrics").text


def test_llama_cpp_itself_takes_requests_of_the_front_alone(running: Server) -> None:
    assert running.log is not None
    inner = [
        line.rsplit("http://", 1)[1].split()[0] for line in running.log.read_text().splitlines() if "listening" in line
    ]

    assert inner
    assert httpx.get(f"http://{inner[0]}/v1/models").status_code == 401


def test_an_endpoint_is_one_for_evals_and_chats(running: Server, two_models: dict[str, Model]) -> None:
    endpoint = running.endpoint(two_models["mails-v3"])

    assert endpoint.model == "mails-v3"
    assert endpoint.generate("book a flight to rome", max_new_tokens=4)
    with pytest.raises(SpecError, match=r"name one: tiny\.gguf, mails-v3, mails-v4"):
        running.endpoint()
    with pytest.raises(SpecError, match="'other' isn't served here"):
        running.endpoint("other")


def test_a_server_is_on_record_and_stops_for_sure(two_models: dict[str, Model], home: Path) -> None:
    server = serve({"v3": two_models["mails-v3"]}, engine=LlamaCpp(threads=1, context_tokens=64, parallel=1))
    assert server.status().state == "gone"
    with pytest.raises(RunNotReadyError, match="isn't running"):
        server.endpoint()

    with server:
        assert server.status().state == "ready"
        found = [record for record in servers() if record.models == ("tiny.gguf", "v3")]
        assert [record.owner_pid for record in found] == [os.getpid()]
        url = server.endpoint().url

    assert server.status().state == "gone"
    assert server.status().reason == ""
    assert not [record for record in servers() if record.name == found[0].name]
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/models")
    server.stop()  # twice does nothing
    with pytest.raises(SpecError, match="started before"):
        server.start()


_PARENT = """
import sys, time
from ftsdk import Model
from ftsdk.deploy.servers import LlamaCpp, serve
model = Model(id=sys.argv[1], adapter=sys.argv[2])
server = serve({"v3": model}, engine=LlamaCpp(threads=1, context_tokens=64)).start()
print(server.endpoint().url, flush=True)
time.sleep(600)
"""


@contextlib.contextmanager
def parent_of_a_server(model: Model) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-c", _PARENT, model.id, str(model.adapter)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert parent.stdout is not None
        yield parent, parent.stdout.readline().strip()
    finally:
        parent.kill()
        parent.communicate()


def wait_until_gone(folder: Path) -> bool:
    for _ in range(1000):
        if not is_held(folder):
            return True
        time.sleep(0.02)
    return False


def test_a_server_dies_with_a_parent_that_was_killed(two_models: dict[str, Model], home: Path) -> None:
    with parent_of_a_server(two_models["mails-v3"]) as (parent, url):
        assert httpx.get(f"{url}/models").status_code == 200
        [record] = [record for record in servers() if record.owner_pid == parent.pid]

        parent.send_signal(signal.SIGKILL)
        parent.wait()

        assert wait_until_gone(home / "servers" / "running" / record.name)
    with pytest.raises(httpx.HTTPError):
        httpx.get(f"{url}/models")


def test_any_process_can_stop_a_server(two_models: dict[str, Model], home: Path) -> None:
    with parent_of_a_server(two_models["mails-v3"]) as (parent, url):
        [record] = [record for record in servers() if record.owner_pid == parent.pid]

        stop_server(record.name)

        assert not is_held(home / "servers" / "running" / record.name)
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"{url}/models")
    with pytest.raises(SpecError, match="no server 'llama-none'"):
        stop_server("llama-none")


def test_a_start_that_fails_shows_the_log_and_leaves_nothing(tiny_gguf: Path, tmp_path: Path) -> None:
    # Whole as far as its header goes, and without a tokenizer that llama.cpp knows.
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny_gguf.read_bytes().replace(b"gpt-2", b"gpt-?"))

    with pytest.raises(BackendError, match=r"(?s)llama\.cpp ended with status .*unknown pre-tokenizer type") as failed:
        serve(broken, engine=LlamaCpp(threads=1)).start()

    assert "log.txt" in str(failed.value)
    assert not [record for record in servers() if "broken" in record.models]


def test_clients_need_the_key_that_the_server_was_given(
    two_models: dict[str, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = LlamaCpp(threads=1, context_tokens=64, parallel=1, api_key_env="MY_SERVER_KEY")
    with pytest.raises(CredentialsError, match="MY_SERVER_KEY"):
        serve({"v3": two_models["mails-v3"]}, engine=engine).start()

    monkeypatch.setenv("MY_SERVER_KEY", "sk-of-this-test-0123456789")
    with serve({"v3": two_models["mails-v3"]}, engine=engine) as server:
        endpoint = server.endpoint()
        assert httpx.get(f"{endpoint.url}/models").status_code == 401
        assert endpoint.generate("book a flight", max_new_tokens=4)
        assert server.log is not None
        kept = [path for path in server.log.parent.iterdir() if path.is_file()]
        assert not [path for path in kept if b"sk-of-this-test" in path.read_bytes()]
