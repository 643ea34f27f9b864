"""Runs on Ray: kills, heads that forget, jobs that somebody stops, and nodes that aren't there.

Against the stand-in of `ray_stand_in`, whose jobs run the real driver; with --slow, on a real cluster as well.
"""

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
from paper_runs import attempts_of, ends_as_if_uninterrupted, paper_job, steps_of, until
from paper_trainer import STEP_S
from ray_cluster import RayCluster, why_no_ray
from ray_stand_in import RayStandIn

from ftsdk import BackendError, FineTuneJob, LoRA, Run, runs
from ftsdk.backends.launchers.kept.jobs import job_id_of
from ftsdk.backends.ray import Ray
from ftsdk.checkup.access import check_access
from ftsdk.protocol import RunRef
from ftsdk.protocol.meter import OVER_BUDGET
from ftsdk.run.ledger import Ledger
from ftsdk.run.orphans import find_orphans
from ftsdk.runfolder import lock
from ftsdk.runfolder.manifest import verify

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("paper_trainer"), pytest.mark.timeout(3600)]
SECRETS = {"HF_TOKEN": "hf_plantedPlantedPlanted01", "AWS_SECRET_ACCESS_KEY": "planted0123456789planted"}


@pytest.fixture(autouse=True)
def _brief_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(STEP_S, "0.05")


@pytest.fixture(params=["stand-in", pytest.param("cluster", marks=pytest.mark.slow)])
def cluster(request: pytest.FixtureRequest) -> RayStandIn | RayCluster:
    if why_no_ray():
        pytest.skip(f"Ray can't be used here: {why_no_ray()}")
    return request.getfixturevalue("ray_stand_in" if request.param == "stand-in" else "ray_cluster")


