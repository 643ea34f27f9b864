"""Attention in a forest of rows: each token sees its own row's earlier tokens, and no other.

Every segment attends to itself, in padded groups of segments of similar length, and all that is below a segment attends
to it in one block without a mask. The blocks are joined by the log of the sums that their softmax divides by; the
backward pass gives each block the joined output and sums, from which its gradient is exact (FlashAttention-2,
arXiv 2307.08691, section 3.1).
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch

from ftsdk.backends.trainers.trl.tiled_attention import attend_in_tiles, attend_in_tiles_backward, has_tiles
from ftsdk.data.forest import Forest, Segment
from ftsdk.models.packed_attention import check_attention, replaced_attention

__all__ = ["TreePlan", "attending_in"]

_NAME = "ftsdk_tree"
_MOST_PADDING = 1.25
"""How much longer than the shortest segment the longest of a group may be; a group costs less than its calls."""


@dataclass(frozen=True, kw_only=True)
class TreePlan:
    """The blocks of attention of one forest."""

    groups: tuple[torch.Tensor, ...]
    """Indices of tokens, segments x longest; short segments are filled up with their last token."""
    is_filler: tuple[torch.Tensor | None, ...]
    """Which of them are; None: no one is."""
    places_T: torch.Tensor  # noqa: N815 - shape suffix
    """Where each token is among those of all groups, one after the other."""
    branches: tuple[Segment, ...]
    """Segments that have others below them."""
    longest: int
    """Positions that a row may have: a window of attention must be as wide."""

    @classmethod
    def of(cls, forest: Forest, *, longest: int = 0) -> TreePlan:
        """Plan the attention of a forest, for a model whose rows may have `longest` tokens."""
        groups: list[torch.Tensor] = []
        fillers: list[torch.Tensor | None] = []
        places = torch.empty(len(forest.tokens), dtype=torch.long)
        before = 0
        for group in _groups(forest.segments):
            longest = max(segment.end - segment.start for segment in group)
            steps_L = torch.arange(longest)  # noqa: N806 - shape suffix
            starts_B = torch.tensor([segment.start for segment in group])  # noqa: N806
            last_B = torch.tensor([segment.end - 1 for segment in group])  # noqa: N806
            index_BL = torch.minimum(starts_B[:, None] + steps_L, last_B[:, None])  # noqa: N806
            filler_BL = starts_B[:, None] + steps_L > last_B[:, None]  # noqa: N806
            kept = (~filler_BL).flatten().nonzero().squeeze(1)
            places[index_BL.flatten()[kept]] = before + kept
            groups.append(index_BL)
            fillers.append(filler_BL if bool(filler_BL.any()) else None)
            before += index_BL.numel()
        return cls(
            groups=tuple(groups),
            is_filler=tuple(fillers),
            places_T=places,
            branches=tuple(segment for segment in forest.segments if segment.subtree_end > segment.end),
            longest=max(longest, *forest.positions, 0) + 1,
        )


def _groups(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Sort segments by length into groups that need little padding."""
    groups: list[list[Segment]] = []
    shortest = 0.0
    for segment in sorted(segments, key=lambda one: one.end - one.start):
        length = segment.end - segment.start
        if not groups or length > max(shortest * _MOST_PADDING, shortest + 8):
            groups.append([])
            shortest = length
        groups[-1].append(segment)
    return groups


