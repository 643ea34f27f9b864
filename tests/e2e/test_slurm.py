"""Runs on a real two-node Slurm: time limits, kills, queues, and what the scheduler keeps of a job."""

from __future__ import annotations

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
from paper_runs import attempts_of, ends_as_if_uninterrupted, paper_job, steps_of, until
from paper_trainer import STEP_S
from slurm_cluster import SlurmCluster

from ftsdk import BackendError, FineTuneJob, LoRA, Run, Slurm, runs
from ftsdk.backends.launchers.slurm.launcher import job_name
from ftsdk.run.ledger import Ledger
from ftsdk.runfolder import lock

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("paper_trainer"), pytest.mark.timeout(3600)]
SECRETS = {
    "HF_TOKEN": "hf_plantedPlantedPlanted01",
    "SOME_API_KEY": "sk-planted-0123456789",
    "WANDB_API_KEY": "0123ab" * 7,
}


@pytest.fixture(autouse=True)
def _brief_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STEP_S, "0.05")


def on_paper(**options: Any) -> Slurm:
    return Slurm(gpus=0, trainer="paper", **options)


def id_of(run: Run) -> str:
    return run.ref.partition(":")[2]


def jobs_of(cluster: SlurmCluster, run: Run) -> list[tuple[str, str, str]]:
    return cluster.jobs(job_name(id_of(run)))


def test_term_makes_a_worker_save_leave_and_resume_in_the_same_job(
    slurm_cluster: SlurmCluster, model_of_headers: Path
) -> None:
    run = paper_job(model_of_headers, on_paper(), steps=60, checkpoint_steps=1000).submit()
    until(lambda: len(steps_of(run)) >= 3)
    ((job, _, _),) = jobs_of(slurm_cluster, run)
    slurm_cluster.run("scancel", "--signal=TERM", "--batch", job)
    until(lambda: jobs_of(slurm_cluster, run)[0][1:] == ("PENDING", "BeginTime"))
    # Slurm has no reason to give for a moment, each time that its scheduler looks at the job.
    until(lambda: "it was requeued" in run.status().reason)
    assert (run.status().state, run.status().native) == ("queued", "PENDING")
    slurm_cluster.start_now(job)
    ends_as_if_uninterrupted(run, steps=60)
    assert steps_of(run) == list(range(1, 61))  # no step was made twice
    assert [event.native for event in attempts_of(run)] == ["attempt 1", "attempt 2"]
    assert "resuming from the checkpoint at step" in attempts_of(run)[1].reason
    assert len(jobs_of(slurm_cluster, run)) == 1


@pytest.mark.slow
def test_a_run_longer_than_its_time_limit_is_requeued_by_itself(
    slurm_cluster: SlurmCluster, model_of_headers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STEP_S, "0.5")
    # Slurm looks at time limits about twice a minute, and a requeued job waits for two.
    run = paper_job(model_of_headers, on_paper(time="1:00"), steps=150, checkpoint_steps=1000).submit()
    until(lambda: run.status().is_terminal, most_s=900)
    ends_as_if_uninterrupted(run, steps=150)
    assert len(attempts_of(run)) >= 2
    until(lambda: [state for _, state, _ in jobs_of(slurm_cluster, run)] == ["COMPLETED"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"nodes": 5}, "Partition(Config|NodeLimit)"),
        ({"partition": "short", "time": "1:00:00"}, "Partition(Config|TimeLimit)"),
        ({"gpus": 1}, "Invalid generic resource"),
        ({"partition": "nope"}, "invalid partition specified: nope"),
        ({"cpus": 64}, "PartitionConfig"),
        ({"sbatch": ["--constraint=volta"]}, "Invalid feature specification"),
        ({"sbatch": ["--mem=99G"]}, "Memory specification can not be satisfied"),
    ],
    ids=["nodes", "time", "gpus", "partition", "cpus", "constraint", "memory"],
)
def test_what_the_cluster_can_never_give_is_refused_at_once(
    slurm_cluster: SlurmCluster, model_of_headers: Path, options: dict[str, Any], said: str
) -> None:
    job = paper_job(model_of_headers, Slurm(**{"gpus": 0, **options}, trainer="paper")).replace(batch_size=40)
    with pytest.raises(BackendError, match=said) as caught:
        job.submit()
    assert not caught.value.retryable
    assert "`sinfo`" in str(caught.value)
    assert slurm_cluster.run("squeue", "-h") == ""


