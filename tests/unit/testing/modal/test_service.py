"""The loopback Modal, by the unmodified client; what runs in its containers runs in the client's own entry point."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

modal = pytest.importorskip("modal", reason="the extra 'modal' isn't installed")

from ftsdk.testing.modal import (  # noqa: E402 - importing it needs modal
    BrokenBuild,
    BrokenUpload,
    FileLines,
    InputTaken,
    Interruption,
    LogLine,
    ModalService,
    ProcessStarted,
    WireFault,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HF_TOKEN = "hf_neverwrittendown"
OTHER_TOKEN = "ot_neverwrittendown"
RUNNER = '''
    """Stands for the package whose runner is shipped as source."""

    import json, os, signal, subprocess, sys, time
    from pathlib import Path


    def run(text):
        spec = json.loads(text)
        folder = Path(os.environ["JOB_ROOT"]) / spec["run"]
        folder.mkdir(parents=True, exist_ok=True)
        events = folder / "events.jsonl"
        done = len(events.read_text().splitlines()) if events.exists() else 0
        print(f"begins at {done}", flush=True)
        if spec.get("child"):
            # In a session of its own, as launchers of training do.
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(120)"], start_new_session=True)
            (folder / "child").write_text(str(child.pid))
        if spec.get("raises"):
            raise ValueError("bad luck")
        while done < spec.get("steps", 0):
            done += 1
            with events.open("a") as file:
                file.write(json.dumps({"step": done}) + "\\n")
            time.sleep(spec.get("pause", 0.02))
        return json.dumps({"done": done, "env": dict(os.environ), "more": "x" * spec.get("bytes", 0)})


    def commits(text):
        import modal

        volume = modal.Volume.from_name("runs", version=2)
        (Path(os.environ["JOB_ROOT"]) / "written").write_text(text)
        volume.commit()
        volume.reload()
        return "ok"
'''


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("source")
    (folder / "loopback_job.py").write_text(textwrap.dedent(RUNNER))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        yield importlib.import_module("loopback_job")


@pytest.fixture(scope="module")
def running() -> Iterator[tuple[ModalService, Any]]:
    with ModalService(grace_s=5.0) as service, pytest.MonkeyPatch.context() as patch:
        for name, value in service.env.items():
            patch.setenv(name, value)
        patch.setenv("MODAL_MAX_THROTTLE_WAIT", "2")
        with modal.Client.from_credentials(service.env["MODAL_TOKEN_ID"], service.env["MODAL_TOKEN_SECRET"]) as client:
            yield service, client


@pytest.fixture
def service(running: tuple[ModalService, Any]) -> ModalService:
    running[0].reset()
    return running[0]


@pytest.fixture
def client(running: tuple[ModalService, Any], service: ModalService) -> Any:
    return running[1]


@pytest.fixture
def spawn(job: Any, client: Any) -> Callable[..., Any]:
    """Start a detached run in an app of its own, and leave its block."""

    def start(
        *,
        run: str = "r1",
        name: str = "ftsdk-job",
        options: dict[str, Any] | None = None,
        function: Any = None,
        **spec: Any,
    ) -> Any:
        app, remote = build(job, client, name=name, function=function, **(options or {}))
        with app.run(detach=True, client=client):
            return remote.spawn(json.dumps({"run": run, **spec}))

    return start


def build(job: Any, client: Any, *, name: str = "ftsdk-job", function: Any = None, **options: Any) -> tuple[Any, Any]:
    volume = modal.Volume.from_name("runs", create_if_missing=True, version=2, client=client)
    image = (
        modal.Image.debian_slim(python_version="3.12").env({"HUB": "/runs/hub"}).add_local_python_source("loopback_job")
    )
    app = modal.App(name, tags={"job": name}, include_source=False)
    settings = {"image": image, "volumes": {"/runs": volume}, "env": {"JOB_ROOT": "/runs"}, "timeout": 60, **options}
    return app, app.function(name="run", include_source=False, single_use_containers=True, **settings)(
        function or job.run
    )


def volume_of(client: Any, name: str = "runs", **options: Any) -> Any:
    return modal.Volume.from_name(name, client=client, **options)


def until(condition: Callable[[], object], *, seconds: float = 20.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it didn't happen in time"
        time.sleep(0.02)
    return found


def is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    # A child that has ended and that nobody has asked for counts as gone.
    stat = Path(f"/proc/{process_id}/stat")
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    return not Path("/proc").exists()


def test_a_detached_run_continues_without_its_client(service: ModalService, client: Any, job: Any) -> None:
    service.add_secret("hub", {"HF_TOKEN": HF_TOKEN, "CACHE": "/runs/cache"})
    secrets = [modal.Secret.from_name("hub", client=client), modal.Secret.from_dict({"OTHER_TOKEN": OTHER_TOKEN})]
    app, remote = build(job, client, secrets=secrets, gpu=["H100", "A100-80GB:2"], cpu=2.0, memory=1024)
    with app.run(detach=True, client=client):
        # Long enough to go through the blob store, both ways.
        call = remote.spawn(json.dumps({"run": "r1", "steps": 3, "bytes": 3_000_000, "padding": "y" * 20_000}))
        app_id = app.app_id
    with pytest.raises(TimeoutError):
        call.get(timeout=0)

    code = "import sys, modal; sys.stdout.write(modal.FunctionCall.from_id(sys.argv[1]).get(timeout=20))"
    other = subprocess.run([sys.executable, "-c", code, call.object_id], capture_output=True, text=True, check=False)
    assert other.returncode == 0, other.stderr
    result = json.loads(other.stdout)
    assert (result["done"], len(result["more"])) == (3, 3_000_000)

    folder = service.volume("runs").folder
    told = result["env"]
    assert (told["HF_TOKEN"], told["JOB_ROOT"], told["HUB"], told["CACHE"]) == (
        HF_TOKEN,
        str(folder),
        f"{folder}/hub",
        f"{folder}/cache",
    )
    assert told["OTHER_TOKEN"] == OTHER_TOKEN
    # What this process has in its environment isn't a container's business.
    assert "FTSDK_HOME" not in told
    assert service.env["MODAL_TOKEN_SECRET"] not in told.values()

    found = modal.App.lookup(app_id, client=client)
    until(lambda: found.info(refresh=True).lifecycle.state.value == "stopped")
    [wanted] = service.functions()
    resources = [ranked.function.resources for ranked in wanted.ranked_functions]
    assert [(r.gpu_config.gpu_type, r.gpu_config.count) for r in resources] == [("H100", 1), ("A100-80GB", 2)]
    assert (resources[0].milli_cpu, resources[0].memory_mb, wanted.timeout_secs) == (2000, 1024, 60)
    commands = [
        line
        for layer in service.image(wanted.ranked_functions[0].function.image_id)
        for line in layer.dockerfile_commands
    ]
    assert any(line.startswith("ENV HUB=") for line in commands)

    said = [entry.message for entry in call.logs.tail(10)]
    since = datetime.now(UTC) - timedelta(minutes=5)
    assert (
        said
        == ["begins at 0\n"]
        == [e.message for e in call.logs.fetch(since=since)]
        == [e.message for e in call.logs.stream(timeout=1)]
    )
    assert (len(service.requests("AppCreate")), service.unimplemented) == (1, [])
    everything = "".join(str(request) for request in service.requests(caller=None))
    assert "OTHER_TOKEN" in everything
    assert HF_TOKEN not in everything
    assert OTHER_TOKEN not in everything
    assert service.secrets[0] not in everything


def test_a_preempted_run_continues_where_it_was_and_costs_no_retry(
    service: ModalService, spawn: Callable[..., Any]
) -> None:
    service.script(
        Interruption(how="preempt", at=FileLines(pattern="*/events.jsonl", lines=2, containing="step")),
        Interruption(how="preempt", at=FileLines(pattern="r1/events.jsonl", lines=4)),
    )
    # Slow enough for the service to see each step, on a busy machine too.
    call = spawn(steps=8, pause=0.4)
    assert json.loads(call.get(timeout=120))["done"] == 8
    seen = service.call(call.object_id)
    assert (seen.result, seen.containers, seen.preemptions, seen.retries, seen.crashes) == ("success", 3, 2, 0, 0)
    starts = [
        int(line.split()[-1]) for line in service.log(call.object_id).splitlines() if line.startswith("begins at")
    ]
    assert starts[0] == 0
    assert 2 <= starts[1] < 4 <= starts[2] < 8


def test_an_exception_is_retried_in_a_new_container_and_then_raised_here(
    service: ModalService, spawn: Callable[..., Any]
) -> None:
    call = spawn(raises=True, options={"retries": modal.Retries(max_retries=1, initial_delay=0.0)})
    with pytest.raises(ValueError, match="bad luck"):
        call.get(timeout=30)
    seen = service.call(call.object_id)
    assert (seen.result, seen.containers, seen.retries) == ("failure", 2, 1)


@pytest.mark.parametrize(
    ("how", "error", "result"),
    [("crash", "InternalFailure", "internal_failure"), ("oom", "RemoteError", "kernel_oom_kill")],
)
def test_a_container_that_keeps_dying_is_started_four_times(
    how: Any, error: str, result: str, service: ModalService, spawn: Callable[..., Any]
) -> None:
    service.script(Interruption(how=how, at=ProcessStarted(), app="ftsdk-*", times=9))
    call = spawn()
    with pytest.raises(getattr(modal.exception, error)):
        call.get(timeout=20)
    seen = service.call(call.object_id)
    assert (seen.result, seen.containers, seen.crashes) == (result, 4, 3)


def test_a_crash_at_a_log_line_is_replayed_from_the_volume(service: ModalService, spawn: Callable[..., Any]) -> None:
    service.script(Interruption(how="crash", at=LogLine(containing="begins at 0")))
    call = spawn(steps=3)
    assert json.loads(call.get(timeout=30))["done"] == 3
    assert service.call(call.object_id).crashes == 1


def test_a_function_whose_time_is_over_is_killed_and_says_so(service: ModalService, spawn: Callable[..., Any]) -> None:
    call = spawn(steps=1000, options={"timeout": 1})
    process_id = until(lambda: service.call(call.object_id).process_id)
    with pytest.raises(modal.exception.FunctionTimeoutError, match="1 s"):
        call.get(timeout=20)
    until(lambda: not is_alive(process_id))
    assert service.call(call.object_id).result == "timeout"


def test_a_timeout_can_be_told_to_come_early(service: ModalService, spawn: Callable[..., Any]) -> None:
    service.script(Interruption(how="timeout", at=InputTaken()))
    call = spawn(steps=1000)
    with pytest.raises(modal.exception.FunctionTimeoutError):
        call.get(timeout=20)


def test_cancelling_with_terminate_leaves_no_process_in_any_session(
    service: ModalService, spawn: Callable[..., Any]
) -> None:
    call = spawn(steps=1000, child=True)
    child = service.volume("runs").folder / "r1" / "child"
    child_id = until(lambda: child.exists() and int(child.read_text() or 0))
    process_id = service.call(call.object_id).process_id
    call.cancel(terminate_containers=True)
    with pytest.raises(modal.exception.RemoteError, match="cancelled"):
        call.get(timeout=5)
    until(lambda: not is_alive(child_id) and not is_alive(process_id or 0))
    call.cancel(terminate_containers=True)
    until(lambda: service.containers_running == 0)
    assert service.call(call.object_id).result == "terminated"


def test_cancelling_while_the_container_starts_ends_the_call_at_once(
    service: ModalService, spawn: Callable[..., Any]
) -> None:
    call = spawn(steps=1000)
    call.cancel()
    with pytest.raises(modal.exception.RemoteError):
        call.get(timeout=5)
    until(lambda: service.containers_running == 0)
    assert not (service.volume("runs").folder / "r1").exists()


def test_cancelling_gently_reaches_the_function(service: ModalService, spawn: Callable[..., Any]) -> None:
    call = spawn(steps=1000)
    until(lambda: service.call(call.object_id).has_taken_input)
    call.cancel()
    with pytest.raises((modal.exception.RemoteError, modal.exception.InputCancellation)):
        call.get(timeout=20)
    assert service.call(call.object_id).result == "terminated"


def test_leaving_the_block_of_an_app_that_is_not_detached_ends_its_calls(
    service: ModalService, client: Any, job: Any
) -> None:
    app, remote = build(job, client)
    with app.run(client=client):
        call = remote.spawn(json.dumps({"run": "r1", "steps": 1000}))
    with pytest.raises(modal.exception.RemoteError):
        call.get(timeout=5)
    assert [seen.state for seen in service.apps()] == ["stopped"]


def test_an_expired_result_is_said_to_be_expired(service: ModalService, client: Any, spawn: Callable[..., Any]) -> None:
    call = spawn()
    service.expire(call.object_id)
    with pytest.raises(modal.exception.OutputExpiredError):
        modal.FunctionCall.from_id(call.object_id, client=client).get(timeout=0)


def test_apps_are_listed_with_their_tags_and_stopped_by_id(
    service: ModalService, client: Any, spawn: Callable[..., Any]
) -> None:
    call = spawn(steps=1000)
    [app] = modal.Environment.from_context(client=client).apps.list()
    assert (app.get_tags(), service.apps()[0].state) == ({"job": "ftsdk-job"}, "detached_disconnected")
    modal.App.lookup(app.app_id, client=client).stop()
    assert modal.Environment.from_context(client=client).apps.list() == []
    with pytest.raises(modal.exception.RemoteError):
        call.get(timeout=5)
    with pytest.raises(modal.exception.NotFoundError, match="'ftsdk-job' not found"):
        modal.App.lookup("ftsdk-job", client=client)


def test_a_deployed_function_is_found_by_name_and_its_commits_counted(
    service: ModalService, client: Any, job: Any
) -> None:
    app, _ = build(job, client, name="ftsdk-deployed", function=job.commits)
    app.deploy(client=client)
    call = modal.Function.from_name("ftsdk-deployed", "run", client=client).spawn("by the container")
    assert call.get(timeout=20) == "ok"
    seen = service.volume("runs")
    # One commit by the function and one at the container's end; the client reloads after a commit, too.
    assert (seen.commits >= 1, seen.reloads >= 1, (seen.folder / "written").read_text()) == (
        True,
        True,
        "by the container",
    )


def test_a_function_that_cannot_be_imported_says_why(service: ModalService, client: Any, job: Any) -> None:
    app = modal.App("ftsdk-broken", include_source=False)
    remote = app.function(image=modal.Image.debian_slim(python_version="3.12"), include_source=False)(job.run)
    with app.run(detach=True, client=client):
        call = remote.spawn("{}")
    with pytest.raises(ModuleNotFoundError, match="loopback_job"):
        call.get(timeout=20)


def test_a_failed_build_raises_and_its_log_can_be_read(
    service: ModalService, client: Any, spawn: Callable[..., Any]
) -> None:
    service.script(BrokenBuild(log=("Resolving", "error: no torch==99 for linux"), times=1))
    with pytest.raises(modal.exception.ImageBuildError) as caught:
        spawn()
    log = modal.Image.from_id(caught.value.image_id, client=client).logs
    assert [entry.message for entry in log.tail()] == ["Resolving\n", "error: no torch==99 for linux\n"]
    assert (service.calls(), [app.state for app in service.apps()]) == ([], ["stopped"])
    service.script(BrokenBuild(message="out of memory"))
    with pytest.raises(modal.exception.ImageBuildError, match="out of memory"):
        spawn()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"gpu": "H1000"}, "unknown GPU type 'H1000'"),
        ({"gpu": ["H100", "A10:5"]}, "1 to 4 A10"),
        ({"gpu": "H100:9"}, "1 to 8 H100"),
        ({"timeout": 86_401}, "between 1 and 86400"),
        ({"retries": 11}, "retries must be at most 10"),
    ],
)
def test_what_the_service_would_refuse_is_refused(
    options: dict[str, Any], says: str, service: ModalService, spawn: Callable[..., Any]
) -> None:
    with pytest.raises(modal.exception.InvalidError, match=says):
        spawn(options=options)
    assert service.calls() == []


def test_a_cluster_is_recorded_and_checked_but_not_run(service: ModalService, client: Any, job: Any) -> None:
    app, remote = build(job, client, function=modal.clustered(size=2)(job.run), gpu="H100:8")
    with pytest.raises(modal.exception.UnimplementedError, match="no clusters"), app.run(detach=True, client=client):
        remote.spawn("{}")
    assert service.functions()[0].ranked_functions[0].function._experimental_group_size == 2
    app, _ = build(job, client, function=modal.clustered(size=2)(job.run), gpu="H100:4")
    with pytest.raises(modal.exception.InvalidError, match="all 8 GPUs"), app.run(detach=True, client=client):
        pass


def test_creating_apps_can_be_limited_for_a_while(service: ModalService, spawn: Callable[..., Any]) -> None:
    service.script(
        WireFault(rpc="AppCreate", status="RESOURCE_EXHAUSTED", message="App create rate limit exceeded", times=1)
    )
    with pytest.raises(modal.exception.ResourceExhaustedError, match="App create rate limit exceeded"):
        spawn()
    service.script(WireFault(rpc="AppCreate", status="RESOURCE_EXHAUSTED", retry_after_s=0.1, times=2))
    spawn()
    # The client waited and asked again by itself.
    assert (len(service.requests("AppCreate")), len(service.apps())) == (4, 1)


def test_a_lost_answer_to_spawn_makes_no_second_call_on_retry(service: ModalService, spawn: Callable[..., Any]) -> None:
    service.script(WireFault(rpc="FunctionMap", loses_answer=True, times=1))
    call = spawn()
    assert [seen.id for seen in service.calls()] == [call.object_id]
    assert len(service.requests("FunctionMap")) == 2


def test_a_call_is_there_although_the_client_was_told_that_it_failed(
    service: ModalService, spawn: Callable[..., Any]
) -> None:
    service.script(WireFault(rpc="FunctionMap", loses_answer=True, status="RESOURCE_EXHAUSTED", times=1))
    with pytest.raises(modal.exception.ResourceExhaustedError):
        spawn()
    assert len(service.calls()) == 1


@pytest.mark.parametrize(
    ("word", "error"),
    [
        ("401", "AuthError"),
        ("404", "NotFoundError"),
        ("429", "ResourceExhaustedError"),
        ("503", "ServiceError"),
        ("timeout", "ServiceError"),
    ],
)
def test_wire_faults_become_the_clients_errors(word: Any, error: str, service: ModalService, client: Any) -> None:
    with service.failing(word), pytest.raises(getattr(modal.exception, error)):
        modal.App.lookup("ftsdk-job", client=client)
    with pytest.raises(modal.exception.NotFoundError, match="'ftsdk-job' not found"):
        modal.App.lookup("ftsdk-job", client=client)


def test_garbage_is_no_message_and_silence_lasts_until_it_is_taken_back(service: ModalService, client: Any) -> None:
    from google.protobuf.message import DecodeError

    with service.failing("garbage"), pytest.raises(DecodeError):
        modal.App.lookup("ftsdk-job", client=client)
    began = time.monotonic()
    service.script(WireFault(answer="silence", rpc="AppGetOrCreate", status="ABORTED", times=1))
    code = "import modal; modal.App.lookup('ftsdk-job')"
    other = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)
    until(lambda: service.requests("AppGetOrCreate")[1:])
    assert other.poll() is None
    service.reset()
    assert b"ConflictError" in other.communicate(timeout=20)[1]
    assert time.monotonic() - began < 20


def test_a_wrong_token_is_refused_and_a_missing_one_is_not_even_sent(service: ModalService) -> None:
    with (
        modal.Client.from_credentials("ak-other", "as-other") as other,
        pytest.raises(modal.exception.AuthError, match="Token validation failed"),
    ):
        modal.App.lookup("ftsdk-job", client=other)
    seen = len(service.requests())
    env = {name: value for name, value in os.environ.items() if not name.startswith("MODAL_TOKEN")}
    told = subprocess.run(
        [sys.executable, "-c", "import modal; modal.App.lookup('x')"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Token missing" in told.stderr
    assert len(service.requests()) == seen


@pytest.mark.parametrize("version", [1, 2])
def test_files_go_into_a_volume_and_come_back(version: int, service: ModalService, client: Any, tmp_path: Path) -> None:
    volume = volume_of(client, "data", create_if_missing=True, version=version)
    large = os.urandom(1 << 20) * 9 + bytes(5000)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b.txt").write_text("b")
    with volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(large), "/a/large.bin")
        batch.put_directory(tmp_path / "folder", "/a/more")
        batch.put_file(io.BytesIO(b""), "/a/empty file?.txt")
    assert b"".join(volume.read_file("a/large.bin")) == large
    assert b"".join(volume.read_file("a/empty file?.txt")) == b""
    assert sorted(e.path for e in volume.iterdir("/", recursive=True)) == [
        "a",
        "a/empty file?.txt",
        "a/large.bin",
        "a/more",
        "a/more/b.txt",
    ]
    assert [(e.path, e.size) for e in volume.listdir("a/more")] == [("a/more/b.txt", 1)]
    with pytest.raises(FileExistsError), volume.batch_upload() as batch:
        batch.put_file(io.BytesIO(b"other"), "/a/more/b.txt")
    volume.remove_file("a/more", recursive=True)
    with pytest.raises(FileNotFoundError):
        b"".join(volume.read_file("a/more/b.txt"))
    assert [found.name for found in modal.Volume.objects.list(client=client)] == ["data"]
    assert (service.volume("data").folder / "a" / "large.bin").stat().st_size == len(large)


@pytest.mark.parametrize("version", [1, 2])
def test_an_upload_that_breaks_off_leaves_whole_files_and_can_be_repeated(
    version: int, service: ModalService, client: Any
) -> None:
    volume = volume_of(client, "data", create_if_missing=True, version=version)
    service.script(BrokenUpload(files=1))

    def upload() -> None:
        with volume.batch_upload(force=True) as batch:
            batch.put_file(io.BytesIO(b"one"), "/1.txt")
            batch.put_file(io.BytesIO(b"two"), "/2.txt")

    with pytest.raises(modal.exception.ConflictError, match="the upload broke off"):
        upload()
    [there] = volume.listdir("/")
    assert there.size == 3
    upload()
    assert sorted(entry.path for entry in volume.listdir("/")) == ["1.txt", "2.txt"]


def test_a_secret_that_does_not_exist_or_lacks_a_key_is_refused(
    service: ModalService, client: Any, spawn: Callable[..., Any]
) -> None:
    with pytest.raises(modal.exception.NotFoundError, match="'hub' not found"):
        spawn(options={"secrets": [modal.Secret.from_name("hub", client=client)]})
    service.add_secret("hub", {"OTHER": "1"})
    with pytest.raises(modal.exception.InvalidError, match="HF_TOKEN"):
        spawn(options={"secrets": [modal.Secret.from_name("hub", required_keys=["HF_TOKEN"], client=client)]})
    assert service.containers_started == 0


def test_the_workspace_tells_its_rates(client: Any) -> None:
    rates = modal.Workspace.from_context(client=client).billing.rates()
    assert str(rates["gpu_h100"]) == "0.001097"


def test_a_reset_ends_what_runs_and_forgets_everything_but_the_address(
    service: ModalService, client: Any, spawn: Callable[..., Any]
) -> None:
    call = spawn(steps=1000)
    process_id = until(lambda: service.call(call.object_id).process_id)
    folder = service.volume("runs").folder
    before = service.env
    service.reset()
    assert (is_alive(process_id), folder.exists(), service.env, service.requests(), service.calls()) == (
        False,
        False,
        before,
        [],
        [],
    )
    with pytest.raises(modal.exception.NotFoundError):
        modal.FunctionCall.from_id(call.object_id, client=client).get(timeout=0)


def test_the_app_of_a_client_that_died_before_it_spawned_stops_by_itself(job: Any) -> None:
    code = """
        import os, modal
        app = modal.App("ftsdk-dead")
        app.run(detach=True).__enter__()
        os._exit(9)
    """
    with ModalService(client_lost_after_s=0.2) as service:
        env = {**os.environ, **service.env}
        assert subprocess.run([sys.executable, "-c", textwrap.dedent(code)], env=env, check=False).returncode == 9
        assert [app.name for app in service.apps()] == ["ftsdk-dead"]
        until(lambda: service.apps()[0].state == "stopped")


def test_a_killed_container_loses_what_it_had_not_committed(job: Any) -> None:
    with ModalService(commit_every_s=60.0) as service, pytest.MonkeyPatch.context() as patch:
        for name, value in service.env.items():
            patch.setenv(name, value)
        with modal.Client.from_credentials(service.env["MODAL_TOKEN_ID"], service.env["MODAL_TOKEN_SECRET"]) as client:
            service.script(Interruption(how="crash", at=FileLines(pattern="r1/events.jsonl", lines=3)))
            app, remote = build(job, client)
            with app.run(detach=True, client=client):
                call = remote.spawn(json.dumps({"run": "r1", "steps": 5}))
            live = service.volume("runs").folder / "r1" / "events.jsonl"
            until(live.exists)
            assert volume_of(client).listdir("/") == []
            assert json.loads(call.get(timeout=20))["done"] == 5
            assert [line for line in service.log(call.object_id).splitlines() if line.startswith("begins")] == [
                "begins at 0"
            ] * 2
            # The container that ended in peace committed; what a client uploads is committed, too.
            until(lambda: service.containers_running == 0)
            volume = volume_of(client)
            assert b"".join(volume.read_file("r1/events.jsonl")) == live.read_bytes()
            with volume.batch_upload() as batch:
                batch.put_file(io.BytesIO(b"new"), "/r1/more")
            assert (live.parent / "more").read_text() == "new"
            volume.remove_file("r1", recursive=True)
            assert not live.parent.exists()


def test_a_commit_in_the_background_loses_no_upload(job: Any) -> None:
    with ModalService(commit_every_s=0.01) as service, pytest.MonkeyPatch.context() as patch:
        for name, value in service.env.items():
            patch.setenv(name, value)
        with modal.Client.from_credentials(service.env["MODAL_TOKEN_ID"], service.env["MODAL_TOKEN_SECRET"]) as client:
            app, remote = build(job, client)
            with app.run(client=client):
                live = service.volume("runs").folder
                for n in range(4000):  # a commit that takes a while
                    (live / str(n)).write_text("")
                call = remote.spawn(json.dumps({"run": "r1", "steps": 400, "pause": 0.01}))
                until(lambda: (live / "r1" / "events.jsonl").exists())
                volume = volume_of(client)
                for n in range(40):
                    with volume.batch_upload() as batch:
                        batch.put_file(io.BytesIO(b"new"), f"/more/{n}")
                    assert b"".join(volume.read_file(f"more/{n}")) == b"new"
                call.cancel()


def test_nothing_is_left_behind_by_a_process_that_is_killed(job: Any) -> None:
    code = """
        import json, os, sys, time
        from ftsdk.testing.modal import ModalService
        with ModalService() as service:
            os.environ.update(service.env)
            import modal
            import loopback_job
            image = modal.Image.debian_slim(python_version="3.12").add_local_python_source("loopback_job")
            app = modal.App("ftsdk-left", include_source=False)
            volume = modal.Volume.from_name("runs", create_if_missing=True, version=2)
            options = dict(image=image, volumes={"/runs": volume}, env={"JOB_ROOT": "/runs"}, include_source=False)
            remote = app.function(**options)(loopback_job.run)
            with app.run(detach=True):
                call = remote.spawn(json.dumps({"run": "r1", "steps": 100000, "child": True}))
            folder = service.volume("runs").folder
            while not (folder / "r1" / "events.jsonl").exists():
                time.sleep(0.02)
            child = int((folder / "r1" / "child").read_text())
            process_id = service.call(call.object_id).process_id
            print(json.dumps([process_id, child, str(folder), service.env["MODAL_SERVER_URL"]]), flush=True)
            time.sleep(60)
    """
    path = os.pathsep.join([str(Path(job.__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    other = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout is not None
    line = other.stdout.readline()
    other.send_signal(signal.SIGKILL)
    other.communicate()
    process_id, child_id, folder, url = json.loads(line)
    until(lambda: not is_alive(process_id) and not is_alive(child_id) and not Path(folder).exists())
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))
