"""Servers that run already: vLLM and Ollama, by their wire on loopback."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from inference_servers import OllamaStandIn, OpenAIStandIn
from serving import serving
from tiny_adapters import write_adapter

from ftsdk import VLLM, BackendError, CredentialsError, Model, Ollama, SpecError, serve
from ftsdk.deploy.servers.ollama.modelfile import read_modelfile, with_context


@pytest.fixture
def models(tiny_model: Path, tmp_path: Path) -> dict[str, Model]:
    return {
        name: Model(id=str(tiny_model), adapter=str(write_adapter(tiny_model, tmp_path / name, seed=1)))
        for name in ("v3", "v4")
    }


def test_a_vllm_that_runs_is_used_and_left_running(models: dict[str, Model], tiny_model: Path) -> None:
    with serving(OpenAIStandIn([tiny_model.name, "v3", "v4"])) as vllm:
        with serve(models, engine=VLLM(url=f"{vllm.url}/v1")) as server:
            assert server.endpoint("v3").generate("Who are you?") == "I am v3"
            assert server.endpoint(models["v4"]).generate("Who are you?") == "I am v4"
            assert server.status().state == "ready"
            assert server.log is None
        assert serve(models, engine=VLLM(url=f"{vllm.url}/v1")).start().endpoint("v4").model == "v4"


def test_a_vllm_without_the_models_is_not_ready(models: dict[str, Model], tiny_model: Path) -> None:
    with serving(OpenAIStandIn([tiny_model.name, "v3"])) as vllm, pytest.raises(TimeoutError, match="it lacks v4"):
        serve(models, engine=VLLM(url=f"{vllm.url}/v1")).start(timeout_s=0.05)


def test_keys_of_a_vllm_are_those_of_the_environment(
    models: dict[str, Model], tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(OpenAIStandIn([tiny_model.name, "v3", "v4"], key="sk-0123456789abcdef")) as vllm:
        url = f"{vllm.url}/v1"
        with pytest.raises(CredentialsError, match="asks for a key; pass api_key_env="):
            serve(models, engine=VLLM(url=url)).start()
        engine = VLLM(url=url, api_key_env="MY_VLLM_KEY")
        with pytest.raises(CredentialsError, match="set the environment variable MY_VLLM_KEY"):
            serve(models, engine=engine).start()
        monkeypatch.setenv("MY_VLLM_KEY", "sk-0123456789abcdef")
        with serve(models, engine=engine) as server:
            assert server.endpoint("v3").generate("Who are you?") == "I am v3"


def test_vllm_is_not_started_from_here(models: dict[str, Model]) -> None:
    with pytest.raises(SpecError, match=r"write_files\('folder'\)"):
        serve(models, engine="vllm").start()


MODELFILE = '''FROM ./mails.q8_0.gguf
TEMPLATE """{{ .Prompt }}
FROM here on"""
PARAMETER stop "<|im_end|>"
PARAMETER stop "<|end|>"
PARAMETER temperature 0
PARAMETER num_ctx 8192
LICENSE """Apache-2.0"""
'''


def test_a_modelfile_is_read_as_it_was_written() -> None:
    parts = read_modelfile(MODELFILE)

    assert parts.source == "./mails.q8_0.gguf"
    assert parts.request("v3", "ab") == {
        "model": "v3",
        "files": {"model.gguf": "sha256:ab"},
        "template": "{{ .Prompt }}\nFROM here on",
        "license": "Apache-2.0",
        "parameters": {"stop": ["<|im_end|>", "<|end|>"], "temperature": 0, "num_ctx": 8192},
        "stream": False,
    }
    moved = with_context(MODELFILE, tokens=2048, folder="v3-export")
    assert moved.startswith("FROM ./v3-export/mails.q8_0.gguf\n")
    assert read_modelfile(moved).parameters["num_ctx"] == 2048


@pytest.fixture
def exported(tiny_model: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A folder as an export for Ollama has it."""
    from tiny_gguf import write_gguf

    pytest.importorskip("gguf", reason="the extra 'export' isn't installed")

    def write(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        write_gguf(tiny_model, folder / "mails.q8_0.gguf")
        (folder / "Modelfile").write_text(MODELFILE)
        return folder

    return write


def test_ollama_gets_what_it_lacks_and_loses_it_at_the_end(exported: Callable[[str], Path]) -> None:
    with serving(OllamaStandIn(["llama3"])) as ollama:
        with serve({"mails": exported("export")}, engine=Ollama(url=ollama.url, context_tokens=512)) as server:
            assert server.names == ("mails",)
            assert server.endpoint().generate("Who are you?") == "I am mails"
            assert [body["parameters"]["num_ctx"] for body in ollama.created] == [512]
        assert ollama.models == ["llama3"]
        assert ollama.deleted == ["mails"]


def test_a_model_that_ollama_had_stays(exported: Callable[[str], Path]) -> None:
    with serving(OllamaStandIn(["mails"])) as ollama:
        with serve({"mails": exported("export")}, engine=Ollama(url=ollama.url)) as server:
            assert server.endpoint().generate("Who are you?") == "I am mails"
        assert ollama.models == ["mails"]
        assert (ollama.created, ollama.deleted, ollama.blobs) == ([], [], {})


@pytest.mark.parametrize("is_same", [True, False])
def test_another_model_of_the_same_name_never_answers(is_same: bool, exported: Callable[[str], Path]) -> None:
    folder = exported("export")
    with serving(OllamaStandIn(["mails"])) as ollama:
        own = hashlib.sha256((folder / "mails.q8_0.gguf").read_bytes()).hexdigest()
        ollama.weights["mails"] = own if is_same else "0" * 64
        server = serve({"mails": folder}, engine=Ollama(url=ollama.url))
        if is_same:
            server.start().stop()
        else:
            with pytest.raises(SpecError, match="another model called 'mails'"):
                server.start()
        assert (ollama.models, ollama.created) == (["mails"], [])


def test_files_for_ollama_are_modelfiles_and_a_script(exported: Callable[[str], Path], tmp_path: Path) -> None:
    into = tmp_path / "ollama"

    written = serve({"mails": exported("export")}, engine=Ollama()).write_files(into)

    assert [file.name for file in written] == ["create.sh", "mails.Modelfile"]
    assert "ollama create mails -f mails.Modelfile" in (into / "create.sh").read_text()
    assert subprocess.run(["sh", "-n", str(into / "create.sh")], check=False).returncode == 0
    assert (into / read_modelfile((into / "mails.Modelfile").read_text()).source).is_file()


def test_no_ollama_is_an_error_with_the_next_step(exported: Callable[[str], Path]) -> None:
    with pytest.raises(BackendError, match=r"doesn't answer at http://127\.0\.0\.1:9 .*ollama serve"):
        serve({"mails": exported("export")}, engine=Ollama(url="http://127.0.0.1:9")).start()
