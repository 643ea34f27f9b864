"""A run outlives everything: kills at random moments (more of them with --slow), torn checkpoints, full disks."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forked_workers import ForkedLocal

from ftsdk import BackendError, FineTuneJob, Local, LoRA, Run, runs
from ftsdk.backends.hosted.checkpoints import newest_whole
from ftsdk.protocol import CheckpointEvent, LogEvent, StateEvent, StepEvent
from ftsdk.run.ledger import Ledger
from ftsdk.runfolder import lock

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(2400)]
MakeJob = Callable[..., FineTuneJob]
KILLS_PER_RUN = 4
A_FEW_OR_MANY = pytest.mark.parametrize("times", [2, pytest.param(6, marks=pytest.mark.slow)])


@pytest.fixture
def uninterrupted(make_job: MakeJob) -> Path:
    """The weights that every interrupted run has to end with."""
    return make_job().submit().wait(progress=False, poll_s=0.05).collect().path


def kill_worker(run: Run, home: Path) -> bool:
    holder = lock.holder_of(home / "runs" / run.ref.partition(":")[2])
    if holder is None:
        return False
    os.killpg(holder[1], signal.SIGKILL)
    return True


def wait_until_dead(folder: Path) -> None:
    deadline = time.monotonic() + 30
    while lock.is_held(folder) and time.monotonic() < deadline:
        time.sleep(0.005)


@A_FEW_OR_MANY
def test_a_worker_killed_at_random_moments_ends_with_the_same_weights(
    make_job: MakeJob, uninterrupted: Path, ftsdk_home: Path, difference: Callable[[Path, Path], float], times: int
) -> None:
    moments = random.Random(20261123)
    killed = 0
    for _ in range(times):
        run = make_job().submit()
        folder = ftsdk_home / "runs" / run.ref.partition(":")[2]
        for _ in range(KILLS_PER_RUN):
            # How long a worker takes depends on the machine, so a moment is a little after a random event.
            enough = len(run.events()) + moments.randint(0, 6)
            while not run.status().is_terminal and len(run.events()) < enough:
                time.sleep(0.002)
            time.sleep(moments.uniform(0.0, 0.1))
            killed += kill_worker(run, ftsdk_home)
            wait_until_dead(folder)
            if run.status().is_terminal:
                break
            run.resume()
        run.wait(progress=False, poll_s=0.05)
        assert difference(run.collect().path, uninterrupted) <= 1e-6
        seen = [e.step for e in run.events() if isinstance(e, StepEvent)]
        assert seen == list(range(1, 13))
        assert [e.seq for e in run.events()] == list(range(len(run.events())))
        ends = [
            e for e in run.events() if isinstance(e, StateEvent) and e.state in ("succeeded", "failed", "cancelled")
        ]
        assert [e.state for e in ends] == ["succeeded"]
    assert killed >= 2 * times
    assert len(runs()) == times + 1


def ranks_of(folder: Path) -> list[int]:
    """Processes of the ranks of a run, torchrun's own left out."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if (
                str(folder).encode() in words
                and b"ftsdk.backends.hosted.ranks" in words
                and b"torch.distributed.run" not in words
            ):
                found.append(int(entry.name))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
@pytest.mark.parametrize("sharding", ["none", "full"])
def test_a_run_whose_rank_was_killed_goes_on_from_its_last_checkpoint(
    make_job: MakeJob, ftsdk_home: Path, sharding: Any, difference: Callable[[Path, Path], float]
) -> None:
    # Four steps are an epoch, and each epoch has an order of its own.
    job = make_job(
        backend=Local(processes=2, device="cpu", sharding=sharding),
        tuning=LoRA(rank=4, dropout=0.0),
        batch_size=16,
        epochs=10,
        max_steps=40,
    )
    whole = job.submit().wait(progress=False, poll_s=0.05)
    run = job.submit()
    folder = ftsdk_home / "runs" / run.ref.partition(":")[2]
    while not run.status().is_terminal and not any(
        isinstance(e, CheckpointEvent) and e.step >= 6 for e in run.events()
    ):
        time.sleep(0.02)
    victims = ranks_of(folder)
    assert len(victims) == 2
    os.kill(victims[0], signal.SIGKILL)
    run.wait(progress=False, poll_s=0.05)
    events = run.events()
    attempts = [e for e in events if isinstance(e, StateEvent) and e.native.startswith("attempt")]
    assert [e.native for e in attempts] == ["attempt 1", "attempt 2"]
    assert "resuming from the checkpoint" in attempts[1].reason
    assert any(
        isinstance(e, LogEvent) and "a rank didn't report, so it was probably killed" in e.message for e in events
    )
    assert difference(run.collect().path, whole.collect().path) <= 1e-6


def test_a_worker_killed_after_its_last_checkpoint_makes_no_further_step(
    make_job: MakeJob, ftsdk_home: Path, difference: Callable[[Path, Path], float]
) -> None:
    # With a constant learning rate a step too many would show in the weights.
    constant = {"schedule": "constant", "warmup_ratio": 0.0}
    whole = make_job(**constant).submit().wait(progress=False, poll_s=0.05).collect().path
    for _ in range(20):
        run = _stopped_after(make_job, ftsdk_home, step=12, **constant)
        if not run.status().is_terminal:
            break  # else it was quicker than the kill
    assert not run.status().is_terminal
    run.wait(progress=False, poll_s=0.05)
    assert [e.step for e in run.events() if isinstance(e, StepEvent)] == list(range(1, 13))
    assert difference(run.collect().path, whole) <= 1e-6


