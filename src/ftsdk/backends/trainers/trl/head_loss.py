"""Cross-entropy straight from hidden states: logits are there for a few positions at a time, and never kept.

A model's own head is asked for nothing but its input; the products with its weights are made here, in chunks, and their
gradient in the same go where it is known to be the same for all tokens.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Generator
from typing import Any

import torch

__all__ = ["can_skip_head", "chunked_losses", "head_of", "skipped_head"]

_CHUNK_BYTES = 2**26
"""Of the logits that are there at once, in 32 bits."""


def head_of(model: Any) -> Any:
    """Return a model's output head if it is a plain product, else None."""
    head = model.get_output_embeddings()
    return head if type(head) is torch.nn.Linear else None


@contextlib.contextmanager
def skipped_head(head: Any) -> Generator[None]:
    """Let a head hand on its input in place of logits inside this block."""
    head.forward = _same
    try:
        yield
    finally:
        del head.forward


def _same(hidden: torch.Tensor) -> torch.Tensor:
    return hidden


def can_skip_head(model: Any) -> bool:
    """Return whether a model's logits are its head's output, untouched: some scale them or cap them."""
    head = head_of(model)
    if head is None or "forward" in vars(head):
        return False
    seen: list[torch.Tensor] = []

    def keep(hidden: torch.Tensor) -> torch.Tensor:
        seen.append(hidden)
        return hidden

    head.forward = keep
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = model(input_ids=torch.tensor([[0, 1, 2]]), logits_to_keep=torch.tensor([0, 2]), use_cache=False)
    except Exception:  # noqa: BLE001 - a model that can't do it may raise anything
        return False
    finally:
        del head.forward
    return len(seen) == 1 and seen[0].shape[1] == 2 and torch.equal(output.logits, seen[0].to(output.logits.dtype))


def chunked_losses(
    hidden_KD: torch.Tensor,  # noqa: N803 - shape suffix
    head: Any,
    sources_N: torch.Tensor,  # noqa: N803
    targets_N: torch.Tensor,  # noqa: N803
    *,
    is_uniform: bool,
) -> torch.Tensor:
    """Return the cross-entropy of N targets, each predicted from one of K positions.

    Args:
        hidden_KD: What the head would be given.
        head: Its weights may be trained or not.
        sources_N: For each target its position, from 0 to K - 1.
        targets_N: Token ids.
        is_uniform: Whether all losses will get the same gradient, as in a sum or a mean; if they don't after all, the
            products with the head are made again.
    """
    device = hidden_KD.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else head.weight.dtype
    return _Losses.apply(hidden_KD, head.weight, head.bias, sources_N, targets_N, is_uniform, dtype)


class _Losses(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        sources: torch.Tensor,
        targets: torch.Tensor,
        is_uniform: bool,
        dtype: torch.dtype,
    ) -> torch.Tensor:
        cast, narrow = hidden.to(dtype), weight.to(dtype)
        log_sums = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        losses = torch.empty(len(targets), dtype=torch.float32, device=hidden.device)
        needed = ctx.needs_input_grad[:3]
        is_known = is_uniform and any(needed)
        gradients = _Gradients(cast, narrow, needed) if is_known else None
        ones = torch.ones_like(losses) if is_known else losses
        for chunk in _chunks(len(hidden), weight.shape[0]):
            logits = _logits(cast[chunk], narrow, bias)
            log_sums[chunk] = torch.logsumexp(logits, dim=1)
            own = ((sources >= chunk.start) & (sources < chunk.stop)).nonzero().squeeze(1)
            losses[own] = log_sums[sources[own]] - logits[sources[own] - chunk.start, targets[own]]
            if gradients is not None:
                gradients.add(chunk, logits, log_sums, sources[own], targets[own], ones[own])
        ctx.save_for_backward(hidden, weight, bias, sources, targets, log_sums)
        ctx.gradients, ctx.dtype = gradients, dtype
        return losses

    @staticmethod
    def backward(ctx: Any, *given: torch.Tensor) -> tuple[Any, ...]:
        (given_N,) = given  # noqa: N806 - shape suffix
        hidden, weight, bias, sources, targets, log_sums = ctx.saved_tensors
        gradients, factor = ctx.gradients, given_N[:1].sum()
        if gradients is None or not bool((given_N == factor).all()):
            cast, narrow = hidden.to(ctx.dtype), weight.to(ctx.dtype)
            gradients, factor = _Gradients(cast, narrow, ctx.needs_input_grad[:3]), None
            for chunk in _chunks(len(hidden), weight.shape[0]):
                own = ((sources >= chunk.start) & (sources < chunk.stop)).nonzero().squeeze(1)
                logits = _logits(cast[chunk], narrow, bias)
                gradients.add(chunk, logits, log_sums, sources[own], targets[own], given_N[own])
        found = [
            None if part is None else (part if factor is None else part * factor).to(like.dtype)
            for part, like in zip(gradients.parts, (hidden, weight, bias), strict=True)
        ]
        ctx.gradients = None
        return (*found, None, None, None, None)


class _Gradients:
    """Gradients of hidden states, weights and bias, added up chunk by chunk."""

    def __init__(self, hidden: torch.Tensor, weight: torch.Tensor, needed: tuple[bool, ...]) -> None:
        self._hidden, self._weight = hidden, weight
        size = weight.shape[0]
        self.parts: tuple[torch.Tensor | None, ...] = (
            torch.empty_like(hidden) if needed[0] else None,
            torch.zeros(weight.shape, dtype=torch.float32, device=weight.device) if needed[1] else None,
            torch.zeros(size, dtype=torch.float32, device=weight.device) if needed[2] else None,
        )

    def add(
        self,
        chunk: slice,
        logits: torch.Tensor,
        log_sums: torch.Tensor,
        sources: torch.Tensor,
        targets: torch.Tensor,
        given: torch.Tensor,
    ) -> None:
        """Add a chunk's; its logits are overwritten."""
        at = sources - chunk.start
        total = given.new_zeros(len(logits)).index_add_(0, at, given)
        logits.sub_(log_sums[chunk, None]).exp_().mul_(total[:, None])
        logits.index_put_((at, targets), -given, accumulate=True)
        narrow = logits.to(self._weight.dtype)
        of_hidden, of_weight, of_bias = self.parts
        if of_hidden is not None:
            of_hidden[chunk] = narrow @ self._weight
        if of_weight is not None:
            of_weight += narrow.t() @ self._hidden[chunk]
        if of_bias is not None:
            of_bias += logits.sum(dim=0)


def _logits(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    logits = hidden @ weight.t()
    # As a model does that hands out logits of its own number format.
    logits = logits if bias is None else logits + bias.to(logits.dtype)
    return logits.float()


def _chunks(positions: int, vocabulary: int) -> Generator[slice]:
    """Cut so many positions into chunks of similar size."""
    most = max(1, _CHUNK_BYTES // (4 * vocabulary))
    count = -(-positions // most)
    edges = [positions * n // count for n in range(count + 1)]
    for start, stop in itertools.pairwise(edges):
        yield slice(start, stop)
