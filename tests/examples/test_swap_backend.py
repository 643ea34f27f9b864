"""The example with one job and three places runs as a reader runs it: a process of its own, with no account."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ftsdk.backends.registry import backend_names

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
EXAMPLE = PROJECT / "examples" / "swap_backend.py"
NEEDS_TOGETHER = pytest.mark.skipif(
    importlib.util.find_spec("together") is None, reason="the extra 'together' isn't installed"
)


def run_example(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    command = [sys.executable, str(EXAMPLE), *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_without_arguments_it_shows_a_plan_for_each_backend(tmp_path: Path) -> None:
    done = run_example(folder=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    parts = dict(part.split(" ---\n", 1) for part in done.stdout.split("--- ")[1:])
    assert list(parts) == ["local", "together", "modal"]
    for name, part in parts.items():
        if name in backend_names():
            assert f"Backend  {name}\nModel    Qwen/Qwen3.5-0.8B\n" in part
        else:
            assert part.startswith(f"No backend {name!r} is installed; available: ")
    assert list(tmp_path.iterdir()) == []


@NEEDS_TOGETHER
def test_the_whole_job_runs_against_the_stand_in(tmp_path: Path, ftsdk_home: Path) -> None:
    done = run_example("together", "--stand-in", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "step 90/90" in done.stderr
    assert "validation loss" in done.stderr
    assert "Price: $4.00." in done.stdout
    assert "The adapter for Qwen/Qwen3.5-0.8B is in " in done.stdout
    assert ": adapter_config.json, adapter_model.safetensors, manifest.json\n" in done.stdout
    assert "has 1 job. All of it is removed now." in done.stdout
    assert not ftsdk_home.exists()


def test_without_a_key_it_says_so_and_offers_the_stand_in(tmp_path: Path, ftsdk_home: Path) -> None:
    done = run_example("together", "--run", folder=tmp_path)
    assert done.returncode == 1
    assert "TOGETHER_API_KEY" in done.stderr
    assert "python examples/swap_backend.py together --stand-in" in done.stderr
    assert "Traceback" not in done.stderr
    assert not ftsdk_home.exists()


@pytest.mark.skipif("modal" in backend_names(), reason="it is installed here")
def test_a_backend_that_is_not_installed_is_named(tmp_path: Path) -> None:
    done = run_example("modal", "--run", folder=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"No backend 'modal' is installed; available: {', '.join(backend_names())}.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--run"], "--run needs a backend"), (["local", "--stand-in"], "stands in for together")],
)
def test_arguments_that_make_no_sense_are_refused(arguments: list[str], message: str, tmp_path: Path) -> None:
    done = run_example(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr


def test_every_example_is_run_by_a_test_or_by_a_session_of_nox() -> None:
    sessions = (PROJECT / "noxfile.py").read_text(encoding="utf-8")
    not_run = [
        path.name
        for path in PROJECT.glob("examples/*.py")
        if not (HERE / f"test_{path.name}").is_file() and f'"examples/{path.name}"' not in sessions
    ]
    assert not_run == []
