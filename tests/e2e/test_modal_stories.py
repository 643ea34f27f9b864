"""What goes wrong on Modal, told on a loopback Modal.

One app per key, nothing lost, nothing doubled, and an error that says what to do.

The client is the real one, and so are the containers' entry point, the worker and the training; see
`ftsdk.testing.modal` for what isn't.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ftsdk
from ftsdk import BackendError, CredentialsError, FineTuneJob, Modal, Run, RunFailedError, RunNotReadyError
from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.launchers.modal.apps import Apps
from ftsdk.backends.launchers.modal.launcher import ModalLauncher
from ftsdk.backends.launchers.modal.options import Options
from ftsdk.backends.launchers.modal.volume import Volume
from ftsdk.backends.trainers.trl import TRLTrainer
from ftsdk.protocol import CheckpointEvent, LogEvent, StateEvent, StepEvent
from ftsdk.run.ledger import Ledger
from ftsdk.run.orphans import find_orphans
from ftsdk.testing.modal import BrokenBuild, BrokenUpload, FileLines, InputTaken, Interruption, ModalService, WireFault

pytestmark = [pytest.mark.e2e]
MakeJob = Callable[..., FineTuneJob]
Difference = Callable[[Path, Path], float]


@pytest.fixture
def modal_job(make_job: MakeJob, modal_service: ModalService) -> MakeJob:
    """A job of twelve steps with a checkpoint every third, on the loopback Modal."""

    def make(**changes: Any) -> FineTuneJob:
        return make_job(**{"backend": Modal(gpu="cpu"), **changes})

    return make


def on_this_machine(make_job: MakeJob, **changes: Any) -> Path:
    """The weights of the same job on this machine."""
    return make_job(**changes).submit().wait(progress=False, poll_s=0.05).collect().path


def finished(run: Run) -> Run:
    return run.wait(progress=False, poll_s=0.1)


def reopened(run: Run) -> Run:
    """The run as another process on another day opens it; by object, since this checkout may not be installed."""
    return Run.open(run.ref, backend=Modal(gpu="cpu"))


def the_run() -> Run:
    """The one run in the ledger."""
    (record,) = Ledger().list()
    return Run.open(record.ref, backend=Modal(gpu="cpu"))


def run_folder(service: ModalService, run: Run) -> Path:
    return service.volume("ftsdk").folder / "runs" / run.ref.partition(":")[2]


def until(condition: Callable[[], object], timeout_s: float = 1500.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def has_one_app_and_one_call(service: ModalService) -> bool:
    return (len(service.apps()), len(service.calls())) == (1, 1)


def checkpoint(n: int) -> FileLines:
    return FileLines(pattern="runs/*/events.jsonl", lines=n, containing='"checkpoint"')


@pytest.mark.parametrize("times", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_a_preempted_run_ends_with_the_local_weights(
    modal_job: MakeJob, make_job: MakeJob, modal_service: ModalService, difference: Difference, times: int
) -> None:
    # Far enough apart that a container which works on for a moment doesn't reach the next one's interruption, too.
    steps = {"max_steps": 48, "epochs": 6}
    modal_service.script(*(Interruption(how="preempt", at=checkpoint(1 + 5 * n)) for n in range(times)))
    run = finished(modal_job(**steps).submit())
    assert difference(run.collect().path, on_this_machine(make_job, **steps)) <= 1e-5
    assert [e.step for e in run.events() if isinstance(e, StepEvent)] == list(range(1, 49))
    assert [e.seq for e in run.events()] == list(range(len(run.events())))
    assert run.status().attempts == times + 1
    attempts = json.loads((run_folder(modal_service, run) / "attempts.json").read_bytes())
    assert [a["ending"] for a in attempts] == ["preempted"] * times + ["over"]
    went_on = [e.reason for e in run.events() if isinstance(e, StateEvent) and e.native.startswith("attempt")]
    assert went_on[0] == "starting"
    assert all("resuming from the checkpoint" in reason for reason in went_on[1:])
    assert has_one_app_and_one_call(modal_service)


@pytest.mark.slow
def test_crashed_and_timed_out_containers_are_replaced(
    modal_job: MakeJob, make_job: MakeJob, modal_service: ModalService, difference: Difference
) -> None:
    steps = {"max_steps": 36, "epochs": 5}
    modal_service.script(Interruption(how="crash", at=checkpoint(1)), Interruption(how="timeout", at=checkpoint(6)))
    run = finished(modal_job(**steps).submit())
    assert difference(run.collect().path, on_this_machine(make_job, **steps)) <= 1e-5
    assert run.status().attempts == 3
    assert has_one_app_and_one_call(modal_service)


CLIENT = """
import sys
from ftsdk import Dataset, FineTuneJob, Modal
rows = [{"text": f"message {i}", "label": "ab"[i % 2]} for i in range(32)]
job = FineTuneJob(model=sys.argv[1], train=Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{label}"),
    max_steps=2, batch_size=8,
                  dtype="float32", backend=Modal(gpu="cpu"))