@pytest.fixture(params=[pytest.param("folder", marks=pytest.mark.slow), "store"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "kept") if request.param == "folder" else (tmp_path / "kept").as_uri()


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return str(tmp_path / "kept")


def on_paper(cluster: Any, storage: str, **options: Any) -> Ray:
    return Ray(address=cluster.address, storage=storage, **{"gpus": 0, "trainer": "paper", **options})


def id_of(run: Run) -> str:
    return run.ref.partition(":")[2]


def jobs_of(cluster: RayStandIn | RayCluster, run: Run) -> list[str]:
    if isinstance(cluster, RayStandIn):
        return [job.body["submission_id"] for job in cluster.of_run(id_of(run))]
    return sorted(job.id for job in cluster.jobs(id_of(run)))


def nothing_runs(cluster: RayStandIn | RayCluster) -> bool:
    if isinstance(cluster, RayStandIn):
        return all(task.poll() is not None for job in cluster.jobs.values() for task in job.tasks)
    return not any(job.is_alive for job in cluster.jobs()) and not cluster.workers()


def kill_its_node(cluster: RayStandIn | RayCluster, run: Run) -> None:
    if isinstance(cluster, RayStandIn):
        cluster.kill_node(id_of(run))
    else:
        cluster.kill_busy_node()


def test_a_job_that_was_forgotten_is_not_taken_for_failed(
    ray_stand_in: RayStandIn, model_of_headers: Path, storage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = paper_job(model_of_headers, on_paper(ray_stand_in, storage), steps=3).submit()
    done.wait(progress=False, poll_s=0.1)
    run = paper_job(model_of_headers, on_paper(ray_stand_in, storage), steps=40).submit()
    until(lambda: len(steps_of(run)) >= 8)
    ray_stand_in.restart_head()
    assert Run.open(done.ref).status().state == "succeeded"
    if "://" in storage:
        # Its node may still be at work: nobody else starts until it was silent for a minute.
        assert Run.open(run.ref).status().state == "running"
        assert not run.resume()
        monkeypatch.setattr("ftsdk.backends.launchers.kept.storage._SILENCE_S", 0.0)
    status = Run.open(run.ref).status()
    assert (status.state, status.native) == ("queued", "interrupted")
    ends_as_if_uninterrupted(run, steps=40)
    assert jobs_of(ray_stand_in, run) == [job_id_of(id_of(run), 2)]
    assert len(attempts_of(run)) == 2


def test_a_run_goes_on_from_its_checkpoint_when_its_node_goes_down(
    cluster: RayStandIn | RayCluster, model_of_headers: Path, storage: str
) -> None:
    run = paper_job(model_of_headers, on_paper(cluster, storage), steps=150, checkpoint_steps=5).submit()
    until(lambda: len(steps_of(run)) >= 12)
    kill_its_node(cluster, run)
    # Nobody is waiting: the job does it by itself.
    until(lambda: run.status().is_terminal)
    ends_as_if_uninterrupted(run, steps=150)
    assert "resuming from the checkpoint at step" in attempts_of(run)[1].reason
    assert jobs_of(cluster, run) == [job_id_of(id_of(run), 1)]
    until(lambda: nothing_runs(cluster))


def test_a_cancelled_run_stops_after_its_step_and_keeps_its_checkpoint(
    cluster: RayStandIn | RayCluster, model_of_headers: Path, folder: str
) -> None:
    run = paper_job(model_of_headers, on_paper(cluster, folder), steps=900, checkpoint_steps=5).submit()
    until(lambda: len(steps_of(run)) >= 7)
    run.cancel()
    until(lambda: run.status().is_terminal)
    assert run.status().state == "cancelled"
    kept = sorted((Path(folder) / "runs" / id_of(run) / "checkpoints").glob("checkpoint-*"))
    assert any(verify(checkpoint)["step"] >= 5 for checkpoint in kept)
    until(lambda: nothing_runs(cluster))
    run.cancel()
    assert len(jobs_of(cluster, run)) == 1


def test_a_worker_that_does_not_listen_is_killed_with_its_job(
    cluster: RayStandIn | RayCluster, model_of_headers: Path, folder: str
) -> None:
    backend = on_paper(cluster, folder)
    run = paper_job(model_of_headers, backend, steps=900).submit()
    until(lambda: steps_of(run))
    held = lock.holder_of(Path(folder) / "runs" / id_of(run))
    assert held is not None
    os.kill(held[0], signal.SIGSTOP)
    ref = RunRef.parse(run.ref)
    backend.cancel(ref)
    assert backend.status(ref).state == "cancelling"
    cancel = Path(folder) / "runs" / ref.id / "cancel"
    os.utime(cancel, (time.time() - 20, time.time() - 20))  # twenty seconds later
    backend.cancel(ref)
    assert backend.status(ref).state == "cancelled"
    until(lambda: nothing_runs(cluster), most_s=60)


def test_a_job_that_somebody_stops_saves_a_checkpoint_and_leaves(
    cluster: RayStandIn | RayCluster, model_of_headers: Path, storage: str
) -> None:
    run = paper_job(model_of_headers, on_paper(cluster, storage), steps=80, checkpoint_steps=1000).submit()
    until(lambda: len(steps_of(run)) >= 5)
    from ftsdk.backends.launchers.ray.jobs import Jobs

    Jobs(cluster.address).stop(jobs_of(cluster, run)[0])
    until(lambda: run.status().native == "interrupted")
    assert "saved a checkpoint and left" in run.status().reason
    ends_as_if_uninterrupted(run, steps=80)
    assert steps_of(run) == list(range(1, 81))  # no step was made twice
    assert jobs_of(cluster, run) == [job_id_of(id_of(run), n) for n in (1, 2)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"nodes": 5}, "asks for 5 nodes with CPU 1 each.*2 of its nodes have that"),
        ({"gpus": 1}, "1 node with CPU 1, GPU 1.*the most on a node is GPU 0"),
        ({"cpus": 64}, "the most on a node is CPU 4"),
        ({"resources": {"accelerator_type:A100": 0.1}}, "accelerator_type:A100 0"),
    ],
    ids=["nodes", "gpus", "cpus", "resources"],
)
def test_what_the_cluster_does_not_have_is_refused_at_once(
    cluster: RayStandIn | RayCluster, model_of_headers: Path, folder: str, options: dict[str, Any], said: str
) -> None:
    job = paper_job(model_of_headers, on_paper(cluster, folder, **options)).replace(batch_size=40)
    with pytest.raises(BackendError, match=said) as caught:
        job.submit()
    assert not caught.value.retryable
    assert "Ray(autoscaling=True)" in str(caught.value)
    assert nothing_runs(cluster)


