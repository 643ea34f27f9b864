"""Rows through a model as a forest have the losses and gradients of rows that go through one by one."""

from __future__ import annotations

import random
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra 'local' isn't installed")
import torch
import transformers

from ftsdk.backends.trainers.trl.forest_pass import losses_of, why_not
from ftsdk.backends.trainers.trl.tiled_attention import has_tiles
from ftsdk.data.forest import TrainedRow, plant

SIZES = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
GPT2 = {"n_positions": 128, "n_embd": 32, "n_layer": 2, "n_head": 4}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}


def built(kind: str, **options: Any) -> Any:
    config = transformers.AutoConfig.for_model(kind, **{**SIZES, **HEADS, **options})
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")


def some_rows() -> list[tuple[list[int], list[int]]]:
    """Several beginnings, turns of one conversation, a row twice, one alone, and one without a trained token."""
    draw = random.Random(0)
    start = [draw.randrange(97) for _ in range(20)]
    rows: list[tuple[list[int], list[int]]] = []
    for kept in (20, 20, 20, 12, 12, 0):
        ids = start[:kept] + [draw.randrange(97) for _ in range(draw.randrange(1, 30))]
        rows.append((ids, [id_ if draw.random() < 0.5 else -100 for id_ in ids]))
    ids, labels = rows[1]
    rows += [rows[0], (ids + start, labels + start), ([5] * 12, [-100] * 12)]
    return rows


def one_by_one(model: Any, rows: list[tuple[list[int], list[int]]]) -> list[Any]:
    losses: list[Any] = []
    for ids, labels in rows:
        logits = model(input_ids=torch.tensor([ids])).logits[0, :-1]
        losses.append(torch.nn.functional.cross_entropy(logits, torch.tensor(labels[1:]), reduction="sum"))
    return losses


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("llama", {}),
        ("qwen2", {}),
        ("qwen3", {"head_dim": 8}),
        ("mistral", {"sliding_window": 64}),
        ("gemma", {"head_dim": 8}),
        ("gemma3_text", {"head_dim": 8, "sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"]}),
        ("gpt2", {**GPT2, "attn_pdrop": 0.0, "resid_pdrop": 0.0, "embd_pdrop": 0.0}),
        ("mixtral", {"num_local_experts": 4}),
        ("qwen3_moe", {"head_dim": 8, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}),
        ("phi3", {"pad_token_id": 0}),
        ("olmo2", {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_losses_and_gradients_are_those_of_single_rows(kind: str, options: dict[str, Any]) -> None:
    model = built(kind, **options)
    assert why_not(model, longest=60) is None
    rows = some_rows()
    expected = one_by_one(model, rows)
    torch.stack(expected).sum().backward()
    gradients = {name: weight.grad.clone() for name, weight in model.named_parameters()}
    model.zero_grad()
    forest = plant([TrainedRow.of(ids, [label != -100 for label in labels]) for ids, labels in rows])
    assert len(forest.tokens) < 0.7 * sum(len(ids) for ids, _ in rows)
    losses = losses_of(model, forest)
    losses.sum().backward()
    by_row = torch.zeros(len(rows)).index_add(0, torch.tensor(forest.owners), losses.detach())
    torch.testing.assert_close(by_row, torch.stack(expected).detach(), rtol=1e-5, atol=1e-5)
    for name, weight in model.named_parameters():
        difference = (weight.grad - gradients[name]).norm()
        assert difference <= 1e-5 * gradients[name].norm() + 1e-7, name


@pytest.mark.parametrize(
    ("kind", "options", "reason"),
    [
        ("mistral", {"sliding_window": 16}, "sliding_window"),
        ("gpt2", GPT2, "dropout"),
        (
            "gemma3_text",
            {"head_dim": 8, "sliding_window": 16, "layer_types": ["sliding_attention", "full_attention"]},
            "sliding_window",
        ),
        ("mixtral", {"output_router_logits": True}, "experts"),
        ("mamba", {"state_size": 4}, "attention"),
        ("qwen3_next", {"head_dim": 8, "linear_num_value_heads": 4, "linear_num_key_heads": 2}, ""),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_model_whose_rows_would_mix_is_refused(kind: str, options: dict[str, Any], reason: str) -> None:
    config = transformers.AutoConfig.for_model(kind, **{**SIZES, **HEADS, **options})
    model = transformers.AutoModelForCausalLM.from_config(config)
    refused = why_not(model, longest=60)
    assert refused is not None
    assert reason in refused


def test_bfloat16_is_as_near_as_its_numbers_allow() -> None:
    model = built("llama").to(torch.bfloat16)
    assert why_not(model, longest=60) is None


def test_gradients_of_a_long_beginning_in_bfloat16_are_near_those_in_float32() -> None:
    draw = random.Random(1)
    start = [draw.randrange(97) for _ in range(300)]
    rows = [start + [draw.randrange(97) for _ in range(40)] for _ in range(3)]
    trained = [TrainedRow.of(ids, [n > 330 for n in range(len(ids))]) for ids in rows]
    forest = plant(trained)
    assert has_tiles(torch.zeros(1, dtype=torch.bfloat16), len(forest.tokens) - 300, 300)
    gradients: list[Any] = []
    for dtype in (torch.float32, torch.bfloat16):
        model = built("llama", max_position_embeddings=512).to(dtype)
        losses_of(model, forest).sum().backward()
        gradients.append(torch.cat([weight.grad.float().flatten() for weight in model.parameters()]))
    assert (gradients[1] - gradients[0]).norm() < 0.03 * gradients[0].norm()
