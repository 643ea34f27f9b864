"""An adapter that changes more than low-rank products keeps all of it when it is trained further."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk import DPO, Dataset, FineTuneJob, Model, Run
from ftsdk.protocol import StepEvent

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings:UserWarning")]
MakeJob = Callable[..., FineTuneJob]
TOKENS = list(range(5, 300))

KINDS: dict[str, dict[str, Any]] = {
    "whole embeddings": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "one whole layer": {"modules_to_save": ["norm"]},
    "rows of the embedding": {"trainable_token_indices": TOKENS},
}
IN_FILE = {
    "whole embeddings": "embed_tokens",
    "one whole layer": "model.norm",
    "rows of the embedding": "trainable_tokens_delta",
}
PAIRS = Dataset.from_rows(
    [{"q": f"message {n} is about", "good": "travel", "bad": "kitchen"} for n in range(8)]
).as_preference(prompt="{q}", chosen="{good}", rejected="{bad}")


@pytest.fixture(params=list(KINDS))
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def adapter(kind: str, tiny_model: Path, tmp_path: Path) -> Path:
    """An adapter of plain peft, whose own weights beside the low-rank products aren't the base's."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    loaded: Any = AutoModelForCausalLM.from_pretrained(tiny_model, dtype=torch.float32)
    options = {"r": 4, "lora_alpha": 8, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}
    model: Any = get_peft_model(loaded, LoraConfig(**options, **KINDS[kind]))
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.requires_grad and "lora_" not in name:
                value.add_(torch.full_like(value, 0.05))
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def own_weights(folder: Path, kind: str) -> dict[str, Any]:
    from safetensors.torch import load_file

    found = load_file(folder / "adapter_model.safetensors")
    return {name: value for name, value in found.items() if IN_FILE[kind] in name}


def finish(job: FineTuneJob) -> Run:
    return job.submit().wait(progress=False, poll_s=0.05)


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_an_adapters_own_weights_are_kept_and_trained(
    make_job: MakeJob, tiny_model: Path, adapter: Path, kind: str, method: str
) -> None:
    fields: dict[str, Any] = {"model": Model(id=str(tiny_model), adapter=str(adapter)), "max_steps": 3}
    if method == "dpo":
        fields |= {"train": PAIRS, "method": DPO(beta=0.5), "batch_size": 4}
    run = finish(make_job(**fields))
    before, after = own_weights(adapter, kind), own_weights(run.collect().path, kind)
    assert before.keys() == after.keys()
    assert before
    assert any(not before[name].equal(after[name]) for name in before)
    assert all((before[name] - after[name]).abs().max() < 0.1 for name in before)
    if method == "dpo":  # the reference is the adapter as it came, its own weights included
        first = next(event for event in run.events() if isinstance(event, StepEvent))
        assert first.loss == pytest.approx(0.6931, abs=1e-3)


def test_the_base_is_measured_without_an_adapters_own_weights(tiny_model: Path, adapter: Path) -> None:
    import torch

    from ftsdk.evals.local import local_targets
    from ftsdk.models import load_model

    base = Model(id=str(tiny_model))
    targets = local_targets(base, base.replace(adapter=str(adapter)), device="cpu", dtype="float32")
    rows = torch.tensor([[5, 60, 7, 90]])
    logits: dict[str, Any] = {}
    for target in targets:
        with target.open() as generator, torch.no_grad():
            logits[target.name] = generator._model(input_ids=rows).logits  # type: ignore[attr-defined]
    alone = load_model(base, dtype="float32", device="cpu")
    with torch.no_grad():
        assert logits["base"].equal(alone(input_ids=rows).logits)
    assert not logits["tuned"].equal(logits["base"])