def test_a_job_that_waits_says_why_and_is_cancelled_at_once(
    slurm_cluster: SlurmCluster, model_of_headers: Path
) -> None:
    slurm_cluster.run("scontrol", "update", "nodename=n1,n2", "state=drain", "reason=test")
    try:
        run = paper_job(model_of_headers, on_paper(), steps=3).submit()
        until(lambda: "down or reserved" in run.status().reason)
        assert (run.status().state, run.status().native) == ("queued", "PENDING")
        ((job, _, _),) = jobs_of(slurm_cluster, run)
        slurm_cluster.run("scontrol", "hold", job)
        until(lambda: run.status().native == "blocked", most_s=30)
        assert "hold" in run.status().reason  # by an administrator, if the tests run as one
        with pytest.raises(BackendError, match="is blocked: Slurm job"):
            run.wait(progress=False, poll_s=0.1)
        run.cancel()
        assert run.status().state == "cancelled"
        assert [state for _, state, _ in jobs_of(slurm_cluster, run)] == ["CANCELLED"]
    finally:
        slurm_cluster.run("scontrol", "update", "nodename=n1,n2", "state=resume")


def test_a_job_that_somebody_cancels_is_not_requeued(slurm_cluster: SlurmCluster, model_of_headers: Path) -> None:
    run = paper_job(model_of_headers, on_paper(), steps=600).submit()
    until(lambda: len(steps_of(run)) >= 3)
    ((job, _, _),) = jobs_of(slurm_cluster, run)
    slurm_cluster.run("scancel", job)
    until(lambda: jobs_of(slurm_cluster, run)[0][1] == "CANCELLED")
    until(lambda: run.status().native == "interrupted")
    run.cancel()
    assert run.status().state == "cancelled"
    assert len(jobs_of(slurm_cluster, run)) == 1


def test_a_job_that_the_scheduler_has_forgotten_is_not_taken_for_failed(
    slurm_cluster: SlurmCluster, model_of_headers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = paper_job(model_of_headers, on_paper(), steps=3).submit()
    done.wait(progress=False, poll_s=0.1)
    killed = paper_job(model_of_headers, on_paper(), steps=600, checkpoint_steps=5).submit()
    until(lambda: len(steps_of(killed)) >= 10)
    slurm_cluster.run("scancel", jobs_of(slurm_cluster, killed)[0][0])
    until(lambda: jobs_of(slurm_cluster, killed)[0][1] == "CANCELLED")
    # What squeue prints once MinJobAge is over: nothing, with status 0.
    forgetful = tmp_path / "bin"
    forgetful.mkdir()
    (forgetful / "squeue").write_text("#!/bin/sh\nexit 0\n")
    (forgetful / "squeue").chmod(0o700)
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(forgetful), prepend=":")
        assert Run.open(done.ref).status().state == "succeeded"
        status = Run.open(killed.ref).status()
        assert (status.state, status.native) == ("queued", "interrupted")
    killed.cancel()