def test_a_run_that_waits_says_why_and_is_cancelled_at_once(
    ray_stand_in: RayStandIn, model_of_headers: Path, storage: str
) -> None:
    ray_stand_in.is_full = True
    run = paper_job(model_of_headers, on_paper(ray_stand_in, storage), steps=3).submit()
    until(lambda: "waits for 1 node with CPU 1 free" in run.status().reason)
    assert (run.status().state, run.status().native) == ("queued", "PENDING")
    ray_stand_in.nodes = []
    until(lambda: run.status().native == "blocked", most_s=30)
    with pytest.raises(BackendError, match=r"is blocked: .*It has no nodes"):
        run.wait(progress=False, poll_s=0.1)
    run.cancel()
    assert run.status().state == "cancelled"
    assert ray_stand_in.of_run(id_of(run))[0].status == "STOPPED"
    assert attempts_of(run) == []


def test_a_cluster_that_grows_is_waited_for(ray_stand_in: RayStandIn, model_of_headers: Path, folder: str) -> None:
    nodes, ray_stand_in.nodes = ray_stand_in.nodes, []
    run = paper_job(model_of_headers, on_paper(ray_stand_in, folder, autoscaling=True), steps=3).submit()
    until(lambda: "waits for 1 node" in run.status().reason)
    assert run.status().native == "PENDING"
    ray_stand_in.nodes = nodes
    ends_as_if_uninterrupted(run, steps=3)


def test_a_cluster_that_does_not_answer_is_no_end(
    ray_stand_in: RayStandIn, model_of_headers: Path, folder: str
) -> None:
    run = paper_job(model_of_headers, on_paper(ray_stand_in, folder), steps=3).submit()
    run.wait(progress=False, poll_s=0.1)
    ray_stand_in.answer = (503, b"", {"Retry-After": "7"})
    with pytest.raises(BackendError, match="status 503") as caught:
        Run.open(run.ref).status()
    assert (caught.value.retryable, caught.value.retry_after_s) == (True, 7.0)


def test_a_job_that_never_began_says_what_the_cluster_lacks(
    cluster: RayStandIn | RayCluster, model_of_headers: Path, folder: str
) -> None:
    python = "no-such-python" if isinstance(cluster, RayCluster) else "python"
    run = paper_job(model_of_headers, on_paper(cluster, folder, python=python), steps=3).submit()
    if isinstance(cluster, RayStandIn):
        (job,) = cluster.of_run(id_of(run))
        assert job.thread is not None
        job.is_told = True
        job.thread.join()
        (Path(folder) / "runs" / id_of(run) / "events.jsonl").unlink(missing_ok=True)
        job.status, job.message = "FAILED", "Job entrypoint command failed with exit code 1: No module named ftsdk"
    with pytest.raises(BackendError, match="failed before any training began") as caught:
        run.wait(progress=False, poll_s=0.1)
    assert "ftsdk[local]" in str(caught.value)
    assert len(jobs_of(cluster, run)) == 1


