"""PiSSA and OLoRA: adapters that start from a part of the weights, with the base left as it is.

Both papers take that part out of the base: `W = (W - s B0 A0) + s B A`, with B and A starting at B0 and A0. peft (0.21)
does so in memory, in the number format of the base; the adapter then belongs to a base that no file holds, and the
model with its adapter switched off isn't the untuned one. Here the subtraction is a second half of the same matrices,
which doesn't move: `W + s [B, -B0] [A; A0]`. The trained numbers and their gradients are the same, and what is saved at
any step is a plain LoRA of twice the rank and, for the same scale, a larger alpha.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from transformers import TrainerCallback

from ftsdk.backends.trainers.trl.request import TuningRequest

__all__ = ["KeepsStart", "begin_at_weights", "held_alpha", "held_rank"]

_WHOLE_UP_TO = 512
"""Width of a weight whose SVD is computed whole, as peft does it; beyond, that takes minutes for a model."""
_MORE = 8
"""Components that the randomised SVD looks for beside those that are asked for."""
_ROUNDS = 16


def held_rank(tuning: TuningRequest) -> int:
    """Return the rank of the matrices: twice the trained one if the start is a part of them."""
    assert tuning.rank is not None
    return tuning.rank if tuning.init == "random" else 2 * tuning.rank


def held_alpha(tuning: TuningRequest) -> float:
    """Return the alpha that scales matrices of that rank as the asked one scales those that are trained."""
    assert tuning.alpha is not None
    if tuning.init == "random":
        return tuning.alpha
    return tuning.alpha * (math.sqrt(2) if tuning.rank_stabilized else 2.0)


def begin_at_weights(model: Any, tuning: TuningRequest) -> None:
    """Set the matrices of a new adapter.

    Args:
        model: peft's, with a LoRA of `held_rank`.
        tuning: Of the request, whose `init` says what part of each weight is taken.
    """
    for layer in _layers(model):
        rank = layer.r["default"] // 2
        down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        weight = layer.get_base_layer().weight.detach().float()
        start_down, start_up = _part(weight, min(rank, *weight.shape), layer.scaling["default"], tuning.init)
        found = len(start_down)
        with torch.no_grad():
            # A rank above the layer's width: what is left starts as peft has it, at random and at nothing.
            down[rank:], up[:] = 0.0, 0.0
            down[:found], up[:, :found] = start_down, start_up
            down[rank : rank + found], up[:, rank : rank + found] = start_down, -start_up


def _part(weight: torch.Tensor, rank: int, scale: float, init: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the two matrices that the adapter starts from, of shapes (rank, inputs) and (outputs, rank)."""
    if init == "olora":
        q, r = torch.linalg.qr(weight)
        return r[:rank], q[:, :rank]
    if min(weight.shape) <= _WHOLE_UP_TO:
        u, s, vt = torch.linalg.svd(weight, full_matrices=False)
        v = vt.t()
    else:
        u, s, v = torch.svd_lowrank(weight, q=min(rank + _MORE, *weight.shape), niter=_ROUNDS)
    root = (s[:rank] / scale).sqrt()
    return root[:, None] * v[:, :rank].t(), u[:, :rank] * root


class KeepsStart(TrainerCallback):
    """Holds the half of the matrices that is the start: without gradients, and untouched by weight decay."""

    def __init__(self, model: Any) -> None:
        self._halves: list[tuple[torch.nn.Parameter, tuple[Any, ...]]] = []
        self._kept: list[torch.Tensor] = []
        for layer in _layers(model):
            rank = layer.r["default"] // 2
            down, up = layer.lora_A["default"].weight, layer.lora_B["default"].weight
            self._halves += [(down, (slice(rank, None),)), (up, (slice(None), slice(rank, None)))]
        for weight, half in self._halves:
            weight.register_hook(_without(half))

    def on_train_begin(self, *arguments: Any, **others: Any) -> None:
        """Remember the halves, those of a checkpoint where training is resumed."""
        del arguments, others
        self._kept = [weight.detach()[half].clone() for weight, half in self._halves]

    def on_optimizer_step(self, *arguments: Any, **others: Any) -> None:
        """Put them back."""
        del arguments, others
        with torch.no_grad():
            for (weight, half), kept in zip(self._halves, self._kept, strict=True):
                weight[half] = kept


def _without(half: tuple[Any, ...]) -> Any:
    def hook(gradient: torch.Tensor) -> torch.Tensor:
        changed = gradient.clone()
        changed[half] = 0.0
        return changed

    return hook


def _layers(model: Any) -> Iterator[Any]:
    return (module for module in model.modules() if hasattr(module, "lora_A") and "default" in module.lora_A)
