"""QLoRA's loader keeps what the memory model counts: 4-bit layers, and all else in the format of the computation."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("bitsandbytes", reason="the extra 'local' isn't installed")
import torch
from datasets import Dataset as HfDataset

from ftsdk.backends.trainers.trl.load import load_for_training
from ftsdk.backends.trainers.trl.request import TrainingRequest, TuningRequest
from ftsdk.backends.trainers.trl.rows import IGNORED
from ftsdk.backends.trainers.trl.train import _make_trainer
from ftsdk.cost.facts.formats import bytes_per_weight
from ftsdk.models import load_tokenizer
from ftsdk.spec import ORPO, SFT, Model


def request_of(model: Path, method: Any, *, is_double: bool = True) -> TrainingRequest:
    tuning = TuningRequest(
        kind="qlora", rank=4, alpha=8.0, dropout=0.0, target_modules="all-linear", double_quantization=is_double
    )
    return TrainingRequest(
        model=Model(id=str(model)), method=method, tuning=tuning, device="cpu", processes=1, dtype="bfloat16",
        attention="sdpa", epochs=1.0, total_steps=1, max_steps=1, batch_size=4, micro_batch_size=4,
        accumulation_steps=1, learning_rate=1e-3, schedule="constant", warmup_ratio=0.0, weight_decay=0.0,
        max_grad_norm=1.0, max_truncated=0.0, seed=7, checkpoint_steps=100, train="0" * 64,
    )  # fmt: skip


@pytest.mark.parametrize(("is_double", "name"), [(True, "nf4-double"), (False, "nf4")])
def test_bytes_are_those_of_the_memory_model(tmp_path: Path, is_double: bool, name: Any) -> None:
    from ftsdk.testing.tiny import build_tiny_model

    folder = build_tiny_model(tmp_path / "model", hidden_size=128)
    request = request_of(folder, SFT(), is_double=is_double)
    model = load_for_training(request.model, folder, request, on_message=lambda _: None)
    weights = dict(model.named_parameters())
    layers = {name: weight for name, weight in weights.items() if weight.dtype == torch.uint8}
    others = {name: weight for name, weight in weights.items() if name not in layers}
    assert {name.rpartition(".")[0].rpartition(".")[2] for name in layers} == {
        *("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    }
    assert {weight.dtype for weight in others.values()} == {torch.bfloat16}
    assert {"embed_tokens", "norm", "input_layernorm"} <= {name.split(".")[-2] for name in others}
    assert model.get_output_embeddings().weight.dtype == torch.bfloat16
    assert not any(weight.requires_grad for weight in weights.values())

    numbers = sum(2 * weight.numel() for weight in layers.values())
    held = sum(weight.numel() + scales_of(weight.quant_state) for weight in layers.values())
    # Blocks of a tiny layer don't fill the second level's blocks of 256 scales.
    assert held == pytest.approx(numbers * bytes_per_weight(name), rel=0.02)


@pytest.mark.parametrize("method", [SFT(), ORPO()], ids=["sft", "orpo"])
def test_trl_leaves_the_weights_as_they_were_loaded(tiny_model: Path, tmp_path: Path, method: Any) -> None:
    request = request_of(tiny_model, method)
    tokenizer = load_tokenizer(request.model)
    model = load_for_training(request.model, tiny_model, request, on_message=lambda _: None)
    columns = {"input_ids": [[5, 6, 7, 8]] * 4, "labels": [[IGNORED, 6, 7, 8]] * 4}
    if method.compares_answers:
        columns = {"prompt_ids": [[5, 6]] * 4, "chosen_ids": [[7, 8]] * 4, "rejected_ids": [[9, 10]] * 4}
    rows = HfDataset.from_dict(columns)
    context: Any = SimpleNamespace(folder=tmp_path, emit=lambda _: None)
    trainer = _make_trainer(request, context, model, tokenizer, SimpleNamespace(dataset=rows), None)  # type: ignore[arg-type]
    formats = {weight.dtype for weight in trainer.model.parameters() if weight.requires_grad}
    assert formats == {torch.float32}
    frozen = {weight.dtype for weight in trainer.model.parameters() if not weight.requires_grad}
    assert frozen == {torch.uint8, torch.bfloat16}
    assert math.isfinite(trainer.train().training_loss)


def scales_of(state: Any) -> int:
    """Bytes of the scales of a layer's blocks; tables of 16 and 256 numbers, one of each a layer, aren't counted."""
    found = state.absmax.numel() * state.absmax.element_size()
    if state.nested:
        found += state.state2.absmax.numel() * state.state2.absmax.element_size()
    return found
