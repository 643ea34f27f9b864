"""LoRA layers whose products are made together compute what peft computes."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra 'local' isn't installed")
import torch
import transformers
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import Linear

from ftsdk.backends.trainers.trl.adapter_products import products_made_together

SIZES = {"vocab_size": 97, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128}
TOKENS = torch.tensor([[1, 5, 9, 2, 7, 11, 3, 4]])


def built(kind: str = "qwen2", **options: Any) -> Any:
    """A model whose adapters do something; Qwen's layers have biases."""
    config = transformers.AutoConfig.for_model(kind, **SIZES, **HEADS)
    torch.manual_seed(0)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    adapter = LoraConfig(task_type="CAUSAL_LM", **{"r": 4, "target_modules": "all-linear", **options})
    model: Any = get_peft_model(model, adapter)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight += 0.1 * torch.randn_like(weight)
    return model


def gradients_of(model: Any) -> tuple[Any, dict[str, Any]]:
    model.zero_grad()
    logits = model(input_ids=TOKENS, use_cache=False).logits
    torch.nn.functional.cross_entropy(logits[0, :-1], TOKENS[0, 1:]).backward()
    return logits.detach(), {n: w.grad.clone() for n, w in model.named_parameters() if w.grad is not None}


@pytest.mark.parametrize("options", [{}, {"target_modules": ["q_proj", "v_proj", "down_proj"]}, {"use_dora": True}])
def test_outputs_and_gradients_are_those_of_peft(options: dict[str, Any]) -> None:
    model = built(**options).train()
    expected, wanted = gradients_of(model)
    with products_made_together(model):
        # In the first pass layers are seen to share an input, from the second on their products are made together.
        for _ in range(3):
            logits, found = gradients_of(model)
            torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-6)
            assert found.keys() == wanted.keys()
            for name, gradient in wanted.items():
                assert (found[name] - gradient).norm() <= 1e-5 * gradient.norm(), name
    assert not any("forward" in vars(module) for module in model.modules() if isinstance(module, Linear))


def test_layers_of_one_input_are_computed_in_one_go() -> None:
    model = built("llama").train()
    with products_made_together(model):
        gradients_of(model)
        graph = [model(input_ids=TOKENS, use_cache=False).logits.grad_fn]
        seen: set[Any] = set()
        while graph:
            node = graph.pop()
            if node is not None and node not in seen:
                seen.add(node)
                graph += [before for before, _ in node.next_functions]
    # Queries, keys and values; what they make; gate and up; down: four a layer, where peft has seven.
    assert sum(type(node).__name__ == "_ProductsBackward" for node in seen) == 4 * 2


def test_an_adapter_that_is_switched_off_stays_off() -> None:
    model = built().eval()
    with torch.no_grad(), model.disable_adapter():
        expected = model(input_ids=TOKENS).logits
    with torch.no_grad(), products_made_together(model):
        tuned = model(input_ids=TOKENS).logits
        with model.disable_adapter():
            assert torch.equal(model(input_ids=TOKENS).logits, expected)
        assert not torch.allclose(tuned, expected)


def test_dropout_drops_its_share_and_keeps_the_mean() -> None:
    layer = built("llama", lora_dropout=0.25).base_model.model.model.layers[0].mlp.down_proj
    holder = torch.nn.ModuleList([layer]).train()
    with torch.no_grad():
        layer.base_layer.weight.zero_()
        layer.lora_A["default"].weight.fill_(1.0)
        layer.lora_B["default"].weight.fill_(1.0)
    with torch.no_grad(), products_made_together(holder):
        torch.manual_seed(1)
        x = torch.ones(4096, 64)
        found = layer(x)[:, 0] / layer.scaling["default"] / 4
        torch.manual_seed(1)
        assert torch.equal(layer(x)[:, 0] / layer.scaling["default"] / 4, found)
        kept = found * 0.75
        torch.testing.assert_close(kept, kept.round(), rtol=0, atol=1e-3)
        assert found.mean() == pytest.approx(64, rel=0.01)
        assert kept.var() == pytest.approx(64 * 0.25 * 0.75, rel=0.1)
        holder.eval()
        assert torch.equal(layer(x)[:, 0] / layer.scaling["default"] / 4, torch.full((4096,), 64.0))


def test_gradients_behind_dropout_go_through_what_was_kept() -> None:
    model = built("llama", lora_dropout=0.5).train()
    with products_made_together(model):
        gradients_of(model)

        def loss_of() -> Any:
            torch.manual_seed(3)
            return model(input_ids=TOKENS, use_cache=False).logits.double().square().mean()

        loss_of().backward()
        name, weight = next((n, w) for n, w in model.named_parameters() if "layers.0.self_attn.k_proj.lora_A" in n)
        model.zero_grad()
        loss_of().backward()
        gradient, step = weight.grad.clone(), 1e-2
        with torch.no_grad():
            weight += step * gradient / gradient.norm()
            above = float(loss_of())
            weight -= 2 * step * gradient / gradient.norm()
            below = float(loss_of())
    assert (above - below) / (2 * step) == pytest.approx(float(gradient.norm()), rel=0.02), name
