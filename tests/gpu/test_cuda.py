"""On a CUDA device: `nox -s gpu`. Not run in CI, which has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftsdk import Dataset, FineTuneJob, Local, LoRA, QLoRA

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
    losses = [e.loss for e in run.events() if e.kind == "step"]
    assert losses[-1] < losses[0]
    assert run.collect().kind == "adapter"
