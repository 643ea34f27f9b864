"""Losses of chunks are those of whole logits."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra 'local' isn't installed")
import torch
import torch.nn.functional as F  # noqa: N812 - the field's own abbreviation
import transformers

from ftsdk.backends.trainers.trl import head_loss
from ftsdk.backends.trainers.trl.head_loss import can_skip_head, chunked_losses, head_of, skipped_head

SIZES = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}


def built(kind: str, **options: Any) -> Any:
    config = transformers.AutoConfig.for_model(kind, **{**SIZES, **HEADS, **options})
    torch.manual_seed(0)
    return transformers.AutoModelForCausalLM.from_config(config)


@pytest.mark.parametrize("chunk_bytes", [2**26, 3 * 4 * 50])
@pytest.mark.parametrize("is_uniform", [True, False])
@pytest.mark.parametrize("weighs", [True, False])
def test_losses_and_gradients_are_those_of_whole_logits(
    monkeypatch: pytest.MonkeyPatch, chunk_bytes: int, is_uniform: bool, weighs: bool
) -> None:
    monkeypatch.setattr(head_loss, "_CHUNK_BYTES", chunk_bytes)
    torch.manual_seed(0)
    head = torch.nn.Linear(16, 50)
    hidden = torch.randn(7, 16, requires_grad=True)
    # Two targets of one position, one of none.
    sources, targets = torch.tensor([0, 1, 1, 2, 4, 5, 6]), torch.tensor([3, 1, 49, 0, 7, 7, 2])
    weight = torch.rand(7) if weighs else torch.full((7,), 0.25)
    logits = F.linear(hidden, head.weight, head.bias)
    expected = F.cross_entropy(logits[sources], targets, reduction="none")
    wanted = torch.autograd.grad((expected * weight).sum(), [hidden, head.weight, head.bias])
    losses = chunked_losses(hidden, head, sources, targets, is_uniform=is_uniform)
    found = torch.autograd.grad((losses * weight).sum(), [hidden, head.weight, head.bias])
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)


def test_a_plain_head_can_be_skipped_and_is_put_back() -> None:
    model = built("llama")
    assert can_skip_head(model)
    tokens = torch.tensor([[1, 2, 3]])
    before = model(input_ids=tokens).logits
    with skipped_head(head_of(model)):
        assert model(input_ids=tokens).logits.shape == (1, 3, 32)
    assert torch.equal(model(input_ids=tokens).logits, before)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("gemma2", {"head_dim": 8, "final_logit_softcapping": 5.0}),
        ("granite", {"logits_scaling": 4.0}),
        ("cohere", {"logit_scale": 0.5, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_model_that_does_more_to_its_logits_keeps_its_head(kind: str, options: dict[str, Any]) -> None:
    assert not can_skip_head(built(kind, **options))
