"""Norms whose weights are frozen, with a backward pass of fewer operations.

Autograd goes back through each operation of an RMSNorm, most of them in float32 and over all values. The gradient of
the whole takes a mean and a few products.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from typing import Any

import torch

__all__ = ["quick_norms"]


@contextlib.contextmanager
def quick_norms(model: Any) -> Generator[None]:
    """Let a model's frozen RMSNorms compute their gradients in fewer operations inside this block.

    A norm is one if its output is what `_Norm` makes of the same input, bit by bit; the others are left alone.
    """
    norms = [module for module in model.modules() if _is_plain(module)]
    for norm in norms:
        norm.forward = _forward_of(norm)
    try:
        yield
    finally:
        for norm in norms:
            del norm.forward


def _epsilon_of(module: Any) -> float | None:
    found = getattr(module, "variance_epsilon", getattr(module, "eps", None))
    return found if isinstance(found, float) else None


def _is_plain(module: Any) -> bool:
    weight, epsilon = getattr(module, "weight", None), _epsilon_of(module)
    if "RMSNorm" not in type(module).__name__ or "forward" in vars(module) or epsilon is None:
        return False
    if not isinstance(weight, torch.Tensor) or weight.dim() != 1 or weight.requires_grad:
        return False
    if any(True for _ in module.children()) or weight.device.type != "cpu":
        return False
    tried = torch.linspace(-2, 3, 4 * len(weight)).view(1, 4, -1).to(weight.dtype)
    with torch.no_grad():
        return torch.equal(module(tried), _Norm.apply(tried, weight, epsilon))


def _forward_of(norm: Any) -> Any:
    own, epsilon = norm.forward, _epsilon_of(norm)

    def forward(x: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        if arguments or options or not x.requires_grad or x.dtype != norm.weight.dtype:
            return own(x, *arguments, **options)
        return _Norm.apply(x, norm.weight, epsilon)

    return forward


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
        wide = x.float()
        scale = torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(x, weight, scale)
        return weight * (wide * scale).to(x.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[Any, ...]:
        x, weight, scale = ctx.saved_tensors
        given = (gradients[0] * weight).float()
        normed = x.float() * scale
        along = (given * normed).mean(-1, keepdim=True)
        return torch.addcmul(given, normed, along, value=-1).mul_(scale).to(x.dtype), None, None
