"""Jobs for the trainer `paper`, and their ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from paper_trainer import paper_weights, read_weights

from ftsdk import Dataset, FineTuneJob, Run
from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.protocol import StateEvent, StepEvent

__all__ = ["attempts_of", "ends_as_if_uninterrupted", "paper_job", "steps_of", "until"]


def paper_job(model: Path, backend: HostedBackend, *, steps: int = 12, checkpoint_steps: int = 3) -> FineTuneJob:
    rows = Dataset.from_rows([{"q": f"question {n}", "a": "yes"} for n in range(16)])
    return FineTuneJob(
        model=str(model),
        train=rows.as_chat(prompt="{q}", completion="{a}"),
        batch_size=8,
        max_steps=steps,
        epochs=steps,
        checkpoint_steps=checkpoint_steps,
        backend=backend,
    )


def until(is_so: Callable[[], object], *, most_s: float = 600.0) -> None:
    deadline = time.monotonic() + most_s
    while not is_so():
        assert time.monotonic() < deadline, "it never came to that"
        # Not more often: what is asked is often a process of its own.
        time.sleep(0.2)


def steps_of(run: Run) -> list[int]:
    return [event.step for event in run.events() if isinstance(event, StepEvent)]


def attempts_of(run: Run) -> list[StateEvent]:
    return [e for e in run.events() if isinstance(e, StateEvent) and e.native.startswith("attempt")]


def ends_as_if_uninterrupted(run: Run, *, steps: int) -> None:
    """Every step was made once or again from a checkpoint, the weights are the same, and there is one end."""
    run.wait(progress=False, poll_s=0.2)
    assert abs(read_weights(run.collect().path) - paper_weights(steps)) < 1e-12
    events = run.events()
    assert [event.seq for event in events] == list(range(len(events)))
    ends = [e.state for e in events if isinstance(e, StateEvent) and e.state in ("succeeded", "failed", "cancelled")]
    assert ends == ["succeeded"]
    assert set(steps_of(run)) == set(range(1, steps + 1))
