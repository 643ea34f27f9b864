"""A deployment from the decision to the last look: through the real client, against the stand-in for Together."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("together", reason="the extra 'together' isn't installed")

from served_backend import ServedBackend
from typer.testing import CliRunner

from ftsdk import (
    BackendError,
    BudgetExceededError,
    CredentialsError,
    Dataset,
    Deployment,
    Eval,
    FineTuneJob,
    Local,
    Run,
    RunNotReadyError,
    SpecError,
)
from ftsdk.cli.app import app
from ftsdk.deploy.deployments import make_deployment
from ftsdk.deploy.servers.served_run import ServedRun
from ftsdk.testing import ScriptedBackend
from ftsdk.testing.together import FaultKind, TogetherService

ENDPOINT = "*/endpoints/ep_*"
DEPLOYMENTS = "*/endpoints/*/deployments"
DEPLOYMENT = "*/deployments/*"


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[TogetherService]:
    with TogetherService() as running:
        monkeypatch.setenv("TOGETHER_API_KEY", running.key)
        yield running


@pytest.fixture
def submit(tmp_path: Path, model_of_headers: Path) -> Callable[[ScriptedBackend], Run]:
    def start(backend: ScriptedBackend) -> Run:
        file = tmp_path / "mails.csv"
        file.write_text("text,label\n" + "".join(f"mail {n},mail {n}\n" for n in range(8)), encoding="utf-8")
        rows = Dataset.from_file(file).as_chat(prompt="{text}", completion="{label}")
        return FineTuneJob(
            model=str(model_of_headers),
            train=rows,
            evals=[Eval.exact_match(rows, name="accuracy")],
            allow_leaks=["evals.accuracy"],
            backend=backend,
        ).submit()

    return start


@pytest.fixture
def backend(service: TogetherService, tmp_path: Path) -> ServedBackend:
    return ServedBackend(root=tmp_path / "runs", serving_url=service.base_url, job=service.add_completed_job().id)


@pytest.fixture
def run(submit: Callable[[ScriptedBackend], Run], backend: ServedBackend) -> Run:
    started = submit(backend)
    return started.wait(progress=False, sleep=lambda seconds: None)


def gone(service: TogetherService) -> bool:
    return not list(service.inference) and not service.inference.deployments


def posted(service: TogetherService) -> list[str]:
    return [request.route for request in service.requests if request.method == "POST"]


def test_a_block_serves_the_model_and_leaves_nothing(service: TogetherService, run: Run) -> None:
    with run.serve(budget_usd=10, poll_s=0.01) as served:
        assert served.endpoint.model in {endpoint.name for endpoint in service.inference}
        assert [deployment.record.name for deployment in run.deployments()] == [served.record.name]
    assert gone(service)
    assert run.deployments() == []
    assert served.record.state == "stopped"
    assert len(service.inference.created) == 1


def test_what_a_block_would_start_can_be_read_before_and_costs_nothing(service: TogetherService, run: Run) -> None:
    line = str(run.serve(budget_usd=10))
    assert "$3.99 an hour" in line
    assert "at most $10" in line
    assert posted(service) == []
    assert run.deployments() == []


def test_the_tuned_model_is_evaluated_where_it_is_served(service: TogetherService, run: Run) -> None:
    with run.serve(budget_usd=10, poll_s=0.01) as served:
        report = run.evaluate(base=served.endpoint, tuned=served.endpoint, progress=False)
    assert report.score("accuracy", "tuned").correct == 8
    assert report.pairs[0].both == 8


def test_a_budget_that_is_too_small_is_refused_before_anything_starts(service: TogetherService, run: Run) -> None:
    with pytest.raises(BudgetExceededError, match="nothing was started"):
        run.serve(budget_usd=1)
    assert posted(service) == []


def test_a_body_that_raises_stops_it_and_keeps_its_own_error(service: TogetherService, run: Run) -> None:
    with pytest.raises(ZeroDivisionError), run.serve(budget_usd=10, poll_s=0.01):
        _ = 1 / 0
    assert gone(service)


def test_a_keyboard_stops_it_too(service: TogetherService, run: Run) -> None:
    with pytest.raises(KeyboardInterrupt), run.serve(budget_usd=10, poll_s=0.01):
        raise KeyboardInterrupt
    assert gone(service)


@pytest.mark.parametrize("what", [f"PATCH {DEPLOYMENT}", f"DELETE {DEPLOYMENT}", f"DELETE {ENDPOINT}"])
@pytest.mark.parametrize("fault", ["closed_after", "503"])
def test_a_stop_that_fails_once_is_tried_again_until_nothing_is_left(
    service: TogetherService, run: Run, what: str, fault: FaultKind
) -> None:
    with service.failing(fault, on=what, times=1), run.serve(budget_usd=10, poll_s=0.01):
        pass
    assert fault in {request.fault for request in service.requests}
    assert gone(service)


def test_a_deployment_that_cannot_be_stopped_is_loud_and_stays_on_disk(service: TogetherService, run: Run) -> None:
    served = run.serve(budget_usd=10, poll_s=0.01).start()
    loud = pytest.raises(BackendError, match=r"may bill \$3.99 an hour.*ftsdk stop scripted:")
    with service.failing("400", on=f"DELETE {DEPLOYMENT}"), loud as caught:
        served.stop(wait_s=0)
    assert caught.value.retryable
    (found,) = run.deployments()
    found.stop()
    assert gone(service)
    served.stop()
    assert run.deployments() == []


def test_stopping_twice_asks_nothing_the_second_time(service: TogetherService, run: Run) -> None:
    served = run.serve(budget_usd=10, poll_s=0.01).start()
    served.stop()
    before = service.requests
    served.stop()
    assert service.requests == before


def test_a_start_that_fails_stops_what_it_started(service: TogetherService, run: Run) -> None:
    service.scenario = "fails_to_provision"
    with pytest.raises(BackendError, match="DEPLOYMENT_STATE_FAILED"), run.serve(budget_usd=10, poll_s=0.01):
        pytest.fail("the block must not run")
    assert gone(service)
    assert run.deployments() == []


def test_a_start_that_takes_too_long_is_given_up_and_stopped(service: TogetherService, run: Run) -> None:
    service.scenario = "never_provisions"
    served = run.serve(budget_usd=10, poll_s=0.01)
    with pytest.raises(TimeoutError, match="timeout_s"):
        served.start(timeout_s=0.05)
    assert gone(service)


def test_a_look_that_gets_no_answer_is_only_a_look(service: TogetherService, run: Run) -> None:
    with service.failing("503", on=f"GET {DEPLOYMENTS}", times=1), run.serve(budget_usd=10, poll_s=0.01) as served:
        assert served.endpoint
    assert gone(service)


def test_when_its_time_is_over_it_is_stopped_whatever_the_block_does(
    service: TogetherService, backend: ServedBackend, run: Run
) -> None:
    now = [1_800_000_000.0]
    served = a_deployment(backend, run, clock=lambda: now[0])
    served.start()
    now[0] += served.plan.max_s + 1
    deadline = time.monotonic() + 20
    while not gone(service) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert gone(service)
    with pytest.raises(BudgetExceededError, match="its time limit"):
        _ = served.endpoint
    with pytest.raises(BudgetExceededError, match="raise budget_usd or max_hours"):
        served.__exit__(None, None, None)
    assert served.record.state == "stopped"


def test_the_maximum_cost_is_counted_by_the_minute_from_before_readiness(
    service: TogetherService, backend: ServedBackend, run: Run
) -> None:
    now = [1_800_000_000.0]
    with a_deployment(backend, run, clock=lambda: now[0]) as served:
        now[0] += 29 * 60 + 30
    assert str(served.record.cost_usd) == "2.00"  # thirty minutes at 3.99 an hour are 1.995


def test_a_second_deployment_is_refused_while_the_first_is_not_stopped(service: TogetherService, run: Run) -> None:
    with run.serve(budget_usd=10, poll_s=0.01), pytest.raises(SpecError, match="ftsdk stop scripted:"):
        run.serve(budget_usd=10)
    assert len(service.inference.created) == 1
    assert run.serve(budget_usd=10)


def test_a_deployment_is_started_once(service: TogetherService, run: Run) -> None:
    with run.serve(budget_usd=10, poll_s=0.01) as served, pytest.raises(SpecError, match="started before"):
        served.start()
    with pytest.raises(SpecError, match="started before"):
        served.start()
    assert len(service.inference.created) == 1


def test_outside_of_its_block_it_has_no_endpoint(run: Run) -> None:
    served = run.serve(budget_usd=10, poll_s=0.01)
    for use in (lambda: None, lambda: served.start().stop()):
        use()
        with pytest.raises(RunNotReadyError, match="use it as a block"):
            _ = served.endpoint


def test_a_backend_that_cannot_serve_says_what_to_do(submit: Callable[[ScriptedBackend], Run], tmp_path: Path) -> None:
    started = submit(ScriptedBackend(root=tmp_path / "runs")).wait(progress=False, sleep=lambda seconds: None)
    with pytest.raises(SpecError, match=r"can't serve models.*run\.serve\(engine="):
        started.serve(budget_usd=10)
    assert started.deployments() == []
    assert not hasattr(Local(), "serving_offers")


def test_a_run_of_a_backend_without_servers_is_served_on_this_machine(
    submit: Callable[[ScriptedBackend], Run], tmp_path: Path
) -> None:
    started = submit(ScriptedBackend(root=tmp_path / "runs")).wait(progress=False, sleep=lambda seconds: None)

    served = started.serve()

    assert isinstance(served, ServedRun)
    assert "llama.cpp: on this machine at 127.0.0.1" in str(served)
    assert served.plan.models[0].weights == started.ref
    assert started.serve(engine="vllm").plan.engine == "vLLM"
    with pytest.raises(RunNotReadyError, match="isn't running"):
        _ = served.endpoint
    with pytest.raises(SpecError, match="idle_stop_s is for backends that rent out servers"):
        started.serve(idle_stop_s=60)


def test_a_run_that_has_not_succeeded_is_not_served(
    submit: Callable[[ScriptedBackend], Run], backend: ServedBackend
) -> None:
    with pytest.raises(RunNotReadyError, match="only the model of a run that succeeded"):
        submit(backend).serve(budget_usd=10)


def test_a_model_that_cannot_be_deployed_is_refused(service: TogetherService, run: Run) -> None:
    (job,) = service.jobs
    job.offer = service.models[job.offer.name] = job.offer.replace(dedicated=False)
    with pytest.raises(SpecError, match="can serve the model of run scripted:"):
        run.serve(budget_usd=10)
    assert posted(service) == []


CHILD = """
import os, sys
from served_backend import ServedBackend
from ftsdk import Run
root, url, job, ref, deed = sys.argv[1:]
backend = ServedBackend(root=root, serving_url=url, job=job)
served = Run.open(ref, backend=backend).serve(budget_usd=10, poll_s=0.01)
if deed == "dies in the block":
    with served:
        os._exit(3)
