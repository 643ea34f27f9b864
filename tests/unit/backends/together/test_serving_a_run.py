"""From a job to answers of its deployment, at the service that stands in for Together; and what that costs there."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

pytest.importorskip("together", reason="the extra 'together' isn't installed")

from ftsdk import Dataset, Endpoint, Eval, FineTuneJob, FtsdkError, Run, SpecError, Together
from ftsdk.deploy.deployments import Deployment, deployments, deployments_in, make_deployment
from ftsdk.protocol import RunRef
from ftsdk.protocol.serving import CanServe
from ftsdk.testing.together import Chaos, TogetherService

BUDGET_USD = 10


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[TogetherService]:
    def answer(model: str, messages, max_tokens, temperature) -> str:
        return "yes" if model.startswith("tester/") else "no"

    with TogetherService(chat=answer) as running:
        monkeypatch.setenv("TOGETHER_API_KEY", running.key)
        yield running


def submit(service: TogetherService) -> Run:
    backend = Together(
        base_url=service.base_url, max_retries=0, poll_s=0, timeout_s=5, settle_s=0, sleep=lambda seconds: None
    )
    rows = Dataset.from_rows([{"q": f"question {n}", "a": "yes"} for n in range(16)]).as_chat(
        prompt="{q}", completion="{a}"
    )
    job = FineTuneJob(
        model="Qwen/Qwen3.5-9B",
        train=rows,
        evals=[Eval.exact_match(rows, name="accuracy")],
        allow_leaks=["evals.accuracy"],
        backend=backend,
        budget_usd=20,
    )
    return job.submit().wait(progress=False, sleep=lambda seconds: None)


@pytest.fixture
def run(service: TogetherService) -> Run:
    return submit(service)


def a_deployment(
    run: Run, service: TogetherService, folder: Path, *, clock: Callable[[], float] | None = None
) -> Deployment:
    """As `run.serve` makes it, by the clock of the service or another one."""
    return make_deployment(
        run._backend,
        RunRef.parse(run.ref),
        run.status(),
        folder=folder,
        hardware=None,
        budget_usd=BUDGET_USD,
        max_hours=None,
        idle_stop_s=None,
        poll_s=0.01,
        clock=clock or (lambda: service.clock.now),
        sleep=lambda seconds: None,
    )


def test_a_tuned_model_is_served_measured_against_its_base_and_stopped(service: TogetherService, run: Run) -> None:
    base = Endpoint(url=f"{service.base_url}/v1", model="example/tiny-instruct", api_key_env="TOGETHER_API_KEY")
    with run.serve(budget_usd=BUDGET_USD, poll_s=0.01) as served:
        report = run.evaluate(base=base, tuned=served.endpoint, progress=False)
    assert (report.score("accuracy", "base").correct, report.score("accuracy", "tuned").correct) == (0, 16)
    assert report.pairs[0].only_tuned == 16
    assert service.inference.deployments == ()
    assert list(service.inference) == []
    assert deployments() == []


def test_measurements_are_reused_when_the_same_weights_are_served_again(service: TogetherService, run: Run) -> None:
    for chats in (16, 16):
        with run.serve(budget_usd=BUDGET_USD, poll_s=0.01) as served:
            run.evaluate(base=served.endpoint, tuned=served.endpoint, progress=False)
        asked = [request for request in service.requests if request.path == "/v1/chat/completions"]
        assert len(asked) == 2 * chats  # base and tuned are the same here; the second time nothing is asked


def test_another_process_finds_what_runs_from_its_options_alone(service: TogetherService, run: Run) -> None:
    served = run.serve(budget_usd=BUDGET_USD, poll_s=0.01).start()
    assert deployments() == [served.record]
    options = {**run._backend.options, "sleep": lambda seconds: None}
    (found,) = Run.open(run.ref, backend=Together(**options)).deployments()
    found.stop()
    assert service.inference.deployments == ()
    served.stop()


def test_the_service_s_own_stop_keeps_the_budget_if_the_process_dies(
    service: TogetherService, run: Run, tmp_path: Path
) -> None:
    # With a frozen clock, nothing of ours ever stops it, as if this process were dead.
    served = a_deployment(run, service, tmp_path, clock=lambda: 0.0).start()
    for _ in range(served.plan.max_s // 600):
        with served.endpoint.open() as wire:
            wire.generate([[{"role": "user", "content": "still there?"}]], max_new_tokens=1)
        service.pass_time(600)
    with served.endpoint.open() as wire:
        wire.generate([[{"role": "user", "content": "the last request"}]], max_new_tokens=1)
    service.pass_time(served.plan.max_s % 600)
    for _ in range(100):
        service.pass_time(600)
    assert BUDGET_USD * 0.6 < service.hosting_usd <= BUDGET_USD
    served.stop()


def test_what_it_costs_there_is_no_more_than_what_we_say(service: TogetherService, run: Run, tmp_path: Path) -> None:
    with a_deployment(run, service, tmp_path) as served:
        service.pass_time(25 * 60)
    assert 0 < service.hosting_usd <= float(served.record.cost_usd or 0) <= served.plan.at_most_usd


def test_a_run_s_hardware_is_listed_with_price_and_availability(service: TogetherService, run: Run) -> None:
    listed = [(offer.hardware, str(offer.price_usd_per_hour), offer.free) for offer in run.serving_offers()]
    assert listed == [
        ("1xnvidia-h100-80gb", "3.99", 8),
        ("2xnvidia-h100-80gb", "7.98", 8),
        ("1xnvidia-b200-180gb", "8.99", 0),
    ]
    assert service.inference.deployments == ()


@pytest.mark.parametrize("scenario", ["never_provisions", "fails_to_provision"])
def test_one_that_does_not_come_up_is_stopped(
    service: TogetherService, run: Run, tmp_path: Path, scenario: str
) -> None:
    service.scenario = scenario
    with pytest.raises((FtsdkError, TimeoutError), match="deployment ftsdk-"):
        a_deployment(run, service, tmp_path).start(timeout_s=60)  # each request takes a second by the service's clock
    assert service.inference.deployments == ()


def test_a_model_that_is_not_deployable_is_refused(service: TogetherService) -> None:
    service.models["Qwen/Qwen3.5-9B"] = service.models["Qwen/Qwen3.5-9B"].replace(dedicated=False)
    with pytest.raises(SpecError, match="collect the weights"):
        submit(service).serve(budget_usd=BUDGET_USD)
    assert service.inference.deployments == ()


def test_under_any_faults_at_most_one_is_started_and_none_is_left(
    service: TogetherService, run: Run, tmp_path: Path
) -> None:
    served_whole = 0
    for seed in range(40):
        folder = tmp_path / str(seed)
        before = len(service.requests)
        service.chaos = Chaos(seed=seed, probability=0.25)
        try:
            with a_deployment(run, service, folder) as served:
                served_whole += served.endpoint is not None
        except FtsdkError:
            pass  # it may fail, but not leave anything
        service.chaos = None
        backend = run._backend
        assert isinstance(backend, CanServe)
        for left in deployments_in(folder, backend):
            left.stop()
        assert service.inference.deployments == ()
        assert list(service.inference) == []
        paid = [
            request
            for request in list(service.requests)[before:]
            if request.method == "POST" and request.path.endswith("/deployments")
        ]
        assert len(paid) <= 1
    assert served_whole > 5
