"""Attention of large blocks in bfloat16 on a CPU, as products of matrices whose scores stay in the cache.

PyTorch's kernel is quick for small blocks. In large ones its forward pass makes a tenth of what the machine's products
do in bfloat16, and its backward pass is best in float32. Here scores are products in float32, all others are in
bfloat16, and sums are subtracted inside the products. Powers are those of 2: PyTorch's `exp` takes four times as long.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

import torch

__all__ = ["attend_in_tiles", "attend_in_tiles_backward", "has_tiles"]

_TILE_BYTES = 2**20
"""Of the scores of a tile, in 32 bits."""
_FEWEST_SCORES = 30_000
"""Of a block, for each head: below it PyTorch's kernel is as quick (EPYC with AVX-512, one thread, 2026-11-28)."""
_FEWEST_KEYS = 96


def has_tiles(query: torch.Tensor, queries: int, keys: int) -> bool:
    """Return whether a block of so many queries and keys is computed here, and not by PyTorch's kernel."""
    return query.dtype == torch.bfloat16 and keys >= _FEWEST_KEYS and queries * keys >= _FEWEST_SCORES


def attend_in_tiles(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, scale: float, is_causal: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return attention in float32, queries x heads x size, and the log of the sums, queries x heads.

    Args:
        query: Queries x heads x size.
        key: Keys x heads x size; there may be fewer heads, each for several of the queries.
        value: As the keys.
        scale: Of the scores.
        is_causal: Whether query n sees the keys up to n only.
    """
    queries, heads, size = query.shape
    output = torch.empty(query.shape, dtype=torch.float32)
    log_sums = torch.empty(queries, heads, dtype=torch.float32)
    shared = heads // key.shape[1]
    for n in range(key.shape[1]):
        of_head = slice(n * shared, (n + 1) * shared)
        turned, values = _scaled(key[:, n], scale).t(), value[:, n].contiguous()
        for rows, seen in _tiles(queries, len(key), shared, is_causal=is_causal):
            asked = query[rows, of_head].reshape(-1, size).float()
            scores = asked @ turned[:, :seen]
            if is_causal:
                _hide_later(scores, rows, shared, -math.inf)
            top = scores.amax(dim=1, keepdim=True)
            total = scores.sub_(top).exp2_().sum(dim=1, keepdim=True)
            found = (scores.bfloat16() @ values[:seen]).float().div_(total)
            output[rows, of_head] = found.view(-1, shared, size)
            log_sums[rows, of_head] = total.log2_().add_(top).mul_(math.log(2)).view(-1, shared)
    return output, log_sums


def attend_in_tiles_backward(
    gradient: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    output: torch.Tensor,
    log_sums: torch.Tensor,
    *,
    scale: float,
    is_causal: bool = False,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the gradients of queries, keys and values in float32.

    Args:
        gradient: Of the output, in bfloat16.
        query: As in the forward pass; so are key, value, scale and is_causal.
        key: The keys.
        value: The values.
        output: Of all blocks that the queries see, joined.
        log_sums: Likewise.
        scale: Of the scores.
        is_causal: Whether query n sees the keys up to n only.
    """
    size = query.shape[2]
    shared = query.shape[1] // key.shape[1]
    along = (gradient.float() * output.float()).sum(dim=-1, keepdim=True)
    # Two numbers of 8 bits for one of 16: the difference that it is for would lose what is rounded.
    first = along.bfloat16()
    asked = torch.cat([query.float(), log_sums[..., None] / -math.log(2)], dim=-1)
    given = torch.cat([gradient, -first, (first.float() - along).bfloat16()], dim=-1)
    of_query = torch.empty(query.shape, dtype=torch.float32)
    of_key, of_value = (torch.zeros(key.shape, dtype=torch.float32) for _ in range(2))
    for n in range(key.shape[1]):
        of_head = slice(n * shared, (n + 1) * shared)
        own = key[:, n].contiguous()
        keys = torch.cat([_scaled(own, scale), torch.ones(len(own), 1)], dim=1).t()
        values = torch.cat([value[:, n], value.new_ones(len(own), 2)], dim=1).t()
        for rows, seen in _tiles(len(query), len(key), shared, is_causal=is_causal):
            tile, tile_given = asked[rows, of_head].reshape(-1, size + 1), given[rows, of_head].reshape(-1, size + 2)
            scores = (tile @ keys[:, :seen]).exp2_()
            if is_causal:
                _hide_later(scores, rows, shared, 0.0)
            weights = scores.bfloat16()
            of_value[:seen, n] += weights.t() @ tile_given[:, :size]
            of_scores = (tile_given @ values[:, :seen]).mul_(weights)
            of_query[rows, of_head] = (of_scores @ own[:seen]).float().mul_(scale).view(-1, shared, size)
            of_key[:seen, n] += of_scores.t() @ query[rows, of_head].reshape(-1, size)
    return of_query, of_key.mul_(scale), of_value


def _scaled(keys: torch.Tensor, scale: float) -> torch.Tensor:
    """Return keys whose scores are powers of 2."""
    return keys.float() * (scale / math.log(2))


def _tiles(queries: int, keys: int, shared: int, *, is_causal: bool) -> Generator[tuple[slice, int]]:
    """Yield ranges of queries, and how many keys they may see."""
    step = max(16, _TILE_BYTES // (4 * keys * shared))
    for start in range(0, queries, step):
        stop = min(start + step, queries)
        yield slice(start, stop), stop if is_causal else keys


def _hide_later(scores: torch.Tensor, rows: slice, shared: int, hidden: Any) -> None:
    """Overwrite the scores of keys that come after their query, which are among the last of the tile."""
    count = rows.stop - rows.start
    is_later = torch.ones(count, count, dtype=torch.bool).triu_(1)
    scores.view(count, shared, -1)[:, :, rows.start :].masked_fill_(is_later[:, None], hidden)
