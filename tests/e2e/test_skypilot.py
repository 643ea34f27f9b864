"""Runs as managed jobs: machines that are taken away, and a real API server of SkyPilot (--slow).

SkyPilot's pins don't fit beside ours, so FTSDK_SKYPILOT names the `bin` folder of its own environment.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conformance_samples import HostedSamples
from paper_trainer import STEP_S, paper_weights, read_weights
from skypilot_stand_in import SkyPilotStandIn

from ftsdk.backends.hosted.worker import REQUEST
from ftsdk.backends.launchers.skypilot.launcher import SkyPilotLauncher
from ftsdk.backends.launchers.skypilot.options import Options
from ftsdk.backends.skypilot import SkyPilot
from ftsdk.errors import BackendError
from ftsdk.protocol import CheckpointEvent, StateEvent

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]


class Samples(HostedSamples):
    def __init__(self, tiny: Path, folder: Path) -> None:
        self.tiny, self.folder = tiny, folder  # type: ignore[misc]


def wait_for(what: Any, *, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it didn't happen in time"
        time.sleep(0.1)


def test_a_run_goes_on_from_its_checkpoint_when_its_machine_was_taken_away(
    skypilot_stand_in: SkyPilotStandIn,
    paper_trainer: Path,
    model_of_headers: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(STEP_S, "0.1")
    backend = SkyPilot(
        server=skypilot_stand_in.address,
        storage=(tmp_path / "kept").as_uri(),
        gpus=0,
        setup=["true"],
        python=sys.executable,
        look_s=0.2,
        trainer="paper",
    )
    spec = Samples(model_of_headers, tmp_path).make_spec().replace(max_steps=30, checkpoint_steps=5, epochs=100)
    ref = backend.submit(backend.plan(spec), key="taken")

    def checkpoints() -> list[int]:
        return [event.step for event in backend.events(ref) if isinstance(event, CheckpointEvent)]

    wait_for(lambda: len(checkpoints()) >= 2)
    skypilot_stand_in.preempt("taken")
    wait_for(lambda: backend.status(ref).is_terminal)
    status = backend.status(ref)
    assert (status.state, status.attempts) == ("succeeded", 2)
    starts = [e.native for e in backend.events(ref) if isinstance(e, StateEvent) and e.native.startswith("attempt")]
    assert len(starts) == 2
    assert checkpoints() == sorted(set(checkpoints()))
    artifact = backend.collect(ref, tmp_path / "got")
    assert read_weights(artifact.path) == paper_weights(30)
    assert [job.recoveries for job in skypilot_stand_in.jobs] == [1]


def why_no_server() -> str:
    folder = os.environ.get("FTSDK_SKYPILOT", "")
    return (
        "" if folder and Path(folder, "sky").exists() else "FTSDK_SKYPILOT doesn't name the `bin` folder of a SkyPilot"
    )


@pytest.fixture(scope="module")
def api_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real API server with a home of its own, in which no cloud is set up."""
    if why_no_server():
        pytest.skip(f"no SkyPilot can be started here: {why_no_server()}")
    home = tmp_path_factory.mktemp("sky")
    (home / ".sky").mkdir()
    (home / ".sky" / "config.yaml").write_text("jobs: {controller: {consolidation_mode: true}}\n")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    folder = os.environ["FTSDK_SKYPILOT"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "SKYPILOT"))}
    environment |= {
        "HOME": str(home),
        "PATH": f"{folder}:{os.environ['PATH']}",
        "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
        "SKYPILOT_API_SERVER_LOCAL_PORT": str(port),
        "SKYPILOT_API_SERVER_ENDPOINT": address,
    }
    log = (home / "server.log").open("wb")
    server = subprocess.Popen(
        [f"{folder}/python", "-m", "sky.server.server", "--host=127.0.0.1", f"--port={port}"],
        env=environment,
        cwd=home,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )

    def is_up() -> bool:
        assert server.poll() is None, (home / "server.log").read_text()[-3000:]
        try:
            return httpx.get(f"{address}/api/health", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    try:
        wait_for(is_up, seconds=300)
        yield address
    finally:
        end_all_below(home)
        server.wait(timeout=60)
        log.close()


def end_all_below(home: Path) -> None:
    """End the server and its controllers, which have sessions of their own: all that have this home."""
    for sign in ("-TERM", "-KILL"):
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if f"HOME={home}".encode() in (process / "environ").read_bytes().split(b"\0"):
                    subprocess.run(["kill", sign, process.name], check=False, capture_output=True)
            except OSError:
                continue
        time.sleep(3)


@pytest.mark.slow
def test_a_real_server_takes_jobs_in_and_says_why_it_cannot_run_them(api_server: str, tmp_path: Path) -> None:
    launcher = SkyPilotLauncher(
        Options(server=api_server, storage=str(tmp_path), gpus=0, cloud="slurm", look_s=0), launch_s=300
    )
    launcher.files("real").write(REQUEST, b"{}")
    assert launcher.answer(timeout_s=120).startswith("SkyPilot 0.14")
    task = {"resources": {"infra": "slurm"}, "num_nodes": 1, "envs": {"A": "1"}, "setup": "true"}
    request = {"python": "python3", "storage": str(tmp_path), "task": task, "secrets": []}
    assert launcher.list_orphans({}) == []
    if shutil.which("rsync") is None:
        # It fails half-way, and what it left in the queue is cancelled.
        with pytest.raises(BackendError, match="rsync"):
            launcher.start("real", request)
        assert not launcher.is_running("real")
        assert [job.state for job in launcher._jobs.find("real")] == ["CANCELLED"]
        return
    assert launcher.start("real", request)
    wait_for(lambda: not launcher.is_running("real"), seconds=600)
    assert [job.state for job in launcher._jobs.find("real")] == ["FAILED_PRECHECKS"]
    with pytest.raises(BackendError, match="SkyPilot may not use that place; run `sky check`"):
        launcher.start("real", request)
    launcher.stop("real")
    assert len(launcher._jobs.find("real")) == 1
    assert launcher.list_orphans({"real": "failed"}) == []
    # A task that SkyPilot refuses.
    launcher.files("wrong").write(REQUEST, b"{}")
    with pytest.raises(BackendError, match="SkyPilot says"):
        launcher.start("wrong", {**request, "task": {**task, "no_such_key": 1}})
    assert not launcher.is_running("wrong")