job.submit()
"""


@pytest.mark.parametrize(
    ("rpc", "is_done"),
    [
        pytest.param("FunctionMap", False, id="right before the spawn", marks=pytest.mark.slow),
        pytest.param("FunctionMap", True, id="right after the spawn"),
        pytest.param("AppCreate", True, id="after the app was made"),
        pytest.param("AppPublish", False, id="before the app was whole", marks=pytest.mark.slow),
        pytest.param("VolumePutFiles2", True, id="while files went up", marks=pytest.mark.slow),
    ],
)
def test_a_client_killed_while_launching_leaves_a_run_that_starts_once(
    rpc: str, is_done: bool, tiny_model: Path, modal_service: ModalService
) -> None:
    hang = WireFault(rpc=rpc, answer="silence", loses_answer=is_done)
    with modal_service.scripted(hang):
        client = subprocess.Popen(
            [sys.executable, "-c", CLIENT, str(tiny_model)], env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        )
        until(lambda: client.poll() is not None or modal_service.requests(rpc))
        time.sleep(0.3)
        assert client.poll() is None, "the client should hang in its request"
        client.kill()
        client.wait()
    run = the_run()
    assert run.status().native == "intended"
    run.resume()
    live = [app.id for app in modal_service.apps() if not app.state.startswith("stop")]
    assert [Ledger().get(run.ref).native["app_id"]] == live
    if rpc == "FunctionMap":
        finished(run)
        assert len(modal_service.apps()) == 1
    else:
        assert run.cancel(wait_s=30).state == "cancelled"
    assert len(modal_service.calls()) == 1
    assert sum(not app.state.startswith("stop") for app in modal_service.apps()) <= 1


def test_a_failed_image_build_is_reported_with_its_log_and_can_be_retried(
    modal_job: MakeJob, modal_service: ModalService
) -> None:
    modal_service.script(
        BrokenBuild(log=("Building image", "error: no wheel of bitsandbytes for this platform"), times=1)
    )
    with pytest.raises(BackendError, match="no wheel of bitsandbytes for this platform") as caught:
        modal_job().submit()
    assert not caught.value.retryable
    assert "modal image logs im-" in str(caught.value)
    assert modal_service.calls() == []
    again = the_run()
    again.resume()
    assert again.cancel().state == "cancelled"
    assert len(modal_service.calls()) == 1


def test_an_upload_that_breaks_off_is_taken_up_again_under_the_same_key(
    modal_job: MakeJob, modal_service: ModalService
) -> None:
    modal_service.script(BrokenUpload(files=1))
    with pytest.raises(BackendError, match="broke off") as caught:
        modal_job().submit()
    assert caught.value.retryable
    assert modal_service.requests("AppCreate") == []
    assert finished(the_run()).status().state == "succeeded"
    assert has_one_app_and_one_call(modal_service)


def test_a_run_cancelled_while_it_starts_leaves_no_container_and_no_app(
    modal_job: MakeJob, modal_service: ModalService
) -> None:
    run = modal_job().submit()
    assert run.cancel().state == "cancelled"
    until(lambda: modal_service.containers_running == 0)
    assert all(app.state == "stopped" for app in modal_service.apps())
    assert [e.state for e in run.events() if isinstance(e, StateEvent)][-1] == "cancelled"
    assert run.cancel().state == "cancelled"
    with pytest.raises(RunNotReadyError):
        run.collect()


def test_a_run_cancelled_in_training_ignores_late_writes_of_the_container(
    modal_job: MakeJob, modal_service: ModalService
) -> None:
    run = modal_job(max_steps=5000, epochs=999).submit()
    until(lambda: any(isinstance(e, StepEvent) for e in run.events()))
    assert run.cancel().state == "cancelled"
    history = run.events()
    volume, path = Volume("ftsdk", environment=None), f"runs/{run.ref.partition(':')[2]}/events.jsonl"
    late = b'{"kind": "log", "seq": 99, "at": 1, "message": "a commit that came too late"}\n'
    volume.upload({path: (volume.read(path) or b"") + late})
    assert reopened(run).events() == history
    assert reopened(run).status().state == "cancelled"
    until(lambda: modal_service.containers_running == 0)


@pytest.mark.slow
def test_a_run_whose_result_is_gone_after_seven_days_is_still_whole(
    modal_job: MakeJob, modal_service: ModalService, tmp_path: Path
) -> None:
    run = finished(modal_job(max_steps=2).submit())
    until(lambda: modal_service.containers_running == 0)
    modal_service.expire(modal_service.calls()[0].id)
    later = reopened(run)
    assert later.status().state == "succeeded"
    assert later.collect(tmp_path / "weights").kind == "adapter"
    # What was written on the way tells no token: neither here nor there.
    kept = [
        p
        for folder in (Path(os.environ["FTSDK_HOME"]), modal_service.volume("ftsdk").folder)
        for p in folder.rglob("*")
        if p.is_file()
    ]
    assert kept
    for secret in modal_service.secrets:
        assert [p.name for p in kept if secret.encode() in p.read_bytes()] == []


def test_too_many_apps_a_minute_is_an_error_that_says_to_try_again(
    modal_job: MakeJob, modal_service: ModalService
) -> None:
    modal_service.script(
        WireFault(rpc="AppCreate", status="RESOURCE_EXHAUSTED", message="App create rate limit exceeded", times=1)
    )
    with pytest.raises(BackendError, match="App create rate limit exceeded") as caught:
        modal_job().submit()
    assert (caught.value.retryable, caught.value.status_code) == (True, 429)
    again = the_run()
    again.resume()
    assert has_one_app_and_one_call(modal_service)
    assert again.cancel().state == "cancelled"


WITHOUT_TOKEN = """
import sys
from ftsdk import CredentialsError, Dataset, FineTuneJob, Modal
train = Dataset.from_rows([{"q": "a", "a": "b"}]).as_chat(prompt="{q}", completion="{a}")
job = FineTuneJob(model=sys.argv[1], train=train, backend=Modal(gpu="cpu"))
assert job.plan().request["launch"]["launcher"] == "modal"
try:
    job.submit()
