"""Runs on a machine that is reached through ssh: kills, lost connections, and errors that say what to do."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loopback_sshd import LoopbackSSH
from paper_runs import ends_as_if_uninterrupted, paper_job, until

from ftsdk import SSH, BackendError, CredentialsError, Run, RunNotFoundError, Slurm, SpecError, runs
from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.launchers.remote.channel import Channel, close_channels, ssh_command
from ftsdk.protocol import RunRef, StepEvent
from ftsdk.run.ledger import Ledger
from ftsdk.runfolder import lock

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("paper_trainer"), pytest.mark.timeout(3600)]
MOMENTS = pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.slow)])


@pytest.fixture
def box(ssh_on_loopback: LoopbackSSH) -> Iterator[LoopbackSSH]:
    """The other machine, with no runs."""
    shutil.rmtree(ssh_on_loopback.home, ignore_errors=True)
    ssh_on_loopback.home.mkdir()
    yield ssh_on_loopback
    close_channels()


def over_ssh(box: LoopbackSSH, **options: Any) -> SSH:
    return SSH(**{"host": "box", "gpus": 0, "python": sys.executable, "ssh": box.ssh, "trainer": "paper", **options})


def folder_of(box: LoopbackSSH, run: Run) -> Path:
    return box.home / ".local" / "share" / "ftsdk" / "runs" / run.ref.partition(":")[2]


def test_a_run_needs_no_file_of_this_machine(box: LoopbackSSH, model_of_headers: Path, ftsdk_home: Path) -> None:
    run = paper_job(model_of_headers, over_ssh(box)).submit()
    ends_as_if_uninterrupted(run, steps=12)
    there = folder_of(box, run)
    assert (there / "inputs" / "model" / "model" / "config.json").is_file()
    assert (there / "data" / "train.arrow").is_file()
    assert not (ftsdk_home / "runs" / there.name / "events.jsonl").exists()


@MOMENTS
def test_a_worker_killed_at_random_moments_ends_with_the_same_weights(
    box: LoopbackSSH, model_of_headers: Path, times: int, paper_trainer: Path
) -> None:
    moments = random.Random(20261128)
    steps = 30 * times
    before = len(paper_trainer.read_text().splitlines())
    run = paper_job(model_of_headers, over_ssh(box), steps=steps).submit()
    folder, killed = folder_of(box, run), 0
    while killed < times and not run.status().is_terminal:
        enough = len(run.events()) + moments.randint(1, 6)
        until(lambda enough=enough: len(run.events()) >= enough or run.status().is_terminal)
        holder = lock.holder_of(folder)
        if holder is None:
            continue
        os.killpg(holder[1], signal.SIGKILL)
        killed += 1
        until(lambda: not lock.is_held(folder))
        run.resume()
    ends_as_if_uninterrupted(run, steps=steps)
    assert killed >= 1
    assert len(paper_trainer.read_text().splitlines()) - before == killed + 1
    until(lambda: lock.holder_of(folder) is None)


CLIENT = """
import sys
sys.path[:0] = [sys.argv[1]]
from pathlib import Path
from paper_runs import paper_job
from ftsdk import SSH
box = SSH(host="box", gpus=0, python=sys.executable, ssh=("-F", sys.argv[3]), trainer="paper")
paper_job(Path(sys.argv[2]), box, steps=20).submit().wait(progress=False)
"""


@MOMENTS
def test_a_client_killed_at_random_moments_starts_nothing_twice(
    box: LoopbackSSH, model_of_headers: Path, times: int, paper_trainer: Path
) -> None:
    moments = random.Random(7)
    support = str(Path(__file__).parents[1] / "support")
    before = len(paper_trainer.read_text().splitlines())
    for _ in range(times):
        known = len(Ledger().entries())
        client = subprocess.Popen(
            [sys.executable, "-c", CLIENT, support, str(model_of_headers), box.ssh[1]],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda known=known, client=client: len(Ledger().entries()) > known or client.poll() is not None)
        time.sleep(moments.uniform(0.0, 0.5))
        client.kill()
        client.wait()
    for run in runs():
        ends_as_if_uninterrupted(run, steps=20)
        until(lambda run=run: lock.holder_of(folder_of(box, run)) is None)
    assert len(runs()) == times
    assert len(paper_trainer.read_text().splitlines()) - before == times


@pytest.mark.parametrize(
    "call", ["start", *(pytest.param(call, marks=pytest.mark.slow) for call in ("write", "write_part", "is_running"))]
)
def test_a_submission_whose_connection_is_lost_is_tried_again(
    box: LoopbackSSH, model_of_headers: Path, call: str
) -> None:
    job = paper_job(model_of_headers, over_ssh(box), steps=5)
    backend, plan = over_ssh(box), job.plan()
    job.to_yaml()  # puts the rows into the store
    with box.failing(f"cut-{call}"), pytest.raises(BackendError, match="can't be reached through ssh") as caught:
        backend.submit(plan, key="cut")
    assert caught.value.retryable
    ref = backend.submit(plan, key="cut")
    until(lambda: backend.status(ref).is_terminal)
    assert backend.status(ref).state == "succeeded"
    # A second worker may have started, if the first had ended by then; it has nothing to train.
    assert [event.step for event in backend.events(ref) if isinstance(event, StepEvent)] == [1, 2, 3, 4, 5]


def test_a_connection_that_was_lost_is_made_again(box: LoopbackSSH) -> None:
    backend, ref = over_ssh(box), RunRef(backend="ssh", id="a-run")
    with pytest.raises(RunNotFoundError):
        backend.status(ref)
    channel: Channel = backend._launcher._channel  # type: ignore[attr-defined]
    assert channel._process is not None
    os.killpg(channel._process.pid, signal.SIGKILL)
    with pytest.raises(RunNotFoundError):
        backend.status(ref)


@pytest.mark.parametrize(
    ("options", "kind", "said"),
    [
        ({"host": "stranger"}, CredentialsError, "until `ssh stranger true` works by itself"),
        ({"host": "changed"}, CredentialsError, "check the key with its owner"),
        ({"host": "closed"}, BackendError, "Connection refused"),
        ({"python": "/no/such/python"}, BackendError, "can't run the interpreter"),
        ({"python": "/bin/echo"}, BackendError, "can't be reached through ssh, or the connection was lost"),
    ],
    ids=["key", "host-key", "port", "python", "echo"],
)
def test_a_machine_that_can_not_be_used_says_what_to_do(
    box: LoopbackSSH, options: dict[str, str], kind: type[Exception], said: str
) -> None:
    backend = over_ssh(box, **options)
    with pytest.raises(kind, match=said):
        backend.status(RunRef(backend="ssh", id="a-run"))


def test_an_interpreter_without_ftsdk_is_named(box: LoopbackSSH, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\nexport PYTHONPATH=\nexec /usr/bin/env python3 -I -S "$@"\n')
    python.chmod(0o700)
    with pytest.raises(BackendError, match=r'has no ftsdk .*pip install "ftsdk\[local\]==') as caught:
        over_ssh(box, python=str(python)).status(RunRef(backend="ssh", id="a-run"))
    assert not caught.value.retryable


def test_a_machine_that_answers_nonsense_or_nothing_is_an_error(box: LoopbackSSH) -> None:
    with box.failing("garbage"), pytest.raises(BackendError, match="connection was lost"):
        over_ssh(box).status(RunRef(backend="ssh", id="a-run"))
    command = ssh_command("box", sys.executable, box.ssh)
    silent = Channel(command, host="box", opening={"kind": "local", "options": {}}, hello_s=1.0)
    with box.failing("timeout"), pytest.raises(BackendError, match="it doesn't answer") as caught:
        silent.call("is_running", run_id="a-run")
    assert caught.value.retryable


@pytest.mark.parametrize(
    "host", ["-oProxyCommand=touch pwned", "a b", "box;touch pwned", "$(touch pwned)", "", "box\n"]
)
def test_a_host_that_is_no_name_is_refused(host: str) -> None:
    with pytest.raises(SpecError, match="isn't a machine's name"):
        SSH(host=host)


def test_an_interpreter_with_a_hostile_name_is_a_name(box: LoopbackSSH, tmp_path: Path) -> None:
    folder = tmp_path / "a b'c $(touch pwned) ; touch pwned"
    folder.mkdir()
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o700)
    with pytest.raises(RunNotFoundError):
        over_ssh(box, python=str(python)).status(RunRef(backend="ssh", id="a-run"))
    assert list(tmp_path.rglob("pwned")) == []
    assert list(box.home.rglob("pwned")) == []


def test_a_slurm_is_submitted_to_through_its_login_node(
    box: LoopbackSSH, slurm_cluster: Any, model_of_headers: Path, ftsdk_home: Path, tmp_path: Path
) -> None:
    # The login node's own environment finds the cluster.
    variables = "\n".join(f"export {name}='{value}'" for name, value in slurm_cluster.env.items())
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\n{variables}\nexec {sys.executable} "$@"\n')
    python.chmod(0o700)
    backend: HostedBackend = Slurm(gpus=0, trainer="paper", host="box", ssh=box.ssh, python=str(python))
    run = paper_job(model_of_headers, backend, steps=6).submit()
    ends_as_if_uninterrupted(run, steps=6)
    there = folder_of(box, run)
    assert (there / "slurm.json").is_file()
    assert not (ftsdk_home / "runs" / there.name / "events.jsonl").exists()
    assert len(slurm_cluster.jobs(f"ftsdk-{there.name}")) == 1
    assert Run.open(run.ref).status().state == "succeeded"