def test_a_scheduler_that_does_not_answer_is_no_end(
    slurm_cluster: SlurmCluster, model_of_headers: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    run = paper_job(model_of_headers, on_paper(), steps=3).submit()
    run.wait(progress=False, poll_s=0.1)
    away = tmp_path / "away.conf"
    away.write_text(Path(slurm_cluster.env["SLURM_CONF"]).read_text().replace("SlurmctldPort=", "SlurmctldPort=1 #"))
    monkeypatch.setenv("SLURM_CONF", str(away))
    monkeypatch.setenv("SLURM_CONF_TIMEOUT", "1")
    with pytest.raises(BackendError, match="Slurm didn't answer") as caught:
        Run.open(run.ref).status()
    assert caught.value.retryable


def test_the_scheduler_is_told_no_keys(
    slurm_cluster: SlurmCluster, model_of_headers: Path, monkeypatch: pytest.MonkeyPatch, ftsdk_home: Path
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HTTPS_PROXY", "http://me:planted-password@proxy.example.org:3128")
    backend = Slurm(gpus=0, trainer="paper", setup=["env > environment.txt"])
    run = paper_job(model_of_headers, backend, steps=40).submit()
    until(lambda: steps_of(run))
    ((job, _, _),) = jobs_of(slurm_cluster, run)
    kept = [path for path in (slurm_cluster.folder / "state").rglob("*") if path.is_file()]
    assert any(f"job.{job}" in str(path) for path in kept)
    run.wait(progress=False, poll_s=0.1)
    folder = ftsdk_home / "runs" / id_of(run)
    kept += [path for path in folder.rglob("*") if path.is_file()]
    assert b"SLURM_JOB_ID" in (folder / "environment.txt").read_bytes()
    secrets = [*SECRETS.values(), "planted-password"]
    leaks = [(path.name, secret) for path in kept for secret in secrets if secret.encode() in _content(path)]
    assert leaks == []
    shown = slurm_cluster.run("scontrol", "show", "job", job)
    assert f'Comment={{"ftsdk": "{id_of(run)}"}}' in shown
    assert not any(secret in shown for secret in secrets)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def test_a_folder_with_a_hostile_name_is_a_folder(
    slurm_cluster: SlurmCluster, model_of_headers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del slurm_cluster
    home = tmp_path / "a b'c\"d $(touch pwned) `touch pwned` ; touch pwned # %j %% é"
    monkeypatch.setenv("FTSDK_HOME", str(home))
    run = paper_job(model_of_headers, on_paper(), steps=3).submit()
    ends_as_if_uninterrupted(run, steps=3)
    assert (home / "runs" / id_of(run) / "worker.log").exists()
    assert list(tmp_path.rglob("pwned")) == []


def test_two_clients_at_once_submit_one_job(slurm_cluster: SlurmCluster, model_of_headers: Path) -> None:
    job = paper_job(model_of_headers, on_paper(), steps=20)
    plan = job.plan()
    job.to_yaml()  # puts the rows into the store
    code = (
        "import sys, json; from ftsdk import Slurm; from ftsdk.protocol import Plan;"
        "backend = Slurm(gpus=0, trainer='paper'); print('ready', flush=True);"
        "backend.submit(Plan.from_dict(json.load(sys.stdin)), key='one-for-all')"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    assert other.stdout.readline() == "ready\n"
    assert other.stdin is not None
    other.stdin.write(plan.to_json())
    other.stdin.close()
    on_paper().submit(plan, key="one-for-all")
    assert other.stderr is not None
    said = other.stderr.read()
    assert other.wait() == 0, said
    other.stdout.close()
    other.stderr.close()
    assert len(slurm_cluster.jobs(job_name("one-for-all"))) == 1


MOMENTS = pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.slow)])
MOMENTS_OF_CLIENTS = pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.slow)])


@MOMENTS
def test_a_worker_killed_at_random_moments_ends_with_the_same_weights(
    slurm_cluster: SlurmCluster, model_of_headers: Path, ftsdk_home: Path, times: int
) -> None:
    moments = random.Random(20261128)
    steps = 30 * times
    run = paper_job(model_of_headers, on_paper(), steps=steps).submit()
    folder = ftsdk_home / "runs" / id_of(run)
    killed = 0
    while killed < times and not run.status().is_terminal:
        enough = len(run.events()) + moments.randint(1, 12)
        until(lambda enough=enough: len(run.events()) >= enough or run.status().is_terminal)
        time.sleep(moments.uniform(0.0, 0.05))
        holder = lock.holder_of(folder)
        if holder is None:
            continue
        os.kill(holder[0], signal.SIGKILL)
        killed += 1
        until(lambda: not lock.is_held(folder))
        until(lambda: run.status().native != "RUNNING" and (run.resume() or run.status().is_terminal))
    ends_as_if_uninterrupted(run, steps=steps)
    assert killed == times
    assert len(jobs_of(slurm_cluster, run)) == times + 1
    until(lambda: all(state in ("COMPLETED", "FAILED") for _, state, _ in jobs_of(slurm_cluster, run)))


