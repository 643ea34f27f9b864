"""Names, paths and Modelfiles with quotes, variables and ways out, in the files that start servers."""

from __future__ import annotations

import ast
import shlex
from pathlib import Path

import pytest
import yaml

from ftsdk import SpecError
from ftsdk.deploy.servers.attached import AttachedServer
from ftsdk.deploy.servers.engines import engine_named
from ftsdk.deploy.servers.ollama.modelfile import read_modelfile
from ftsdk.deploy.servers.served_models import name_models
from ftsdk.deploy.servers.vllm.files import compose_yaml, modal_app, serve_script
from ftsdk.errors import BackendError

ODD = [
    "a b",
    "it's",
    'say "hi"',
    "$HOME",
    "${HOME}",
    "$(rm -rf x)",
    "`id`",
    "line\nbreak",
    "; rm",
    "é🙂",
    "\\",
    "-x",
    "#c",
    "{{x}}",
]


@pytest.mark.parametrize("odd", ODD)
def test_a_path_arrives_as_it_is_in_every_file(odd: str) -> None:
    command = ["vllm", "serve", f"/models/{odd}", "--served-model-name", odd]
    script = serve_script(command)
    assert shlex.split(script.split("exec ", 1)[1].replace(" \\\n    ", " ")) == command
    compose = yaml.safe_load(compose_yaml(command, gpus=1, port=8000, mounts=[f"/models/{odd}:/base:ro"]))
    service = compose["services"]["vllm"]
    assert [word.replace("$$", "$") for word in service["command"]] == command[2:]
    assert service["volumes"][0].count("$") == 2 * odd.count("$")
    program = ast.parse(modal_app(command, name="x", gpu="L4", port=8000, idle_stop_s=60, has_files=False))
    listed = next(
        node for node in program.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "COMMAND"
    )  # fmt: skip
    assert ast.literal_eval(listed.value) == command


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a\n", "a b", "-x", "", "a\0b", "x" * 200, "$x", "a;b"])
def test_a_name_that_could_lead_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "m.gguf").touch()
    with pytest.raises(SpecError, match="can't be a model's name"):
        name_models({name: tmp_path / "m.gguf"}) if name else name_models({" ": tmp_path / "m.gguf"})


@pytest.mark.parametrize(
    "text",
    [
        "TEMPLATE x\n",
        "FROM ./m.gguf\nADAPTER ./other\n",
        'FROM ./m.gguf\nMESSAGE user "hi"\n',
        'FROM ./m.gguf\nSYSTEM """a\nFROM ./b"""x\n',
        "FROM ./m.gguf\nPARAMETER seed abc\n",
        "",
    ],
)
def test_a_modelfile_that_would_lose_something_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_modelfile(text)


def test_what_could_not_be_removed_is_tried_again() -> None:
    calls: list[int] = []

    def remove() -> None:
        calls.append(1)
        if len(calls) == 1:
            raise BackendError("Ollama is gone")

    server = AttachedServer("http://127.0.0.1:9/v1", {}, on_stop=remove)
    with pytest.raises(BackendError):
        server.stop(wait_s=0)
    server.stop(wait_s=0)
    server.stop(wait_s=0)
    assert len(calls) == 2


def test_together_is_refused_in_words() -> None:
    with pytest.raises(SpecError, match="an endpoint of its own"):
        engine_named("together")  # pyright: ignore[reportArgumentType]