except CredentialsError as error:
    print(error)
"""


def test_a_missing_token_is_told_with_the_two_ways_to_get_one(tiny_model: Path, modal_service: ModalService) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MODAL_TOKEN")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TOKEN, str(tiny_model)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "modal token new" in done.stdout
    assert "MODAL_TOKEN_SECRET" in done.stdout
    assert modal_service.requests("AppCreate") == []


def test_a_token_that_is_refused_is_an_error_of_credentials(modal_job: MakeJob, modal_service: ModalService) -> None:
    with modal_service.failing("401"), pytest.raises(CredentialsError):
        modal_job().submit()


def test_everything_works_in_a_running_event_loop_as_notebooks_have_one(
    modal_job: MakeJob, modal_service: ModalService
) -> None:
    async def notebook() -> str:
        run = modal_job().submit()
        assert run.status().state == "queued"
        return run.cancel().state

    assert asyncio.run(notebook()) == "cancelled"
    assert len(modal_service.calls()) == 1


def test_what_the_plan_says_is_what_modal_is_asked_for(modal_job: MakeJob, modal_service: ModalService) -> None:
    modal_service.add_secret("huggingface", {"HF_TOKEN": "hf_loopback"})
    place = Modal(gpu=["H100:2", "A100-80GB:2"], region="us", cpu=6.0, memory_gib=64, secret="huggingface")
    modal_service.script(WireFault(rpc="FunctionGetInputs", answer="silence", caller="container"))
    job = modal_job(backend=place, budget_usd=20)
    launch = job.plan().request["launch"]
    run = job.submit()
    (function,) = modal_service.functions()
    wanted = [ranked.function for ranked in function.ranked_functions]
    assert [(f.resources.gpu_config.gpu_type, f.resources.gpu_config.count) for f in wanted] == [
        ("H100", 2),
        ("A100-80GB", 2),
    ]
    assert {f.timeout_secs for f in wanted} == {launch["timeout_s"]}
    assert {f.retry_policy.retries for f in wanted} == {launch["max_attempts"] - 1}
    assert {
        (f.resources.milli_cpu, f.resources.milli_cpu_max, f.resources.memory_mb, f.resources.memory_mb_max)
        for f in wanted
    } == {(6000, 6000, 65536, 65536)}
    assert {tuple(f.scheduler_placement.regions) for f in wanted} == {("us",)}
    assert all(f.single_use_containers and len(f.secret_ids) >= 1 for f in wanted)
    commands = [c for layer in modal_service.image(wanted[0].image_id) for c in layer.dockerfile_commands]
    assert any(f"trl=={_installed('trl')}" in c for c in commands)
    assert not any("+cpu" in c for c in commands)
    assert run.cancel().state == "cancelled"


def _installed(name: str) -> str:
    from importlib.metadata import version

    return version(name)


def test_a_container_of_a_superseded_launch_trains_nothing(modal_job: MakeJob, modal_service: ModalService) -> None:
    modal_service.script(Interruption(how="crash", at=InputTaken()))
    run = modal_job(max_steps=2).submit()
    # As if another client had taken over between the spawn and the start.
    volume, path = Volume("ftsdk", environment=None), f"runs/{run.ref.partition(':')[2]}/launch.json"
    volume.upload({path: json.dumps({**json.loads(volume.read(path) or b""), "token": "another"}).encode()})
    call = modal_service.calls()[0].id
    until(lambda: modal_service.call(call).result is not None)
    assert not any(isinstance(e, StepEvent) for e in run.events())
    assert not (run_folder(modal_service, run) / "attempts.json").exists()


def test_orphans_are_an_app_without_a_run_and_a_run_without_an_app(
    modal_job: MakeJob, modal_service: ModalService, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    place = Modal(gpu="cpu")
    run = modal_job().submit()
    assert find_orphans(backends=[place]) == []
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("FTSDK_HOME", str(tmp_path / "another home"))
        (stranger,) = find_orphans(backends=[place])
        assert (stranger.kind, stranger.native) == ("app", modal_service.apps()[0].id)
    # As if somebody had stopped the app on Modal's own pages.
    Apps(environment=None).stop(modal_service.apps()[0].id)
    until(lambda: modal_service.containers_running == 0)
    (lost,) = find_orphans(backends=[place])
    assert (lost.kind, lost.run_id) == ("run", run.ref.partition(":")[2])
    assert run.cancel().state == "cancelled"
    assert find_orphans(backends=[place]) == []


@pytest.mark.slow
def test_a_second_app_resumes_training_only_once_the_first_is_gone(
    modal_job: MakeJob, make_job: MakeJob, modal_service: ModalService, difference: Difference
) -> None:
    steps = {"max_steps": 48, "epochs": 6}
    run = modal_job(**steps).submit()
    until(lambda: any(isinstance(e, CheckpointEvent) for e in run.events()))
    Apps(environment=None).stop(modal_service.apps()[0].id)
    until(lambda: run.status().native == "interrupted")
    finished(run)
    first, second = modal_service.apps()
    assert first.state == "stopped"
    assert second.name == first.name
    assert [e.step for e in run.events() if isinstance(e, StepEvent)] == list(range(1, 49))
    assert difference(run.collect().path, on_this_machine(make_job, **steps)) <= 1e-5


def test_the_workers_log_is_among_the_events(
    modal_job: MakeJob, modal_service: ModalService, tiny_model: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    broken = shutil.copytree(tiny_model, tmp_path / "broken")
    tensors = load_file(broken / "model.safetensors")
    tensors["model.layers.1.mlp.up_proj.weight"][0, 0] = float("nan")
    save_file(tensors, broken / "model.safetensors", metadata={"format": "pt"})
    # What the libraries warn of differs from CPU to CPU, and may be nothing: so Python itself is told to talk while it
    # imports them.
    modal_service.add_secret("talkative", {"PYTHONPROFILEIMPORTTIME": "1"})
    run = modal_job(model=str(broken), max_steps=2, backend=Modal(gpu="cpu", secret="talkative")).submit()
    with pytest.raises(RunFailedError, match="loss"):
        finished(run)
    assert run.status().log_tail
    assert any(isinstance(e, LogEvent) and e.message.startswith("import time:") for e in run.events())
    assert has_one_app_and_one_call(modal_service), "what would fail again isn't tried again"
    assert modal_service.calls()[0].retries == 0


def test_a_container_that_outlives_its_budget_is_ended_by_whoever_watches(
    make_job: MakeJob, modal_service: ModalService
) -> None:
    hours_later = [0.0]
    launcher = ModalLauncher(Options(gpu="cpu"), clock=lambda: time.time() + hours_later[0])
    place = HostedBackend(name="modal", launcher=launcher, trainer=TRLTrainer(), cancel_grace_s=0.0)
    run = make_job(backend=place, budget_usd=1, max_steps=5000, epochs=999).submit()
    until(lambda: any(isinstance(e, StepEvent) for e in run.events()))
    hours_later[0] = 24 * 3600.0
    assert run.status().native == "interrupted"
    assert modal_service.requests("FunctionCallCancel") == [], "a query stopped the container"
    with pytest.raises(RunFailedError, match="budget_usd=1 pays for"):
        finished(run)
    until(lambda: modal_service.containers_running == 0)
    (cancel,) = modal_service.requests("FunctionCallCancel")
    assert cancel.message.terminate_containers
    assert run.status().diagnosis is not None


@pytest.mark.parametrize("is_copy_damaged", [False, True])
def test_a_lost_ledger_is_rebuilt_from_the_folders(
    modal_job: MakeJob, modal_service: ModalService, ftsdk_home: Path, is_copy_damaged: bool
) -> None:
    run = modal_job(max_steps=6, budget_usd=20).submit()
    before = Ledger().get(run.ref)
    for file in ftsdk_home.glob("ledger.sqlite*"):
        file.unlink()
    folder = ftsdk_home / "runs" / run.ref.partition(":")[2]
    if is_copy_damaged:  # what the volume holds says what was submitted
        (folder / "record.modal.json").write_text("{")
    (again,) = ftsdk.runs(rebuild=True)
    after = Ledger().get(run.ref)
    assert (again.ref, after.options["gpu"], after.native) == (run.ref, "cpu", before.native)
    assert again.plan.request == run.plan.request
    assert again.plan.billing == run.plan.billing
    assert again.plan.estimate is not None
    assert run.plan.estimate is not None
    assert again.plan.estimate.billing_terms == run.plan.estimate.billing_terms, "wait() holds the budget by them"
    assert finished(again).status().state == "succeeded"
    assert len(modal_service.apps()) == 1
