"""Rows packed into one sequence: a model answers what transformers' own generation does, or is refused."""

from __future__ import annotations

import random
from typing import Any

import pytest

from ftsdk.evals import packed_rows
from ftsdk.evals.decoding import Decoded, can_decode, decode
from ftsdk.evals.packed_rows import PackedRows, shared_prefix

for _name in ("torch", "transformers"):
    pytest.importorskip(_name, reason="the extra 'local' isn't installed")

SIZES = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
PLAIN = {
    "llama": {"num_key_value_heads": 2},
    "qwen2": {"num_key_value_heads": 1},
    "qwen3": {"num_key_value_heads": 2, "head_dim": 16},
    "olmo2": {},
}
OTHERS = {
    "mistral": {"num_key_value_heads": 2, "sliding_window": 4},
    "gemma2": {"num_key_value_heads": 2, "head_dim": 8},
    "gemma3_text": {"num_key_value_heads": 2, "head_dim": 8},
    "gpt2": {"n_embd": 32, "n_head": 4, "n_layer": 2, "n_positions": 128},
    "gpt_neox": {},
    "phi": {},
    "granite": {"logits_scaling": 3.0, "attention_multiplier": 0.3},
    "cohere": {"logit_scale": 0.1},
    "opt": {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "bloom": {"n_layer": 2, "n_head": 4},
    "mixtral": {"num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": None},
    "qwen3_moe": {
        "num_key_value_heads": 2,
        "head_dim": 8,
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
    },
    "gpt_oss": {"num_key_value_heads": 2, "head_dim": 8, "num_local_experts": 4, "sliding_window": 4},
    "mamba": {"state_size": 8},
}
REFUSED = {"mistral", "gemma2", "gemma3_text", "gpt_oss", "granite", "cohere", "bloom", "mamba"}


def tiny(name: str, **sizes: Any) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(4)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **{**SIZES, **sizes})).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.mul_(6)  # different prompts get different answers
    return model


def prompts_of(seed: int, rows: int = 13, shared: int = 9) -> list[list[int]]:
    draw = random.Random(seed)
    start = [draw.randrange(3, 64) for _ in range(shared)]
    return [[*start, *(draw.randrange(3, 64) for _ in range(draw.randrange(1, 12)))] for _ in range(rows)]


def theirs(model: Any, prompt: list[int], ends: list[int], limit: int) -> Decoded:
    import torch

    ids = torch.tensor([prompt])
    given = {"max_new_tokens": limit, "do_sample": False, "eos_token_id": ends, "pad_token_id": 0}
    found = model.generate(ids, attention_mask=torch.ones_like(ids), **given)[0, len(prompt) :].tolist()
    is_ended = found[-1] in ends
    return Decoded(tokens=found[:-1] if is_ended else found, is_ended=is_ended)


def ours(model: Any, prompts: list[list[int]], ends: list[int], limit: int, **options: Any) -> list[Decoded]:
    import torch

    with torch.inference_mode():
        found = dict(decode(model, prompts, ends=ends, max_new_tokens=limit, **options))
    return [found[row] for row in range(len(prompts))]


@pytest.mark.parametrize(("name", "sizes"), [*PLAIN.items(), *OTHERS.items()], ids=[*PLAIN, *OTHERS])
def test_a_model_answers_as_transformers_does_or_is_refused(name: str, sizes: dict[str, Any]) -> None:
    model, prompts, ends = tiny(name, **sizes), prompts_of(1), [2, 7, 11, 30]
    if not can_decode(model, prompts[0]):
        assert name in REFUSED
        return
    assert name not in REFUSED
    expected = [theirs(model, prompt, ends, 12) for prompt in prompts]
    assert ours(model, prompts, ends, 12) == expected


@pytest.mark.parametrize("seed", range(4))
def test_rows_that_end_at_any_time_leave_the_others_as_they_were(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(packed_rows, "_pass_tokens", lambda _: 5 + 9 * seed)  # several passes, and rows cut into pieces
    model, prompts, draw = tiny("llama", num_key_value_heads=2), prompts_of(seed), random.Random(seed)
    free = [theirs(model, prompt, [2], 14).tokens for prompt in prompts]
    ends = [2, *draw.sample(sorted({token for tokens in free for token in tokens[3:]}), 3)]
    expected = [theirs(model, prompt, ends, 14) for prompt in prompts]
    assert len({len(one.tokens) for one in expected}) > 2
    guesses = [one.tokens[: draw.randrange(8)] + [draw.randrange(3, 64)] * draw.randrange(2) for one in expected]
    with torch.inference_mode():
        prefix = shared_prefix(model, prompts[0][:9])
    assert ours(model, prompts, ends, 14) == expected
    assert ours(model, prompts, ends, 14, prefix=prefix) == expected
    assert ours(model, prompts, ends, 14, prefix=prefix, guesses=[guess[:13] for guess in guesses]) == expected


def test_the_states_of_the_last_tokens_are_those_of_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(packed_rows, "_pass_tokens", lambda _: 6)
    model, prompts = tiny("qwen3", num_key_value_heads=2, head_dim=16), prompts_of(5, rows=3)
    with torch.inference_mode():
        rows = PackedRows(model, 3, 30)
        found = rows.feed(prompts, [8, 0, 3])
        expected = [
            model.base_model(torch.tensor([prompt])).last_hidden_state[0, -count:]
            for prompt, count in ((prompts[0], 8), (prompts[2], 3))
        ]
    torch.testing.assert_close(found, torch.cat(expected), rtol=1e-4, atol=1e-4)


def test_the_model_s_own_attention_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    model, prompts = tiny("llama", num_key_value_heads=2), prompts_of(2, rows=3)
    own, before = model.config._attn_implementation, model(torch.tensor([prompts[0]])).logits
    used: list[str] = []
    for _, decoded in decode(model, prompts, ends=[2], max_new_tokens=3):
        used.append(model.config._attn_implementation)
        assert len(decoded.tokens) <= 3
    assert torch.equal(model(torch.tensor([prompts[0]])).logits, before)

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no memory")

    monkeypatch.setattr(model.base_model.layers[1].mlp, "forward", broken)
    with pytest.raises(RuntimeError, match="no memory"):
        ours(model, prompts, [2], 3)
    assert {own, model.config._attn_implementation, *used} == {own}
