"""QLoRA's loader keeps what the memory model counts: 4-bit layers, and all else in the format of the computation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("bitsandbytes", reason="the extra 'local' isn't installed")
import torch

from ftsdk.backends.trainers.trl.adapters import adapter_config
from ftsdk.backends.trainers.trl.load import load_for_training
from ftsdk.backends.trainers.trl.request import TrainingRequest, TuningRequest
from ftsdk.cost.facts.formats import bytes_per_weight
from ftsdk.spec import Model


@pytest.mark.parametrize(("is_double", "name"), [(True, "nf4-double"), (False, "nf4")])
def test_bytes_are_those_of_the_memory_model(tmp_path: Path, is_double: bool, name: Any) -> None:
    from peft import get_peft_model

    from ftsdk.testing.tiny import build_tiny_model

    folder = build_tiny_model(tmp_path / "model", hidden_size=128)
    request = TrainingRequest.model_construct(
        model=Model(id=str(folder)),
        tuning=TuningRequest(
            kind="qlora", rank=4, alpha=8.0, dropout=0.0, target_modules="all-linear", double_quantization=is_double
        ),
        device="cpu",
        dtype="bfloat16",
        attention="sdpa",
    )
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

    tuned: Any = get_peft_model(model, adapter_config(request, model))
    trained = {weight.dtype for weight in tuned.parameters() if weight.requires_grad}
    assert trained == {torch.float32}
    assert {weight.dtype for weight in tuned.parameters() if not weight.requires_grad} == {torch.uint8, torch.bfloat16}


def scales_of(state: Any) -> int:
    """Bytes of the scales of a layer's blocks; tables of 16 and 256 numbers, one of each a layer, aren't counted."""
    found = state.absmax.numel() * state.absmax.element_size()
    if state.nested:
        found += state.state2.absmax.numel() * state.state2.absmax.element_size()
    return found