elif deed == "forgets to stop":
    served.start()
"""


def child(run: Run, backend: ServedBackend, deed: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(Path(__file__).parents[2] / "support"), *(entry for entry in sys.path if entry)])
    where = [str(backend.options[name]) for name in ("root", "serving_url", "job")]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *where, run.ref, deed],
        env={**os.environ, "PYTHONPATH": path},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_what_a_dead_process_leaves_is_found_and_stopped_by_the_next(
    service: TogetherService, run: Run, backend: ServedBackend
) -> None:
    with child(run, backend, "dies in the block") as process:
        assert process.wait(60) == 3
    assert not gone(service)
    (found,) = run.deployments()
    assert [found.record.native["deployment"]] == [deployment.id for deployment in service.inference.deployments]
    found.stop()
    assert gone(service)
    assert run.deployments() == []


@pytest.mark.parametrize("crash_at", ["POST */endpoints", f"POST {DEPLOYMENTS}"])
def test_a_process_that_dies_within_a_request_leaves_a_usable_record(
    service: TogetherService, run: Run, backend: ServedBackend, crash_at: str
) -> None:
    # The answer is held back until the process is dead.
    with service.failing("late", on=crash_at), child(run, backend, "forgets to stop") as process:
        deadline = time.monotonic() + 60
        while not any(request.fault == "late" for request in service.requests) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.kill()
        process.wait(20)
    assert not gone(service)
    (found,) = run.deployments()
    found.stop()
    assert gone(service)


def test_a_process_that_forgets_to_stop_it_stops_it_when_it_ends(
    service: TogetherService, run: Run, backend: ServedBackend
) -> None:
    with child(run, backend, "forgets to stop") as process:
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert len(service.inference.created) == 1
    assert gone(service)
    assert run.deployments() == []


def test_the_commands_list_what_a_dead_process_left_and_stop_it(
    service: TogetherService, run: Run, backend: ServedBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "site" / "served-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: served\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[ftsdk.backends]\nscripted = served_backend:ServedBackend\n")
    monkeypatch.syspath_prepend(metadata.parent)
    assert "no deployments" in CliRunner().invoke(app, ["deployments"]).output
    with child(run, backend, "dies in the block") as process:
        process.wait(60)
    listed = CliRunner().invoke(app, ["deployments"]).output
    assert run.ref in listed
    assert "$3.99 an hour" in " ".join(listed.split())
    stopped = CliRunner().invoke(app, ["stop", run.ref])
    assert "is stopped; it cost at most $" in " ".join(stopped.output.split())
    assert gone(service)
    assert "no deployments" in CliRunner().invoke(app, ["deployments"]).output
    assert "has no deployment to stop" in " ".join(CliRunner().invoke(app, ["stop", run.ref]).output.split())


def test_the_key_is_in_no_record_and_no_text(service: TogetherService, run: Run, ftsdk_home: Path) -> None:
    with run.serve(budget_usd=10, poll_s=0.01) as served:
        said = [str(served), repr(served), repr(served.endpoint), served.record.to_json()]
    refused = pytest.raises(CredentialsError, match="key isn't allowed")
    with service.failing("403"), refused as caught:
        run.serve(budget_usd=10)
    said += [str(caught.value), repr(caught.value)]
    files = [file.read_bytes() for file in ftsdk_home.rglob("*") if file.is_file()]
    assert len(files) > 1
    assert not any(service.key in text for text in said)
    assert not any(service.key.encode() in content for content in files)
    assert all(request.has_key for request in service.requests)


def a_deployment(backend: ServedBackend, run: Run, *, clock: Callable[[], float]) -> Deployment:
    from ftsdk._home import home
    from ftsdk.protocol import RunRef

    return make_deployment(
        backend,
        RunRef.parse(run.ref),
        run.status(),
        folder=home() / "results" / run.ref.replace(":", "-"),
        hardware=None,
        budget_usd=10,
        max_hours=None,
        idle_stop_s=None,
        poll_s=0.01,
        clock=clock,
    )
