"""What an estimate says of a step is what the step takes: tokens computed, time and memory."""

from __future__ import annotations

import os
import random
import statistics
import time
from pathlib import Path
from typing import Any

import pytest
from forked_workers import ForkedLocal
from smollm2 import unpacked_smollm2

from ftsdk import DPO, Dataset, FineTuneJob, Local, LoRA
from ftsdk.run.stats import RunStats

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]

_TEXT = "please what is my card for a to do you in how much book order late need help with today new and when"
WORDS = _TEXT.split()
INSTRUCTION = "You sort messages. Read the message, and answer with one of these words and nothing else: bank, car. "


def text(draw: random.Random, words: int) -> str:
    return " ".join(draw.choice(WORDS) for _ in range(words))


def rows_of(kind: str, count: int) -> Dataset:
    draw = random.Random(3)
    if kind == "templated":
        rows = [{"text": text(draw, draw.randint(5, 12)), "label": draw.choice(["bank", "car"])} for _ in range(count)]
        return Dataset.from_rows(rows).as_chat(system=INSTRUCTION * 3, prompt="{text}", completion="{label}")
    if kind == "plain":
        rows = [{"text": text(draw, draw.randint(20, 60)), "answer": text(draw, 40)} for _ in range(count)]
        return Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{answer}")
    pairs = [{"q": text(draw, 50), "good": text(draw, 30), "bad": text(draw, 30)} for _ in range(count)]
    return Dataset.from_rows(pairs).as_preference(prompt="{q}", chosen="{good}", rejected="{bad}")


def job_of(kind: str, model: str, backend: Any, *, steps: int, batch: int) -> FineTuneJob:
    method: dict[str, Any] = {"method": DPO()} if kind == "pairs" else {}
    return FineTuneJob(
        model=model, train=rows_of(kind, steps * batch), tuning=LoRA(rank=16), epochs=1, batch_size=batch,
        checkpoint_steps=1000, backend=backend, **method,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["templated", "plain", "pairs"])
def test_as_many_tokens_are_computed_as_was_said(kind: str, tiny_model: Path, forked_local: ForkedLocal) -> None:
    job = job_of(kind, str(tiny_model), forked_local, steps=3, batch=8)
    estimate = job.estimate()
    assert estimate.step is not None
    run = job.submit().wait(progress=False, poll_s=0.05)
    computed = [event.computed_tokens or 0 for event in run.events() if event.kind == "step"]
    assert statistics.mean(computed) == pytest.approx(estimate.step.tokens, rel=0.1)
    if kind != "plain":
        assert estimate.tokens is not None
        # The rows have more: what they share is computed once.
        assert sum(computed) < 0.85 * estimate.tokens.likely


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processor seconds are read from /proc")
@pytest.mark.parametrize(("kind", "batch"), [("templated", 16), ("plain", 16), ("pairs", 4)])
def test_a_real_model_takes_the_time_and_the_memory_that_were_said(
    kind: str, batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # One thread, so that processor seconds are the time of a machine that does nothing else.
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    job = job_of(kind, str(unpacked_smollm2()), Local(device="cpu", processes=1), steps=7, batch=batch)
    estimate = job.estimate()
    run = job.submit()
    took: list[tuple[int, float]] = []
    while not run.status().is_terminal:
        time.sleep(0.2)
        steps = [event.step for event in run.events() if event.kind == "step"]
        spent = processor_seconds(run.ref.partition(":")[2])
        if steps and spent is not None:
            took.append((steps[-1], spent))
    run.wait(progress=False)
    # Between the ends of two steps, the first of which loads kernels.
    ends = [(step, min(spent for at, spent in took if at == step)) for step in sorted({step for step, _ in took})]
    step_s = (ends[-1][1] - ends[0][1]) / (ends[-1][0] - ends[0][0])
    (line,) = [line for line in estimate.time_lines if line.label == "training"]
    assert line.amount.low <= 7 * step_s <= line.amount.high, line
    stats = RunStats()
    stats.saw(run.events())
    assert estimate.memory is not None
    said, was = estimate.memory.peak_gb, stats.peak_memory_gb
    assert was is not None
    assert said.low <= was <= said.high, estimate.memory
    print(kind, f"{7 * step_s:.1f} s, said {line.amount}; {was:.2f} GB, said {said}")  # noqa: T201


def processor_seconds(run_id: str) -> float | None:
    """Return what the run's worker has used, or None if it isn't there."""
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and run_id.encode() in (folder / "cmdline").read_bytes():
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError):
            continue
    return None
