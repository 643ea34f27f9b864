"""Runs in bad weather: a few in every run of the tests, two hundred with --slow.

Random requests fail in random ways, and yet each key is one job with one whole history.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("together", reason="the extra 'together' isn't installed")

from ftsdk.errors import BackendError
from ftsdk.protocol import CheckpointEvent, EvalEvent, LogEvent, RunRef, StateEvent, StepEvent
from ftsdk.runfolder.manifest import verify
from ftsdk.testing.together import SCENARIOS, Chaos

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ftsdk import Together
    from ftsdk.spec import JobSpec
    from ftsdk.testing.together import TogetherService

SCENARIO_OF = (
    "succeeds",
    "doubles_events",
    "restarts",
    "lists_late",
    "fails",
    "succeeds",
    "doubles_events",
    "user_error",
)
# A seed of each scenario in every run of the tests.
A_FEW, MANY = range(8), [range(first, first + 25) for first in range(0, 200, 25)]


@pytest.mark.parametrize("seeds", [A_FEW, *(pytest.param(seeds, marks=pytest.mark.slow) for seeds in MANY)], ids=str)
def test_in_any_weather_a_key_is_one_job_with_one_whole_history(
    seeds: range,
    service: TogetherService,
    make_backend: Callable[..., Together],
    make_spec: Callable[..., JobSpec],
    clock: Any,
    tmp_path: Path,
    ftsdk_home: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for logger in ("together", "httpx", "ftsdk"):
        caplog.set_level("DEBUG", logger=logger)
    told: list[str] = []
    for seed in seeds:
        name = SCENARIO_OF[seed % len(SCENARIO_OF)]
        # The weather of each run is its own: without the scenario's own faults.
        service.scenario = SCENARIOS[name].replace(wire=())
        service.chaos = Chaos(seed=seed, probability=0.25)
        started = len(service.jobs)
        weather = Weather(make_backend, clock)
        key = f"chaos-{seed}"
        # Data of its own, so that there is something to upload.
        plan = weather.backend.plan(make_spec(word=f"seed {seed}", validation=seed % 2 == 0))
        ref = weather.insist(lambda backend, plan=plan, key=key: backend.submit(plan, key=key))
        jobs = list(service.jobs)[started:]
        assert len(jobs) == 1, f"seed {seed}: {len(jobs)} jobs of one key after submit"
        seen = weather.follow(ref, cancels=seed % 10 == 9)
        jobs = list(service.jobs)[started:]
        is_restarted = any(job.successor for job in jobs)
        assert len(jobs) == 1 + is_restarted, f"seed {seed}: {len(jobs)} jobs of one key in the end"
        events = list(weather.backend.events(ref))
        assert seen == events, f"seed {seed}: reading bit by bit told another history"
        assert [event.seq for event in events] == list(range(len(events)))
        assert told_of(events) == expected_of(jobs), f"seed {seed} ({name}): events were lost or doubled"
        status = weather.backend.status(ref)
        ends = [
            event
            for event in events
            if isinstance(event, StateEvent) and event.state in ("succeeded", "failed", "cancelled")
        ]
        assert ends == events[-1:], f"seed {seed}: the end isn't told once, at the end"
        assert status.state == ends[0].state
        if status.state == "succeeded":
            into = tmp_path / f"artifact-{seed}"
            weather.insist(lambda backend, ref=ref, into=into: backend.collect(ref, into))
            assert verify(into)["files"].keys() == {"adapter_config.json", "adapter_model.safetensors"}
        told += [
            repr(status),
            repr(ref),
            repr(weather.backend),
            *(event.to_json() for event in events),
            *weather.errors,
        ]
    assert weather_struck(service), "no request failed, so nothing was shown"
    assert service.key not in "".join(told) + caplog.text
    files = [path for folder in (ftsdk_home, tmp_path) for path in folder.rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if service.key.encode() in path.read_bytes()], "the key is in a file"


class Weather:
    """Somebody who tries again as long as the errors say that this is right, in a new process every other time."""

    def __init__(self, make_backend: Callable[..., Together], clock: Any) -> None:
        self._make_backend = make_backend
        self._clock = clock
        self.backend = make_backend()
        self.errors: list[str] = []

    def insist(self, call: Callable[[Together], Any]) -> Any:
        for number in range(200):
            try:
                return call(self.backend)
            except BackendError as error:
                if not error.retryable:
                    raise
                self.errors.append(f"{error!r} {error} {error.__cause__!r} {error.__context__!r}")
                self._clock.now += max(30.0, error.retry_after_s or 0.0)
                if number % 10 == 9:
                    self.backend = self._make_backend()
        raise AssertionError("200 tries were not enough")

    def follow(self, ref: RunRef, *, cancels: bool) -> list[Any]:
        seen: list[Any] = []
        for look in range(200):
            status = self.insist(lambda backend: backend.status(ref))
            if cancels and look == 1:
                self.insist(lambda backend: backend.cancel(ref))
            after = seen[-1].seq if seen else -1
            seen += self.insist(lambda backend, after=after: list(backend.events(ref, after=after)))
            if status.is_terminal:
                return seen
        raise AssertionError("the run didn't come to an end")


def told_of(events: Iterable[Any]) -> Counter[object]:
    """What the history tells of the service, with our own lines left out."""
    told: Counter[object] = Counter()
    for event in events:
        if isinstance(event, StepEvent):
            told["step", event.step, event.loss] += 1
        elif isinstance(event, EvalEvent):
            told["eval", event.step, event.metrics["loss"]] += 1
        elif isinstance(event, CheckpointEvent):
            told["checkpoint", event.step] += 1
        elif isinstance(event, LogEvent) and not event.message.startswith("the service restarted the job"):
            told["log", event.message] += 1
    return told


def expected_of(jobs: Iterable[Any]) -> Counter[object]:
    """What happened at the service, by its own books."""
    expected: Counter[object] = Counter()
    for job in jobs:
        for event in job.events:
            is_checkpoint = event["type"] == "checkpoint_save"
            expected[
                ("checkpoint", event["step"]) if is_checkpoint else ("log", f"{event['type']}: {event['message']}")
            ] += 1
        for row in job.metrics:
            name = "eval" if "eval/loss" in row else "step"
            expected[name, row["train/global_step"], row.get("eval/loss", row.get("train/loss"))] += 1
    return expected


def weather_struck(service: TogetherService) -> bool:
    return any(request.fault for request in service.requests)
