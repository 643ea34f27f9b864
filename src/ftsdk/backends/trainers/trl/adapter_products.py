"""The products of LoRA layers, with those of layers that read the same input made together.

peft computes for each layer `W x`, `A x`, `B (A x)`, scales the last one and adds it, and lets autograd keep and add up
what is in between. Here the adapter's product is added in place, the scale goes into the narrow matrix, the `A` of
layers that share an input are one product, and so are their gradients: the same sums in another order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy
import torch
import torch.nn.functional as F  # noqa: N812 - the field's own abbreviation
from peft.tuners.lora import Linear

from ftsdk.backends.trainers.trl.frozen_norms import quick_norms

__all__ = ["products_made_together", "quick_adapters"]

_LEVELS = 2**15
"""Of the random numbers that dropout compares with."""


@dataclass
class _Group:
    """Layers that were seen to read the same tensor, one after the other."""

    layers: list[Linear]
    source: Any = None
    """The tensor whose outputs are waiting; nothing is kept once all have been fetched."""
    outputs: dict[Linear, Any] = field(default_factory=dict[Linear, Any])

    def output_of(self, layer: Linear, source: torch.Tensor, adapter: str) -> torch.Tensor:
        """Return a layer's output, computing those of the whole group when the first one asks."""
        if self.source is not source or layer not in self.outputs:
            layers = self.layers if layer is self.layers[0] else [layer]
            self.source, self.outputs = source, dict(zip(layers, _outputs(layers, source, adapter), strict=True))
        found = self.outputs.pop(layer)
        if not self.outputs:
            self.source = None
        return found


class _Seen:
    """Finds out in a first pass which layers read the same tensor."""

    def __init__(self) -> None:
        self.groups: dict[Linear, _Group] = {}
        self._last: _Group | None = None
        self._source: Any = None

    def add(self, layer: Linear, source: torch.Tensor) -> None:
        if self._last is not None and self._source is source and _are_alike(self._last.layers[0], layer):
            self._last.layers.append(layer)
        else:
            self._last = _Group([layer])
        self.groups[layer], self._source = self._last, source

    def forget_source(self) -> None:
        self._source = None


@contextlib.contextmanager
def products_made_together(model: Any) -> Generator[None]:
    """Let a model's plain LoRA layers compute in fewer steps inside this block.

    Layers that have more to them (DoRA, biases of their own, quantised weights), and calls that want something else
    (adapters switched off or mixed, other number formats), go peft's own way.
    """
    layers = [module for module in model.modules() if _is_plain(module)]
    seen = _Seen()
    for layer in layers:
        layer.forward = _forward_of(layer, seen)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


@contextlib.contextmanager
def quick_adapters(trainer: Any) -> Generator[None]:
    """Let a trainer's adapters, and norms, compute in fewer steps on a CPU, and without casts that autocast undoes."""
    with contextlib.ExitStack() as stack:
        if trainer.args.bf16 and hasattr(trainer.model, "peft_config"):
            from peft.helpers import disable_input_dtype_casting

            stack.enter_context(disable_input_dtype_casting(trainer.model))
        if trainer.args.device.type == "cpu":
            stack.enter_context(products_made_together(trainer.model))
            stack.enter_context(quick_norms(trainer.model))
        yield


def _is_plain(module: Any) -> bool:
    base: Any = getattr(module, "base_layer", None)
    return (
        type(module) is Linear
        and type(base) is torch.nn.Linear
        and not any(weight.requires_grad for weight in base.parameters())
        and not module.fan_in_fan_out
        and not module.lora_variant
        and not any(module.lora_bias.values())
    )