def test_neither_ray_nor_the_storage_is_told_keys(
    ray_stand_in: RayStandIn, model_of_headers: Path, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAY_JOB_HEADERS", json.dumps({"Authorization": "Bearer planted-header"}))
    run = paper_job(model_of_headers, on_paper(ray_stand_in, folder), steps=3).submit()
    run.wait(progress=False, poll_s=0.1)
    told = json.dumps([job.body for job in ray_stand_in.jobs.values()]).encode()
    kept = [path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()]
    secrets = [secret.encode() for secret in (*SECRETS.values(), "planted-header")]
    assert not any(secret in text for secret in secrets for text in [told, *kept])


def test_orphans_and_doctor_know_the_cluster(ray_stand_in: RayStandIn, model_of_headers: Path, folder: str) -> None:
    backend = on_paper(ray_stand_in, folder)
    run = paper_job(model_of_headers, backend, steps=900).submit()
    until(lambda: steps_of(run))
    assert find_orphans() == []
    Ledger().remove(run.ref)
    (stray,) = find_orphans(backends=[backend])
    assert (stray.kind, stray.native) == ("app", job_id_of(id_of(run), 1))
    assert f"ray job stop --address {ray_stand_in.address}" in stray.advice
    (line,) = check_access(is_online=True, backends=[backend], timeout_s=5.0)
    assert (line.state, line.found) == ("ok", "Ray 2.60.0: 2 nodes with CPU 4")


@pytest.mark.slow
def test_a_budget_is_kept_by_the_worker_with_nobody_waiting(
    ray_stand_in: RayStandIn, model_of_headers: Path, storage: str
) -> None:
    backend = on_paper(ray_stand_in, storage, usd_per_hour=3600)
    job = paper_job(model_of_headers, backend, steps=900).replace(budget_usd=1)
    job.to_yaml()  # puts the rows into the store
    # An estimate would refuse it, and so none is made.
    ref = backend.submit(backend.plan(job.spec()), key="a-dollar")
    until(lambda: backend.status(ref).is_terminal)
    assert (backend.status(ref).state, backend.status(ref).native) == ("cancelled", OVER_BUDGET)
    assert "budget_usd=1" in backend.status(ref).reason


MOMENTS = pytest.mark.parametrize("times", [2, pytest.param(20, marks=pytest.mark.slow)])
MOMENTS_OF_CLIENTS = pytest.mark.parametrize("times", [1, pytest.param(20, marks=pytest.mark.slow)])


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 20])
def test_a_node_killed_at_a_random_moment_leaves_the_same_weights(
    cluster: RayStandIn | RayCluster, model_of_headers: Path, folder: str, times: int
) -> None:
    moments = random.Random(11)
    # A run for each kill: a new node may take longer to start than a run of these has left.
    for _ in range(times):
        run = paper_job(model_of_headers, on_paper(cluster, folder), steps=100).submit()
        enough = moments.randint(1, 60)
        until(lambda run=run, enough=enough: len(run.events()) >= enough)
        time.sleep(moments.uniform(0.0, 0.05))
        kill_its_node(cluster, run)
        ends_as_if_uninterrupted(run, steps=100)
        assert len(attempts_of(run)) == 2
        assert jobs_of(cluster, run) == [job_id_of(id_of(run), 1)]
        until(lambda: nothing_runs(cluster))


@MOMENTS
def test_a_worker_killed_at_random_moments_ends_with_the_same_weights(
    cluster: RayStandIn | RayCluster, model_of_headers: Path, folder: str, times: int
) -> None:
    moments = random.Random(20261128)
    steps = 30 * times
    run = paper_job(model_of_headers, on_paper(cluster, folder), steps=steps).submit()
    there = Path(folder) / "runs" / id_of(run)
    killed = 0
    while killed < times and not run.status().is_terminal:
        enough = len(run.events()) + moments.randint(1, 12)
        until(lambda enough=enough: len(run.events()) >= enough or run.status().is_terminal)
        time.sleep(moments.uniform(0.0, 0.05))
        holder = lock.holder_of(there)
        if holder is None:
            continue
        os.kill(holder[0], signal.SIGKILL)
        killed += 1
        until(lambda: not lock.is_held(there))
    ends_as_if_uninterrupted(run, steps=steps)
    assert killed == times
    assert jobs_of(cluster, run) == [job_id_of(id_of(run), 1)]
    until(lambda: nothing_runs(cluster))


CLIENT = """
import sys
sys.path[:0] = [sys.argv[1]]
from pathlib import Path
from paper_runs import paper_job
from ftsdk.backends.ray import Ray
backend = Ray(address=sys.argv[3], storage=sys.argv[4], gpus=0, trainer="paper")
paper_job(Path(sys.argv[2]), backend, steps=20).submit().wait(progress=False)
"""


