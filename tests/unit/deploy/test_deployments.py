"""A deployment from the decision to the last look: through the real client, against a strict server on loopback."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread

import pytest

pytest.importorskip("together", reason="the extra 'together' isn't installed")

from dedicated_inference import KEY, DedicatedInference, ServedBackend
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
from ftsdk.testing import ScriptedBackend


@pytest.fixture
def place() -> Iterator[DedicatedInference]:
    with DedicatedInference() as running:
        thread = Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOGETHER_API_KEY", KEY)


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
def backend(place: DedicatedInference, tmp_path: Path) -> ServedBackend:
    return ServedBackend(root=tmp_path / "place", serving_url=place.url)


@pytest.fixture
def run(submit: Callable[[ScriptedBackend], Run], backend: ServedBackend) -> Run:
    started = submit(backend)
    return started.wait(progress=False, sleep=lambda seconds: None)


def gone(place: DedicatedInference) -> bool:
    return not place.endpoints and not place.deployments


def test_a_block_serves_the_model_and_leaves_nothing(place: DedicatedInference, run: Run) -> None:
    with run.serve(budget_usd=10, poll_s=0.01) as served:
        assert served.endpoint.model in {endpoint["name"] for endpoint in place.endpoints.values()}
        assert [deployment.record.name for deployment in run.deployments()] == [served.record.name]
    assert gone(place)
    assert run.deployments() == []
    assert served.record.state == "stopped"
    assert len(place.started) == 1


def test_what_a_block_would_start_can_be_read_before_and_costs_nothing(place: DedicatedInference, run: Run) -> None:
    line = str(run.serve(budget_usd=10))
    assert "$3.99 an hour" in line
    assert "at most $10" in line
    assert place.spending == []
    assert run.deployments() == []


def test_the_tuned_model_is_evaluated_where_it_is_served(place: DedicatedInference, run: Run) -> None:
    with run.serve(budget_usd=10, poll_s=0.01) as served:
        report = run.evaluate(base=served.endpoint, tuned=served.endpoint, progress=False)
    assert report.score("accuracy", "tuned").correct == 8
    assert report.pairs[0].both == 8


def test_a_budget_that_is_too_small_is_refused_before_anything_starts(place: DedicatedInference, run: Run) -> None:
    with pytest.raises(BudgetExceededError, match="nothing was started"):
        run.serve(budget_usd=1)
    assert place.spending == []


def test_a_body_that_raises_stops_it_and_keeps_its_own_error(place: DedicatedInference, run: Run) -> None:
    with pytest.raises(ZeroDivisionError), run.serve(budget_usd=10, poll_s=0.01):
        _ = 1 / 0
    assert gone(place)


def test_a_keyboard_stops_it_too(place: DedicatedInference, run: Run) -> None:
    with pytest.raises(KeyboardInterrupt), run.serve(budget_usd=10, poll_s=0.01):
        raise KeyboardInterrupt
    assert gone(place)


@pytest.mark.parametrize("what", ["PATCH deployment", "DELETE deployment", "DELETE endpoint"])
@pytest.mark.parametrize("fault", ["lose", "503"])
def test_a_stop_that_fails_once_is_tried_again_until_nothing_is_left(
    place: DedicatedInference, run: Run, what: str, fault: str
) -> None:
    place.fault = lambda asked, n: fault if asked == what and n == 1 else None
    with run.serve(budget_usd=10, poll_s=0.01):
        pass
    assert gone(place)


def test_a_deployment_that_cannot_be_stopped_is_loud_and_stays_on_disk(place: DedicatedInference, run: Run) -> None:
    served = run.serve(budget_usd=10, poll_s=0.01).start()
    place.fault = lambda asked, n: "400" if asked == "DELETE deployment" else None
    with pytest.raises(BackendError, match=r"may bill \$3.99 an hour.*ftsdk stop scripted:") as caught:
        served.stop(wait_s=0)
    assert caught.value.retryable
    place.fault = lambda asked, n: None
    (found,) = run.deployments()
    found.stop()
    assert gone(place)
    served.stop()
    assert run.deployments() == []


def test_stopping_twice_asks_nothing_the_second_time(place: DedicatedInference, run: Run) -> None:
    served = run.serve(budget_usd=10, poll_s=0.01).start()
    served.stop()
    place.said.clear()
    served.stop()
    assert place.said == []


def test_a_start_that_fails_stops_what_it_started(place: DedicatedInference, run: Run) -> None:
    place.state_when_up = "FAILED"
    with pytest.raises(BackendError, match="DEPLOYMENT_STATE_FAILED"), run.serve(budget_usd=10, poll_s=0.01):
        pytest.fail("the block must not run")
    assert gone(place)
    assert run.deployments() == []


def test_a_start_that_takes_too_long_is_given_up_and_stopped(place: DedicatedInference, run: Run) -> None:
    place.looks = 1_000_000
    served = run.serve(budget_usd=10, poll_s=0.01)
    place.fault = lambda asked, n: (
        setattr(place, "looks", 0) if asked == "PATCH deployment" else None
    )  # it stops at once, though
    with pytest.raises(TimeoutError, match="timeout_s"):
        served.start(timeout_s=0.05)
    assert gone(place)


def test_a_look_that_gets_no_answer_is_only_a_look(place: DedicatedInference, run: Run) -> None:
    place.fault = lambda asked, n: "503" if asked == "GET deployments" and n == 1 else None
    with run.serve(budget_usd=10, poll_s=0.01) as served:
        assert served.endpoint
    assert gone(place)


def test_when_its_time_is_over_it_is_stopped_whatever_the_block_does(
    place: DedicatedInference, backend: ServedBackend, run: Run
) -> None:
    now = [1_800_000_000.0]
    served = a_deployment(backend, run, clock=lambda: now[0])
    served.start()
    now[0] += served.plan.max_s + 1
    deadline = time.monotonic() + 20
    while not gone(place) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert gone(place)
    with pytest.raises(BudgetExceededError, match="its time limit"):
        _ = served.endpoint
    with pytest.raises(BudgetExceededError, match="raise budget_usd or max_hours"):
        served.__exit__(None, None, None)
    assert served.record.state == "stopped"


def test_the_maximum_cost_is_counted_by_the_minute_from_before_readiness(
    place: DedicatedInference, backend: ServedBackend, run: Run
) -> None:
    now = [1_800_000_000.0]
    with a_deployment(backend, run, clock=lambda: now[0]) as served:
        now[0] += 29 * 60 + 30
    assert str(served.record.cost_usd) == "2.00"  # thirty minutes at 3.99 an hour are 1.995


def test_a_second_deployment_is_refused_while_the_first_is_not_stopped(place: DedicatedInference, run: Run) -> None:
    with run.serve(budget_usd=10, poll_s=0.01), pytest.raises(SpecError, match="ftsdk stop scripted:"):
        run.serve(budget_usd=10)
    assert len(place.started) == 1
    assert run.serve(budget_usd=10)


def test_a_deployment_is_started_once(place: DedicatedInference, run: Run) -> None:
    with run.serve(budget_usd=10, poll_s=0.01) as served, pytest.raises(SpecError, match="started before"):
        served.start()
    with pytest.raises(SpecError, match="started before"):
        served.start()
    assert len(place.started) == 1


def test_outside_of_its_block_it_has_no_endpoint(run: Run) -> None:
    served = run.serve(budget_usd=10, poll_s=0.01)
    for use in (lambda: None, lambda: served.start().stop()):
        use()
        with pytest.raises(RunNotReadyError, match="use it as a block"):
            _ = served.endpoint


def test_a_backend_that_cannot_serve_says_what_to_do(submit: Callable[[ScriptedBackend], Run], tmp_path: Path) -> None:
    started = submit(ScriptedBackend(root=tmp_path / "place")).wait(progress=False, sleep=lambda seconds: None)
    with pytest.raises(SpecError, match=r"can't serve models.*Endpoint\(url="):
        started.serve(budget_usd=10)
    assert started.deployments() == []
    assert not hasattr(Local(), "serving_offers")


def test_a_run_that_has_not_succeeded_is_not_served(
    submit: Callable[[ScriptedBackend], Run], backend: ServedBackend
) -> None:
    with pytest.raises(RunNotReadyError, match="only the model of a run that succeeded"):
        submit(backend).serve(budget_usd=10)


def test_a_model_that_cannot_be_deployed_is_refused(place: DedicatedInference, run: Run) -> None:
    place.configs = []
    with pytest.raises(SpecError, match="can serve the model of run scripted:"):
        run.serve(budget_usd=10)
    assert place.spending == []


CHILD = """
import os, sys
from dedicated_inference import ServedBackend
from ftsdk import Run
root, url, ref, deed = sys.argv[1:]
served = Run.open(ref, backend=ServedBackend(root=root, serving_url=url)).serve(budget_usd=10, poll_s=0.01)
if deed == "dies in the block":
    with served:
        os._exit(3)
