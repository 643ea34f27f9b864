"""On a CUDA device: `nox -s gpu`. Not run in CI, which has none."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from ftsdk import DPO, Dataset, EarlyStopping, Eval, FineTuneJob, FullFineTune, Local, LoRA, QLoRA
from ftsdk.runfolder import lock

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("tuning", [LoRA(rank=4), QLoRA(rank=4)], ids=lambda t: t.kind)
def test_a_tiny_model_learns_on_a_cuda_device(tmp_path: Path, tuning: LoRA | QLoRA) -> None:
    from ftsdk.testing.tiny import build_tiny_model

    rows = [{"text": f"message {n}", "label": "ab"[n % 2]} for n in range(64)]
    job = FineTuneJob(
        model=str(build_tiny_model(tmp_path / "model", hidden_size=64)),
        train=Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{label}"),
        tuning=tuning,
        max_steps=8,
        batch_size=8,
        learning_rate=5e-3,
        backend=Local(device="cuda", processes=1),
    )
    assert job.plan().request["training"]["device"] == "cuda"
    run = job.submit().wait(progress=False)
    losses = [e.loss for e in run.events() if e.kind == "step" and e.loss is not None]
    assert losses[-1] < losses[0]
    assert run.collect().kind == "adapter"


@pytest.mark.parametrize("tuning", [LoRA(rank=4), FullFineTune()], ids=lambda t: t.kind)
def test_a_model_is_sharded_over_the_cuda_devices(tmp_path: Path, tuning: LoRA | FullFineTune) -> None:
    import torch

    from ftsdk.testing.tiny import build_tiny_model

    devices = torch.cuda.device_count()
    if devices < 2:
        pytest.skip("NCCL needs two CUDA devices")
    rows = [{"text": f"message {n}", "label": "ab"[n % 2]} for n in range(64)]
    job = FineTuneJob(
        model=str(build_tiny_model(tmp_path / "model", hidden_size=64)),
        train=Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{label}"),
        tuning=tuning,
        max_steps=8,
        batch_size=8 * devices,
        learning_rate=5e-3,
        backend=Local(device="cuda", processes=devices, sharding="full"),
    )
    run = job.submit().wait(progress=False)
    losses = [e.loss for e in run.events() if e.kind == "step" and e.loss is not None]
    assert losses[-1] < losses[0]
    assert any(e.kind == "log" and "is sharded over" in e.message for e in run.events())


def test_dpo_widens_the_margin_on_a_cuda_device(tmp_path: Path) -> None:
    from ftsdk.testing.tiny import build_tiny_model

    pairs = [{"q": f"message {n}", "good": "travel", "bad": "kitchen"} for n in range(48)]
    data = Dataset.from_rows(pairs).as_preference(prompt="{q}", chosen="{good}", rejected="{bad}")
    job = FineTuneJob(
        model=str(build_tiny_model(tmp_path / "model", hidden_size=64)),
        train=data.take(40),
        validation=data[40:],
        method=DPO(beta=0.1),
        tuning=LoRA(rank=4),
        max_steps=12,
        eval_steps=6,
        batch_size=8,
        learning_rate=5e-3,
        backend=Local(device="cuda", processes=1),
    )
    run = job.submit().wait(progress=False)
    margins = [e.metrics["reward_margin"] for e in run.events() if e.kind == "eval"]
    assert margins[-1] > 0


def test_a_killed_run_ends_with_the_weights_of_one_that_was_not(tmp_path: Path, ftsdk_home: Path) -> None:
    from safetensors.torch import load_file

    from ftsdk.testing.tiny import build_tiny_model

    rows = [{"text": f"message {n}", "label": "ab"[n % 2]} for n in range(64)]
    job = FineTuneJob(
        model=str(build_tiny_model(tmp_path / "model", hidden_size=64)),
        train=Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{label}"),
        tuning=LoRA(rank=4),
        max_steps=200,
        epochs=30,
        batch_size=8,
        checkpoint_steps=4,
        learning_rate=1e-3,
        backend=Local(device="cuda", processes=1),
    )
    whole = load_file(job.submit().wait(progress=False).collect().path / "adapter_model.safetensors")
    run = job.submit()
    folder = ftsdk_home / "runs" / run.ref.partition(":")[2]
    deadline = time.monotonic() + 120
    while not any(e.kind == "checkpoint" for e in run.events()) and time.monotonic() < deadline:
        time.sleep(0.005)
    holder = lock.holder_of(folder)
    assert holder is not None
    os.killpg(holder[1], signal.SIGKILL)
    while lock.is_held(folder) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert run.resume()
    resumed = load_file(run.wait(progress=False).collect().path / "adapter_model.safetensors")
    assert max(float((whole[name] - resumed[name]).abs().max()) for name in whole) <= 1e-5


def test_early_stopping_and_evaluation_on_a_cuda_device(tmp_path: Path) -> None:
    from ftsdk.testing.tiny import build_tiny_model

    rows = [{"text": f"message {n}", "label": "ab"[n % 2]} for n in range(96)]
    train, validation, test = (
        Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{label}").split(validation=0.2, test=0.2, seed=1)
    )
    job = FineTuneJob(
        model=str(build_tiny_model(tmp_path / "model", hidden_size=64)),
        train=train,
        validation=validation,
        tuning=LoRA(rank=4),
        epochs=30,
        eval_steps=4,
        checkpoint_steps=4,
        early_stopping=EarlyStopping(patience=1, min_delta=0.5),
        batch_size=8,
        learning_rate=5e-3,
        evals=[Eval.exact_match(test, name="accuracy")],
        backend=Local(device="cuda", processes=1),
    )
    run = job.submit().wait(progress=False)
    steps = [e.step for e in run.events() if e.kind == "step"]
    assert steps[-1] < 30 * len(train) // 8
    scores = run.evaluate().scores
    assert [score.n for score in scores] == [len(test)] * 2
