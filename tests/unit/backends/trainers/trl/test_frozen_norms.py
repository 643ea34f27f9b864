"""Norms with a backward pass of fewer operations have the outputs and gradients of the model's own."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra 'local' isn't installed")
import torch
from transformers.models.gemma.modeling_gemma import GemmaRMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from ftsdk.backends.trainers.trl.frozen_norms import quick_norms


def frozen(kind: type[Any], dtype: torch.dtype) -> Any:
    torch.manual_seed(0)
    model = torch.nn.Sequential(kind(48, eps=1e-5), kind(48, eps=1e-5))
    for norm in model:
        norm.weight.data.uniform_(0.5, 1.5)
    return model.to(dtype).requires_grad_(False)


def outcome(model: Any, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    x = x.clone().requires_grad_()
    output = model(x)
    output.float().square().sum().backward()
    assert x.grad is not None
    return output.detach(), x.grad


@pytest.mark.parametrize(("dtype", "error"), [(torch.float32, 1e-6), (torch.bfloat16, 0.01)])
def test_outputs_are_equal_and_gradients_as_near_as_numbers_allow(dtype: torch.dtype, error: float) -> None:
    model = frozen(LlamaRMSNorm, dtype)
    x = 3 * torch.randn(2, 7, 48).to(dtype)
    output, gradient = outcome(model, x)
    with quick_norms(model):
        assert "forward" in vars(model[0])
        our_output, our_gradient = outcome(model, x)
    assert "forward" not in vars(model[0])
    assert torch.equal(our_output, output)
    assert (our_gradient - gradient).norm() <= error * gradient.norm()


def test_norms_that_compute_something_else_are_left_alone() -> None:
    others = frozen(GemmaRMSNorm, torch.float32)
    trained = frozen(LlamaRMSNorm, torch.float32).requires_grad_()
    for model in (others, trained):
        with quick_norms(model):
            assert not any("forward" in vars(norm) for norm in model)