elif deed == "forgets to stop":
    served.start()
"""


def child(run: Run, place: DedicatedInference, root: Path, deed: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(__file__).parents[2] / "support"), *(entry for entry in sys.path if entry)])
    environment = {**os.environ, "PYTHONPATH": path}
    command = [sys.executable, "-c", textwrap.dedent(CHILD), str(root), place.url, run.ref, deed]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)


def test_what_a_dead_process_leaves_is_found_and_stopped_by_the_next(
    place: DedicatedInference, run: Run, tmp_path: Path
) -> None:
    assert child(run, place, tmp_path / "place", "dies in the block").returncode == 3
    assert not gone(place)
    (found,) = run.deployments()
    assert found.record.native["deployment"] in place.deployments
    found.stop()
    assert gone(place)
    assert run.deployments() == []


@pytest.mark.parametrize("crash_at", ["POST endpoints", "POST deployments"])
def test_a_process_that_dies_within_a_request_leaves_a_usable_record(
    place: DedicatedInference, run: Run, tmp_path: Path, crash_at: str
) -> None:
    children: list[subprocess.Popen[bytes]] = []
    asked = threading.Event()

    def kill(what: str, n: int) -> str | None:
        if what != crash_at:
            return None
        children[0].kill()
        children[0].wait(20)
        asked.set()
        return "lose"

    place.fault = kill
    path = os.pathsep.join([str(Path(__file__).parents[2] / "support"), *(entry for entry in sys.path if entry)])
    command = [sys.executable, "-c", CHILD, str(tmp_path / "place"), place.url, run.ref, "forgets to stop"]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}) as process:
        children.append(process)
        assert asked.wait(60)
    place.fault = lambda asked, n: None
    assert not gone(place)
    (found,) = run.deployments()
    found.stop()
    assert gone(place)


def test_a_process_that_forgets_to_stop_it_stops_it_when_it_ends(
    place: DedicatedInference, run: Run, tmp_path: Path
) -> None:
    ended = child(run, place, tmp_path / "place", "forgets to stop")
    assert ended.returncode == 0, ended.stderr
    assert len(place.started) == 1
    assert gone(place)
    assert run.deployments() == []


def test_the_commands_list_what_a_dead_process_left_and_stop_it(
    place: DedicatedInference, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    metadata = tmp_path / "site" / "served-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: served\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text("[ftsdk.backends]\nscripted = dedicated_inference:ServedBackend\n")
    monkeypatch.syspath_prepend(metadata.parent)
    assert "no deployments" in CliRunner().invoke(app, ["deployments"]).output
    child(run, place, tmp_path / "place", "dies in the block")
    listed = CliRunner().invoke(app, ["deployments"]).output
    assert run.ref in listed
    assert "$3.99 an hour" in " ".join(listed.split())
    stopped = CliRunner().invoke(app, ["stop", run.ref])
    assert "is stopped; it cost at most $" in " ".join(stopped.output.split())
    assert gone(place)
    assert "no deployments" in CliRunner().invoke(app, ["deployments"]).output
    assert "has no deployment that isn't stopped" in " ".join(CliRunner().invoke(app, ["stop", run.ref]).output.split())


def test_the_key_is_in_no_record_and_no_text(place: DedicatedInference, run: Run, ftsdk_home: Path) -> None:
    with run.serve(budget_usd=10, poll_s=0.01) as served:
        said = [str(served), repr(served), repr(served.endpoint), served.record.to_json()]
    place.fault = lambda asked, n: "403"
    with pytest.raises(CredentialsError, match="key isn't allowed") as caught:
        run.serve(budget_usd=10)
    said += [str(caught.value), repr(caught.value)]
    files = [file.read_bytes() for file in ftsdk_home.rglob("*") if file.is_file()]
    assert len(files) > 1
    assert not any(KEY in text for text in said)
    assert not any(KEY.encode() in content for content in files)
    assert place.keys == {f"Bearer {KEY}"}


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
