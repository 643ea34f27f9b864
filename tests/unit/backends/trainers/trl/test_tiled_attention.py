"""Large blocks of attention, computed as products of matrices, are what a plain softmax makes of them."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra 'local' isn't installed")
import torch

from ftsdk.backends.trainers.trl.tiled_attention import attend_in_tiles, attend_in_tiles_backward, has_tiles

HEADS, SHARED, SIZE = 4, 2, 16
SCALE = 0.3


def drawn(queries: int, keys: int) -> list[Any]:
    """Queries, keys, values and the gradient of the output."""
    torch.manual_seed(queries + keys)
    shapes = ((queries, HEADS), (keys, HEADS // SHARED), (keys, HEADS // SHARED), (queries, HEADS))
    return [torch.randn(*shape, SIZE).bfloat16() for shape in shapes]


def plain(query: Any, key: Any, value: Any, *, is_causal: bool) -> tuple[Any, Any]:
    scores = torch.einsum("qhd,khd->qhk", query, key.repeat_interleave(SHARED, dim=1)) * SCALE
    if is_causal:
        is_later = torch.ones(len(query), len(key), dtype=torch.bool).triu(1)
        scores = scores.masked_fill(is_later[:, None], -torch.inf)
    output = torch.einsum("qhk,khd->qhd", scores.softmax(dim=-1), value.repeat_interleave(SHARED, dim=1))
    return output, scores.logsumexp(dim=-1)


def distance(found: Any, wanted: Any) -> float:
    return float((found.float() - wanted).norm() / wanted.norm())


@pytest.mark.parametrize(("queries", "keys", "is_causal"), [(500, 600, False), (450, 450, True), (7, 90, False)])
def test_outputs_and_gradients_are_those_of_a_softmax(queries: int, keys: int, is_causal: bool) -> None:
    # The first two take several tiles, of which the last one is smaller.
    *inputs, gradient = drawn(queries, keys)
    exact = [one.float().requires_grad_() for one in inputs]
    wanted, wanted_sums = plain(*exact, is_causal=is_causal)
    output, log_sums = attend_in_tiles(*inputs, scale=SCALE, is_causal=is_causal)
    assert distance(output, wanted.detach()) < 0.01
    torch.testing.assert_close(log_sums, wanted_sums.detach(), rtol=1e-5, atol=1e-4)
    wanted.backward(gradient.float())
    found = attend_in_tiles_backward(gradient, *inputs, output, log_sums, scale=SCALE, is_causal=is_causal)
    for part, one in zip(found, exact, strict=True):
        assert part.dtype == torch.float32
        assert distance(part, one.grad) < 0.01


def test_scores_far_apart_neither_overflow_nor_vanish() -> None:
    *inputs, gradient = drawn(40, 40)
    inputs[0] = inputs[0] * 64
    wanted, wanted_sums = plain(*(one.float() for one in inputs), is_causal=True)
    output, log_sums = attend_in_tiles(*inputs, scale=SCALE, is_causal=True)
    assert distance(output, wanted) < 0.01
    torch.testing.assert_close(log_sums, wanted_sums, rtol=1e-5, atol=1e-3)
    found = attend_in_tiles_backward(gradient, *inputs, output, log_sums, scale=SCALE, is_causal=True)
    assert all(bool(part.isfinite().all()) for part in found)


def test_only_large_blocks_in_bfloat16_are_computed_in_tiles() -> None:
    *_, narrow = drawn(8, 8)
    assert has_tiles(narrow, 800, 560)
    assert not has_tiles(narrow.float(), 800, 560)
    assert not has_tiles(narrow, 20, 20)
    assert not has_tiles(narrow, 5000, 30)
