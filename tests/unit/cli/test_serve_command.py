"""`ftsdk serve`: the plan, the files, and a server until it is interrupted."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from ftsdk.cli.app import app


def run(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["serve", *words])
    return result.exit_code, result.output + (str(result.exception) if result.exception else "")


def test_a_plan_starts_nothing_and_is_json_on_request(tiny_model: Path, ftsdk_home: Path) -> None:
    code, text = run(f"mails={tiny_model}", "--plan")
    assert (code, "model    mails: " in text) == (0, True)
    code, text = run(str(tiny_model), "--plan", "--json", "--engine", "vllm")
    assert json.loads(text)["engine"] == "vLLM"
    assert not (ftsdk_home / "servers").exists()


def test_files_are_written_and_named(tiny_model: Path, tmp_path: Path) -> None:
    code, text = run(f"mails={tiny_model}", "--engine", "vllm", "--port", "9000", "--write", str(tmp_path / "served"))

    assert code == 0
    assert "serve.sh" in text
    assert "--port 9000" in (tmp_path / "served" / "serve.sh").read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--engine", "vlm"], "no engine 'vlm'"),
        (["--engine", "llama.cpp", "--url", "http://127.0.0.1:1/v1"], "--url isn't for the engine llama.cpp"),
        (["--budget-usd", "5"], "budget_usd is for engines that bill"),
        (["b=x", "a"], "name all models or none"),
    ],
)
def test_mistakes_are_refused_in_words(tiny_model: Path, words: list[str], message: str) -> None:
    code, text = run(str(tiny_model), *words)

    assert code != 0
    assert message in text


@contextlib.contextmanager
def served(*words: str) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "COLUMNS": "400"}
    process = subprocess.Popen(
        [sys.executable, "-m", "ftsdk", "serve", *words], stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_server_runs_until_it_is_interrupted(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="the extra 'export' isn't installed")
    from tiny_gguf import write_gguf

    file = write_gguf(tiny_model, tmp_path / "mails.gguf")
    with served(str(file)) as process:
        assert process.stdout is not None
        line = next(line for line in process.stdout if line.startswith("http://"))
        url = line.split()[0]
        assert [one["id"] for one in httpx.get(f"{url}/models").json()["data"]] == ["mails"]

        process.send_signal(signal.SIGINT)

        assert process.wait() == 0
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{url}/models")


def test_a_server_that_was_stopped_from_elsewhere_says_so(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="the extra 'export' isn't installed")
    from tiny_gguf import write_gguf

    file = write_gguf(tiny_model, tmp_path / "mails.gguf")
    with served(str(file)) as process:
        assert process.stdout is not None
        url = next(line for line in process.stdout if line.startswith("http://")).split()[0]
        listed = CliRunner().invoke(app, ["deployments"]).stdout
        assert f"at {url}" in listed
        assert CliRunner().invoke(app, ["stop", listed.split()[0]]).exit_code == 0
        assert "stopped by `ftsdk stop`" in process.stdout.read()
        assert process.wait() == 0