@MOMENTS_OF_CLIENTS
def test_a_client_killed_at_random_moments_starts_nothing_twice(
    cluster: RayStandIn | RayCluster, model_of_headers: Path, folder: str, times: int
) -> None:
    moments = random.Random(7)
    support = str(Path(__file__).parents[1] / "support")
    for _ in range(times):
        known = len(Ledger().entries())
        client = subprocess.Popen(
            [sys.executable, "-c", CLIENT, support, str(model_of_headers), cluster.address, folder],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until(lambda known=known, client=client: len(Ledger().entries()) > known or client.poll() is not None)
        time.sleep(moments.uniform(0.0, 3.0))
        client.kill()
        client.wait()
    for run in runs():
        ends_as_if_uninterrupted(run, steps=20)
        assert jobs_of(cluster, run) == [job_id_of(id_of(run), 1)]
        assert len(attempts_of(run)) == 1
    assert len(runs()) == times
    until(lambda: nothing_runs(cluster))


@pytest.mark.slow
def test_two_nodes_give_the_weights_of_one(
    ray_cluster: RayCluster,
    storage: str,
    make_job: Callable[..., FineTuneJob],
    difference: Callable[[Path, Path], float],
) -> None:
    same = {"tuning": LoRA(rank=4, dropout=0.0), "max_steps": 6}
    where: dict[str, Any] = {"address": ray_cluster.address, "storage": storage, "gpus": 0}
    one, two = (make_job(backend=Ray(nodes=nodes, **where), **same).submit() for nodes in (1, 2))
    for run in (one, two):
        run.wait(progress=False, poll_s=0.5)
    assert len(attempts_of(two)) == 1
    assert difference(one.collect().path, two.collect().path) <= 1e-5


@pytest.mark.slow
def test_two_nodes_go_on_together_when_one_goes_down(
    ray_cluster: RayCluster,
    storage: str,
    make_job: Callable[..., FineTuneJob],
    difference: Callable[[Path, Path], float],
) -> None:
    same = {"tuning": LoRA(rank=4, dropout=0.0), "max_steps": 200, "epochs": 100, "checkpoint_steps": 20}
    where: dict[str, Any] = {"address": ray_cluster.address, "storage": storage, "gpus": 0, "nodes": 2}
    whole = make_job(backend=Ray(**where), **same).submit()
    whole.wait(progress=False, poll_s=0.5)
    run = make_job(backend=Ray(**where), **same).submit()
    until(lambda: len(steps_of(run)) >= 25)
    ray_cluster.kill_busy_node()
    run.wait(progress=False, poll_s=0.5)
    assert len(attempts_of(run)) == 2
    assert "resuming from the checkpoint" in attempts_of(run)[1].reason
    assert jobs_of(ray_cluster, run) == [job_id_of(id_of(run), 1)]
    assert difference(run.collect().path, whole.collect().path) <= 1e-6
    until(lambda: nothing_runs(ray_cluster))


@pytest.mark.slow
def test_a_run_goes_on_after_a_restart_of_a_real_head(
    paper_environment: dict[str, str], model_of_headers: Path, folder: str
) -> None:
    if why_no_ray():
        pytest.skip(f"no Ray cluster can be started here: {why_no_ray()}")
    environment = {**paper_environment, STEP_S: "0.1"}
    with RayCluster(environment) as before:
        run = paper_job(model_of_headers, on_paper(before, folder), steps=200, checkpoint_steps=5).submit()
        until(lambda: len(steps_of(run)) >= 12)
    assert before.workers() == []
    with pytest.raises(BackendError, match="doesn't answer") as caught:
        run.status()
    assert caught.value.retryable
    with RayCluster(environment, port=before.port) as after:
        status = run.status()
        assert (status.state, status.native) == ("queued", "interrupted")
        ends_as_if_uninterrupted(run, steps=200)
        assert jobs_of(after, run) == [job_id_of(id_of(run), 2)]
        assert len(attempts_of(run)) == 2