CLIENT = """
import sys
sys.path[:0] = [sys.argv[1]]
from pathlib import Path
from paper_runs import paper_job
from ftsdk import Slurm
paper_job(Path(sys.argv[2]), Slurm(gpus=0, trainer="paper"), steps=20).submit().wait(progress=False)
"""


@MOMENTS_OF_CLIENTS
def test_a_client_killed_at_random_moments_starts_nothing_twice(
    slurm_cluster: SlurmCluster, model_of_headers: Path, times: int
) -> None:
    moments = random.Random(7)
    support = str(Path(__file__).parents[1] / "support")
    for _ in range(times):
        known = len(Ledger().entries())
        client = subprocess.Popen(
            [sys.executable, "-c", CLIENT, support, str(model_of_headers)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda known=known, client=client: len(Ledger().entries()) > known or client.poll() is not None)
        time.sleep(moments.uniform(0.0, 0.5))
        client.kill()
        client.wait()
    for run in runs():
        ends_as_if_uninterrupted(run, steps=20)
        assert len(jobs_of(slurm_cluster, run)) == 1
    assert len(runs()) == times


@pytest.mark.slow
def test_a_run_goes_on_when_its_node_goes_down(
    slurm_cluster: SlurmCluster, model_of_headers: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(STEP_S, "0.2")
    run = paper_job(model_of_headers, on_paper(), steps=300, checkpoint_steps=5).submit()
    until(lambda: len(steps_of(run)) >= 12)
    ((job, _, _),) = jobs_of(slurm_cluster, run)
    node = slurm_cluster.run("squeue", "-h", "-j", job, "-o", "%N")
    slurm_cluster.kill_node(node)
    try:
        # Where another node is free, the job may be there before anybody sees it wait.
        until(lambda: jobs_of(slurm_cluster, run)[0][1] == "PENDING" or len(attempts_of(run)) > 1, most_s=300)
        if len(attempts_of(run)) == 1:
            slurm_cluster.start_now(job)
        ends_as_if_uninterrupted(run, steps=300)
        assert len(attempts_of(run)) == 2
        assert len(jobs_of(slurm_cluster, run)) == 1
    finally:
        slurm_cluster.start_node(node)
        until(lambda: slurm_cluster.run("sinfo", "-h", "-n", node, "-p", "main", "-o", "%T") == "idle", most_s=120)


@pytest.mark.slow
def test_two_nodes_give_the_weights_of_one(
    slurm_cluster: SlurmCluster,
    make_job: Callable[..., FineTuneJob],
    difference: Callable[[Path, Path], float],
) -> None:
    del slurm_cluster
    same = {"tuning": LoRA(rank=4, dropout=0.0), "max_steps": 6}
    one, two = (make_job(backend=Slurm(gpus=0, nodes=nodes), **same).submit() for nodes in (1, 2))
    for run in (one, two):
        run.wait(progress=False, poll_s=0.5)
    assert difference(one.collect().path, two.collect().path) <= 1e-5


@pytest.mark.slow
def test_two_nodes_leave_and_resume_together(
    slurm_cluster: SlurmCluster,
    make_job: Callable[..., FineTuneJob],
    difference: Callable[[Path, Path], float],
) -> None:
    same = {"tuning": LoRA(rank=4, dropout=0.0), "max_steps": 200, "epochs": 100, "checkpoint_steps": 1000}
    whole = make_job(backend=Slurm(gpus=0, nodes=2), **same).submit()
    whole.wait(progress=False, poll_s=0.5)
    run = make_job(backend=Slurm(gpus=0, nodes=2), **same).submit()
    until(lambda: len(steps_of(run)) >= 5)
    ((job, _, _),) = jobs_of(slurm_cluster, run)
    slurm_cluster.run("scancel", "--signal=TERM", "--batch", job)
    until(lambda: jobs_of(slurm_cluster, run)[0][1] == "PENDING")
    slurm_cluster.start_now(job)
    run.wait(progress=False, poll_s=0.5)
    assert len(attempts_of(run)) == 2
    assert steps_of(run) == list(range(1, 201))
    assert difference(run.collect().path, whole.collect().path) <= 1e-5