CLIENT = """
import sys
from ftsdk import Dataset, FineTuneJob, Local
rows = [{"text": f"message {i}", "label": "ab"[i % 2]} for i in range(32)]
job = FineTuneJob(model=sys.argv[1], train=Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{label}"),
    max_steps=6, batch_size=8,
                  checkpoint_steps=2, dtype="float32", backend=Local(device="cpu"))
job.submit().wait(progress=False)
"""


@A_FEW_OR_MANY
def test_client_and_worker_killed_together_lose_and_double_no_run(
    tiny_model: Path, ftsdk_home: Path, times: int
) -> None:
    moments = random.Random(7)
    for kill in range(times):
        client = subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(tiny_model)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        known = len(Ledger().list())
        deadline = time.monotonic() + 300
        # Every other client is killed around the moment of submitting, the others when their worker has started.
        while client.poll() is None and len(Ledger().list()) == known and time.monotonic() < deadline:
            time.sleep(0.001)
        time.sleep(moments.uniform(0.0, 0.02) if kill % 2 else moments.uniform(0.0, 1.0))
        client.kill()
        client.wait()
        for folder in (ftsdk_home / "runs").glob("*"):
            holder = lock.holder_of(folder)
            if holder is not None:
                os.killpg(holder[1], signal.SIGKILL)
            wait_until_dead(folder)
    found = runs()
    assert len(found) == times
    folders = {p.name for p in (ftsdk_home / "runs").glob("*")}
    assert {run.ref.partition(":")[2] for run in found} >= folders
    first = found[0].wait(progress=False, poll_s=0.1)
    assert Run.open(first.ref).status().state == "succeeded"
    assert len(runs()) == times


def test_a_torn_checkpoint_is_refused_and_the_one_before_it_used(
    make_job: MakeJob, uninterrupted: Path, ftsdk_home: Path, difference: Callable[[Path, Path], float]
) -> None:
    run = _stopped_after(make_job, ftsdk_home, step=6)
    folder = ftsdk_home / "runs" / run.ref.partition(":")[2]
    newest, _ = newest_whole(folder)
    assert newest is not None
    torn = newest / "optimizer.pt"
    os.truncate(torn, torn.stat().st_size // 2)
    run.wait(progress=False, poll_s=0.05)
    logged = [e.message for e in run.events() if isinstance(e, LogEvent)]
    assert any("damaged and was removed" in message and "truncated" in message for message in logged)
    states = [e.reason for e in run.events() if isinstance(e, StateEvent) and e.native == "attempt 2"]
    assert states != [f"resuming from the checkpoint at step {newest.name.rpartition('-')[2]}"]
    assert difference(run.collect().path, uninterrupted) <= 1e-6


def test_a_full_disk_keeps_the_last_checkpoint_and_the_run_resumes(
    make_job: MakeJob,
    uninterrupted: Path,
    ftsdk_home: Path,
    forked_local: ForkedLocal,
    difference: Callable[[Path, Path], float],
) -> None:
    run = _stopped_after(make_job, ftsdk_home, step=3)
    folder = ftsdk_home / "runs" / run.ref.partition(":")[2]
    before, _ = newest_whole(folder)
    assert before is not None
    forked_local.launcher.file_size_limit = 16_384  # an optimizer's state is larger, an event log isn't
    with pytest.raises(BackendError, match="is blocked: disk_full") as caught:
        run.wait(progress=False, poll_s=0.05)
    assert caught.value.retryable
    status = run.status()
    assert (status.state, status.native) == ("queued", "blocked")
    assert newest_whole(folder) == (before, [])
    forked_local.launcher.file_size_limit = None
    run.wait(progress=False, poll_s=0.05)
    assert difference(run.collect().path, uninterrupted) <= 1e-6


def test_an_event_log_cut_in_the_middle_of_a_line_is_mended(make_job: MakeJob, ftsdk_home: Path) -> None:
    run = _stopped_after(make_job, ftsdk_home, step=3)
    log = ftsdk_home / "runs" / run.ref.partition(":")[2] / "events.jsonl"
    with log.open("ab") as file:
        file.write(b'{"kind": "step", "se')
    run.wait(progress=False, poll_s=0.05)
    assert [json.loads(line)["seq"] for line in log.read_text().splitlines()] == list(range(len(run.events())))


def test_a_worker_that_dies_repeatedly_without_progress_is_given_up(make_job: MakeJob, ftsdk_home: Path) -> None:
    run = make_job(checkpoint_steps=5000, max_steps=5000, epochs=999).submit()
    folder = ftsdk_home / "runs" / run.ref.partition(":")[2]
    for attempt in range(1, 6):
        deadline = time.monotonic() + 120
        while run.status().attempts < attempt or lock.holder_of(folder) is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        kill_worker(run, ftsdk_home)
        wait_until_dead(folder)
        assert run.resume() is (attempt < 5)
    status = run.status()
    assert status.state == "failed"
    assert status.diagnosis is not None
    assert status.diagnosis.kind == "crash_loop"


def _stopped_after(make_job: MakeJob, home: Path, *, step: int, **changes: Any) -> Run:
    """A run whose worker was killed as soon as the checkpoint of a step was whole."""
    run = make_job(**changes).submit()
    deadline = time.monotonic() + 120
    while not any(isinstance(e, CheckpointEvent) and e.step >= step for e in run.events()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    kill_worker(run, home)
    wait_until_dead(home / "runs" / run.ref.partition(":")[2])
    return run
