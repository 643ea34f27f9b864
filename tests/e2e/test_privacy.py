"""Private training in a real worker: what it reports, what a kill costs, and (with --slow) what it remembers of a row.

What it remembers is also in `tests/unit/backends/trainers/trl/privacy`, in this process.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev

import pytest

pytest.importorskip("opacus", reason="the extra 'privacy' isn't installed")

from ftsdk import SFT, Dataset, FineTuneJob, LoRA, Model, Privacy
from ftsdk.evals import evaluate, targets
from ftsdk.evals.storage import read_results
from ftsdk.evals.suites import memorisation
from ftsdk.protocol import CheckpointEvent, LogEvent, StepEvent
from ftsdk.runfolder import lock

pytestmark = pytest.mark.e2e
MakeJob = Callable[..., FineTuneJob]


def test_a_killed_run_spends_its_budget_once(make_job: MakeJob, ftsdk_home: Path) -> None:
    job = make_job(method=SFT(privacy=Privacy(epsilon=6, delta=1e-3)), checkpoint_steps=4)
    run = job.submit()
    folder = ftsdk_home / "runs" / run.ref.partition(":")[2]
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and not any(isinstance(event, CheckpointEvent) for event in run.events()):
        time.sleep(0.05)
    holder = lock.holder_of(folder)
    if holder is not None:
        os.killpg(holder[1], signal.SIGKILL)
    run.wait(progress=False, poll_s=0.05)
    privacy = run.collect().manifest["info"]["privacy"]
    assert privacy["steps"] == 12
    assert 5.9 < privacy["epsilon"] <= 6
    assert run.collect().manifest["info"]["train_loss"] is None
    events = run.events()
    said = [event.message for event in events if isinstance(event, LogEvent) and event.message.startswith("privacy")]
    assert any("epsilon" in message and "by step 12" in message for message in said)
    # A step that was made twice had the same rows and the same noise, and so the same loss.
    losses: dict[int, set[float | None]] = {}
    for event in events:
        if isinstance(event, StepEvent):
            losses.setdefault(event.step, set()).add(event.loss)
            assert event.grad_norm is None
    assert [len(losses[step]) for step in sorted(losses)] == [1] * 12
    assert not list(folder.rglob("privacy.key"))


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("count", "epochs"), [(4, 20), (24, 60)])
def test_canaries_that_are_learned_without_privacy_are_not_with_it(
    make_job: MakeJob,
    chat_rows: Callable[[int], Dataset],
    tiny_model: Path,
    tmp_path: Path,
    count: int,
    epochs: int,
) -> None:
    train, _, test = chat_rows(48).split(test=0.5, seed=3)
    assert test is not None
    train = train.with_canaries(count, seed=1, times=(1,))
    fields = {
        "train": train,
        "tuning": LoRA(rank=16, dropout=0.0),
        "epochs": epochs,
        "max_steps": None,
        "learning_rate": 1e-2,
        "checkpoint_steps": None,
    }
    open_run = make_job(**fields).submit()
    open_run.wait(progress=False, poll_s=0.05)
    private = SFT(privacy=Privacy(epsilon=1, delta=1e-3))
    private_run = make_job(**fields, method=private).submit()
    private_run.wait(progress=False, poll_s=0.05)
    suite = memorisation(train, test, canaries=train.canaries, references=63)
    measured = targets(Model(id=str(tiny_model)), open_run.model(), private=private_run.model())
    evaluate(suite, measured, into=tmp_path)

    def bits(target: str) -> list[float]:
        rows = read_results(tmp_path / "memorisation.exposure" / f"{target}.jsonl")
        return [row.value for row in rows if row.parts["is_secret"]]

    known, unknown, before = bits("tuned"), bits("private"), bits("base")
    assert len(known) == len(unknown) == len(before) == count
    assert fmean(known) > fmean(unknown) + 1
    # As little as a model that never saw them: within three standard errors of the base.
    off = 3 * (stdev(unknown) ** 2 / count + stdev(before) ** 2 / count) ** 0.5
    assert abs(fmean(unknown) - fmean(before)) < max(off, 1.0)