def _forward_of(layer: Linear, seen: _Seen) -> Any:
    own = layer.forward

    def forward(x: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
        adapter = None if arguments or options else _usable_adapter(layer, x)
        if adapter is None:
            return own(x, *arguments, **options)
        group = seen.groups.get(layer)
        if group is None:
            seen.add(layer, x)
            (output,) = _outputs([layer], x, adapter)
            return output
        seen.forget_source()
        return group.output_of(layer, x, adapter)

    return forward


def _usable_adapter(layer: Linear, x: torch.Tensor) -> str | None:
    """Return the one adapter that the layer is to add; None: something else is asked for."""
    if layer.disable_adapters or layer.merged or len(layer.active_adapters) != 1:
        return None
    adapter = layer.active_adapters[0]
    if adapter not in layer.lora_A or x.dtype != layer.base_layer.weight.dtype or x.element_size() > 4:
        return None
    device = x.device.type
    is_cast = torch.is_autocast_enabled(device)
    if is_cast:
        return adapter if torch.get_autocast_dtype(device) == x.dtype else None
    return adapter if layer.lora_A[adapter].weight.dtype == x.dtype else None


def _dropout_of(layer: Linear) -> float:
    (adapter,) = layer.active_adapters
    return float(getattr(layer.lora_dropout[adapter], "p", 0.0)) if layer.training else 0.0


def _are_alike(one: Linear, other: Linear) -> bool:
    return one.in_features == other.in_features and _dropout_of(one) == _dropout_of(other)


def _outputs(layers: Sequence[Linear], x: torch.Tensor, adapter: str) -> tuple[torch.Tensor, ...]:
    dropout = _dropout_of(layers[0])
    drawn = None if dropout == 0.0 else _drawn(x, dropout)
    weights = [layer.base_layer.weight for layer in layers]
    biases = [layer.base_layer.bias for layer in layers]
    scales = [layer.scaling[adapter] for layer in layers]
    if drawn is not None:
        scales = [scale / _kept_share(dropout) for scale in scales]
    matrices = [part for layer in layers for part in (layer.lora_A[adapter].weight, layer.lora_B[adapter].weight)]
    return _Products.apply(x, drawn, weights, biases, scales, *matrices)


def _kept_share(dropout: float) -> float:
    return 1 - round(dropout * _LEVELS) / _LEVELS


def _drawn(x: torch.Tensor, dropout: float) -> torch.Tensor:
    """Draw which values of the input are kept: 16-bit numbers with all bits set for those, and none for the others.

    Fifteen random bits a value, four values a draw of NumPy's quickest generator, which PyTorch's own seeds: a seventh
    of the time of `torch.nn.functional.dropout` (a CPU with AVX-512, 2026-11-28).
    """
    count = x.numel()
    seed = int(torch.randint(2**62, ()))
    drawn = torch.from_numpy(numpy.random.SFC64(seed).random_raw(-(-count // 4)).view(numpy.int16))[:count]
    drawn.bitwise_and_(_LEVELS - 1).sub_(round(dropout * _LEVELS))
    # The sign of the difference, in every bit.
    return drawn.bitwise_right_shift_(15).bitwise_not_().view(-1, x.shape[-1])


def _kept(rows: torch.Tensor, drawn: torch.Tensor | None) -> torch.Tensor:
    """Return a tensor with 0 in place of what dropout takes."""
    if drawn is None:
        return rows
    bits = torch.int16 if rows.element_size() == 2 else torch.int32
    return (rows.contiguous().view(bits) & drawn.to(bits)).view(rows.dtype)


class _Products(torch.autograd.Function):
    """`W x + s B A x` of several layers that read the same x; `W` is frozen."""

    @staticmethod
    def forward(
        ctx: Any,
        x: torch.Tensor,
        drawn: torch.Tensor | None,
        weights: list[torch.Tensor],
        biases: list[torch.Tensor | None],
        scales: list[float],
        *matrices: torch.Tensor,
    ) -> tuple[torch.Tensor, ...]:
        dtype, narrow, wide = x.dtype, list(matrices[0::2]), list(matrices[1::2])
        rows = x.reshape(-1, x.shape[-1])
        down = torch.cat([matrix.to(dtype) for matrix in narrow]) if len(narrow) > 1 else narrow[0].to(dtype)
        ups = [(matrix * scale).to(dtype) for matrix, scale in zip(wide, scales, strict=True)]
        low = _kept(rows, drawn) @ down.t()
        outputs: list[torch.Tensor] = []
        parts = low.split([matrix.shape[0] for matrix in narrow], dim=1)
        for weight, bias, up, part in zip(weights, biases, ups, parts, strict=True):
            output = F.linear(rows, weight, bias)
            output.addmm_(part, up.t())
            outputs.append(output.view(*x.shape[:-1], -1))
        ctx.save_for_backward(rows, drawn, low, down, *ups)
        ctx.weights, ctx.scales, ctx.shape = weights, scales, x.shape
        ctx.ranks = [matrix.shape[0] for matrix in narrow]
        ctx.dtypes = [matrix.dtype for matrix in matrices]
        return tuple(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[Any, ...]:
        rows, drawn, low, down, *ups = ctx.saved_tensors
        given = [gradient.reshape(-1, gradient.shape[-1]) for gradient in gradients]
        low_gradient = torch.cat([one @ up for one, up in zip(given, ups, strict=True)], dim=1)
        parts = low.split(ctx.ranks, dim=1)
        of_wide = [
            (one.t() @ part).float().mul_(scale) for one, part, scale in zip(given, parts, ctx.scales, strict=True)
        ]
        of_narrow = (low_gradient.t() @ _kept(rows, drawn)).split(ctx.ranks)
        of_input = None
        if ctx.needs_input_grad[0]:
            of_input = _kept(low_gradient @ down, drawn)
            for one, weight in zip(given, ctx.weights, strict=True):
                of_input.addmm_(one, weight)
            of_input = of_input.view(ctx.shape)
        found = [part for pair in zip(of_narrow, of_wide, strict=True) for part in pair]
        cast = [part.to(dtype) for part, dtype in zip(found, ctx.dtypes, strict=True)]
        return (of_input, None, None, None, None, *cast)
