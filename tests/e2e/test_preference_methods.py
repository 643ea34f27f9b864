"""KTO, ORPO and SimPO through the real worker: they learn what their data teaches, and survive a kill."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk import KTO, ORPO, Dataset, DatasetError, FineTuneJob, LoRA, Run, SimPO
from ftsdk.protocol import CheckpointEvent, EvalEvent, StepEvent
from ftsdk.runfolder import lock

pytestmark = pytest.mark.e2e
MakeJob = Callable[..., FineTuneJob]
by_method = pytest.mark.parametrize("method", [KTO(beta=0.5), ORPO(beta=0.5), SimPO()], ids=lambda method: method.kind)


def rows_for(method: Any, n: int = 48, *, after: int = 0) -> Dataset:
    """Where two answers are possible, the data prefers "travel" to "kitchen"."""
    if method.data_format == "unpaired":
        rows = [
            {"q": f"what about message {after + i}", "a": ("travel", "kitchen")[i % 2], "ok": i % 2 == 0}
            for i in range(n)
        ]
        return Dataset.from_rows(rows).as_unpaired(prompt="{q}", completion="{a}", label="ok")
    pairs = [{"q": f"what about message {after + i}", "good": "travel", "bad": "kitchen"} for i in range(n)]
    return Dataset.from_rows(pairs).as_preference(prompt="{q}", chosen="{good}", rejected="{bad}")


def finish(job: FineTuneJob) -> Run:
    return job.submit().wait(progress=False, poll_s=0.05)


@by_method
def test_a_method_learns_what_its_data_teaches_in_the_tokens_that_were_counted(make_job: MakeJob, method: Any) -> None:
    job = make_job(
        train=rows_for(method),
        validation=rows_for(method, 16, after=100),
        method=method,
        tuning=LoRA(rank=4),
        max_steps=6,
        epochs=1,
        eval_steps=3,
    )
    run = finish(job)
    events = run.events()
    steps = [event for event in events if isinstance(event, StepEvent)]
    assert [event.step for event in steps] == list(range(1, 7))
    first, last = (event.metrics for event in events if isinstance(event, EvalEvent))
    assert last["loss"] < first["loss"]
    assert last["reward_margin"] > first["reward_margin"]
    assert last["reward_accuracy"] == 1.0
    counted = job.estimate(is_exact=True).tokens
    assert counted is not None
    assert steps[-1].tokens == counted.likely


@by_method
def test_a_worker_that_was_killed_ends_with_the_same_weights(
    make_job: MakeJob, ftsdk_home: Path, difference: Callable[[Path, Path], float], method: Any
) -> None:
    def job() -> FineTuneJob:
        return make_job(train=rows_for(method), method=method, tuning=LoRA(rank=4), max_steps=6, checkpoint_steps=2)

    whole = finish(job()).collect().path
    run = job().submit()
    folder = ftsdk_home / "runs" / run.ref.partition(":")[2]
    while not any(isinstance(event, CheckpointEvent) for event in run.events()) and not run.status().is_terminal:
        time.sleep(0.002)
    holder = lock.holder_of(folder)
    if holder is not None:
        os.killpg(holder[1], signal.SIGKILL)
        while lock.is_held(folder):
            time.sleep(0.005)
        if not run.status().is_terminal:
            run.resume()
    run.wait(progress=False, poll_s=0.05)
    assert difference(run.collect().path, whole) <= 1e-6
    assert [event.step for event in run.events() if isinstance(event, StepEvent)] == list(range(1, 7))


def test_labelled_answers_are_refused_by_a_method_that_would_learn_the_bad_ones(make_job: MakeJob) -> None:
    with pytest.raises(Exception, match=r"method 'sft' needs chat data; train .* has unpaired rows") as caught:
        make_job(train=rows_for(KTO())).plan()
    assert "method=KTO(), or the good answers alone" in str(caught.value)
    with pytest.raises(DatasetError, match="says neither good nor bad"):
        Dataset.from_rows([{"q": "a", "a": "b", "ok": "perhaps"}]).as_unpaired(
            prompt="{q}", completion="{a}", label="ok"
        )
