"""Sums of LoRA adapters of one base: matrices in, matrices out, without the base."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, assert_never, get_args

from ftsdk.models.torch_stack import late_imports

__all__ = ["MERGE_METHODS", "PRUNING_METHODS", "MergeMethod", "Update", "add_up"]

MergeMethod = Literal["cat", "svd", "linear", "ties", "dare_linear", "dare_ties"]
MERGE_METHODS: tuple[str, ...] = get_args(MergeMethod)
PRUNING_METHODS = frozenset({"ties", "dare_linear", "dare_ties"})
"""Those that keep a share of the numbers."""


@dataclass(frozen=True, kw_only=True)
class Update:
    """What one adapter adds to one weight: `factor * up @ down`."""

    down: Any
    """A tensor of shape (rank, inputs)."""
    up: Any
    """A tensor of shape (outputs, rank)."""
    factor: float
    """The adapter's own scale, times its weight in the sum."""


def add_up(updates: Sequence[Update], method: MergeMethod, *, rank: int, density: float) -> tuple[Any, Any]:
    """Return the two matrices of the sum, of shapes (rank, inputs) and (outputs, rank), to be used with a scale of 1.

    Args:
        updates: Of one weight, at least one.
        method: `"cat"` and `"svd"` add up the products; the others what peft's `add_weighted_adapter` adds up, which is
            the matrices one by one.
        rank: The most that `"svd"` keeps.
        density: The share of the numbers that is kept, by the methods that prune.
    """
    with late_imports("merging adapters"):
        import torch
        from peft.utils import merge_utils as peft
    downs, ups = [one.down.float() for one in updates], [one.up.float() for one in updates]
    factors = [one.factor for one in updates]
    if method in ("cat", "svd"):
        down = torch.cat([one * factor for one, factor in zip(downs, factors, strict=True)])
        up = torch.cat(ups, dim=1)
        return (down, up) if method == "cat" else _shortened(down, up, rank)
    # As peft does it: the root of each factor on either side, its sign on one.
    roots = torch.tensor([abs(factor) ** 0.5 for factor in factors])
    signed = roots * torch.tensor([-1.0 if factor < 0 else 1.0 for factor in factors])

    def merged(matrices: list[Any], weights: Any) -> Any:
        match method:
            case "linear":
                return peft.task_arithmetic(matrices, weights)
            case "ties":
                return peft.ties(matrices, weights, density)
            case "dare_linear":
                return peft.dare_linear(matrices, weights, density)
            case "dare_ties":
                return peft.dare_ties(matrices, weights, density)
            case _:
                assert_never(method)

    return merged(downs, signed), merged(ups, roots)


def _shortened(down: Any, up: Any, rank: int) -> tuple[Any, Any]:
    """Return the best approximation of `up @ down` of a lower rank, without ever computing that product."""
    import torch

    rank = min(rank, *down.shape, *up.shape)
    left, left_rest = torch.linalg.qr(up)
    right, right_rest = torch.linalg.qr(down.t())
    u, s, vt = torch.linalg.svd(left_rest @ right_rest.t(), full_matrices=False)
    root = s[:rank].sqrt()
    return root[:, None] * (vt[:rank] @ right.t()), (left @ u[:, :rank]) * root