class _TreeAttention(torch.autograd.Function):
    """Attention of T x heads x size; keys and values may have fewer heads, each for several of the queries."""

    @staticmethod
    def forward(ctx: Any, query: Any, key: Any, value: Any, plan: TreePlan, scale: float) -> Any:
        outputs: list[Any] = []
        sums: list[Any] = []
        for index in plan.groups:
            output, total = _attend(query[index], key[index], value[index], is_causal=True, scale=scale)
            outputs.append(output.flatten(0, 1).float())
            sums.append(total.flatten(0, 1))
        joined, log_sum = torch.cat(outputs)[plan.places_T], torch.cat(sums)[plan.places_T]
        for branch in plan.branches:
            above, below = slice(branch.start, branch.end), slice(branch.end, branch.subtree_end)
            output, total = _attend(query[below][None], key[above][None], value[above][None], scale=scale)
            both = torch.logaddexp(log_sum[below], total[0])
            joined[below] *= (log_sum[below] - both).exp_()[..., None]
            joined[below] += output[0] * (total[0] - both).exp_()[..., None]
            log_sum[below] = both
        joined = joined.to(query.dtype)
        ctx.save_for_backward(query, key, value, joined, log_sum)
        ctx.plan, ctx.scale = plan, scale
        return joined

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        plan, scale = ctx.plan, ctx.scale
        query, key, value, joined, log_sum = ctx.saved_tensors
        gradient = gradients[0].to(query.dtype)
        found: tuple[list[Any], ...] = ([], [], [])
        for index, is_filler in zip(plan.groups, plan.is_filler, strict=True):
            given = gradient[index]
            if is_filler is not None:
                given[is_filler] = 0.0
            parts = _attend_backward(
                given, query[index], key[index], value[index], joined[index], log_sum[index], True, scale
            )
            for collected, part in zip(found, parts, strict=True):
                collected.append(part.flatten(0, 1))
        of_query, of_key, of_value = (torch.cat(parts)[plan.places_T] for parts in found)
        for branch in plan.branches:
            above, below = slice(branch.start, branch.end), slice(branch.end, branch.subtree_end)
            given, asked, result, total = (t[below][None] for t in (gradient, query, joined, log_sum))
            parts = _attend_backward(given, asked, key[above][None], value[above][None], result, total, False, scale)
            of_query[below] += parts[0][0]
            of_key[above] += parts[1][0]
            of_value[above] += parts[2][0]
        dtype = gradients[0].dtype
        return of_query.to(dtype), of_key.to(dtype), of_value.to(dtype), None, None


def _attend(query: Any, key: Any, value: Any, *, scale: float, is_causal: bool = False) -> tuple[Any, Any]:
    """Return attention and log of the sums, rows x tokens x heads (x size), by what PyTorch itself calls on a CPU."""
    if len(query) == 1 and has_tiles(query, query.shape[1], key.shape[1]):
        output, log_sum = attend_in_tiles(query[0], key[0], value[0], scale=scale, is_causal=is_causal)
        return output[None], log_sum[None]
    forward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    turned = (tensor.transpose(1, 2) for tensor in (query, key, value))
    output, log_sum = forward(*turned, is_causal=is_causal, scale=scale)
    return output.transpose(1, 2), log_sum.transpose(1, 2)


def _attend_backward(
    gradient: Any, query: Any, key: Any, value: Any, output: Any, log_sum: Any, is_causal: bool, scale: float
) -> tuple[Any, Any, Any]:
    if len(query) == 1 and has_tiles(query, query.shape[1], key.shape[1]):
        rows = (tensor[0] for tensor in (gradient, query, key, value, output, log_sum))
        parts = attend_in_tiles_backward(*rows, scale=scale, is_causal=is_causal)
        return tuple(part[None] for part in parts)  # pyright: ignore[reportReturnType] - three of them
    backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward
    # In float32: more exact, and PyTorch's backward kernel is slower in bfloat16 (by 3 times, on a CPU with AMX).
    turned = (tensor.float().transpose(1, 2) for tensor in (gradient, query, key, value, output))
    parts = backward(*turned, log_sum.transpose(1, 2).contiguous(), 0.0, is_causal, scale=scale)
    return tuple(part.transpose(1, 2) for part in parts)  # pyright: ignore[reportReturnType] - three of them


_running: ContextVar[TreePlan | None] = ContextVar("_running", default=None)


def _attention(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    attention_mask: Any,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    is_causal: bool | None = None,
    **options: Any,
) -> tuple[Any, None]:
    """Compute one layer's attention, in the way in which transformers calls all of its own."""
    plan = _running.get()
    unknown = ["dropout"] if dropout else []
    if plan is not None and sliding_window is not None and sliding_window < plan.longest:
        unknown.append("sliding_window")
    is_causal = is_causal is not False and bool(getattr(module, "is_causal", True))
    check_attention(
        module,
        query,
        key,
        value,
        mask=attention_mask,
        options=options,
        unknown=unknown,
        is_possible=plan is not None and is_causal and query.shape[2] == len(plan.places_T),
    )
    assert plan is not None
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    # As autocast does for PyTorch's own attention.
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else value.dtype
    rows = (tensor[0].transpose(0, 1).to(dtype) for tensor in (query, key, value))
    return _TreeAttention.apply(*rows, plan, scale)[None], None


@contextlib.contextmanager
def attending_in(model: Any, plan: TreePlan) -> Generator[None]:
    """Let the model's attention follow a forest for a moment, then put its own back."""
    token = _running.set(plan)
    try:
        with replaced_attention(model, _NAME, _attention):
            yield
    finally:
        _running.reset(token)
