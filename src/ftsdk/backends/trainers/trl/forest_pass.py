"""A forest of rows through a model: cross-entropy of the trained tokens, and a trial of whether a model can do it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own abbreviation

from ftsdk.backends.trainers.trl.head_loss import chunked_losses, skipped_head
from ftsdk.backends.trainers.trl.tree_attention import TreePlan, attending_in
from ftsdk.data.forest import Forest, TrainedRow, plant

__all__ = ["losses_of", "why_not"]

_TRIAL_TOKENS = 24
_LARGEST_ERROR = {torch.float32: 1e-3, torch.bfloat16: 0.05, torch.float16: 0.01}
"""Of logits in a trial, relative to their size."""


def losses_of(
    model: Any, forest: Forest, *, inner: Any = None, head: Any = None, is_uniform: bool = True
) -> torch.Tensor:
    """Return the cross-entropy of each trained token of a forest, in the order of `forest.targets`.

    Args:
        model: What is called.
        forest: The rows.
        inner: The model whose attention is exchanged, if `model` only wraps it for several processes.
        head: The model's head, if its products can be made in chunks (`can_skip_head`); None: the model makes them.
        is_uniform: Whether all losses get the same gradient.
    """
    sources_K, chosen_N = torch.unique(  # noqa: N806 - shape suffix
        torch.tensor(forest.sources, dtype=torch.long), return_inverse=True
    )
    if not len(sources_K):
        # Every process must have a backward pass: a loss of nothing, and gradients of 0.
        return _logits(model, forest, torch.tensor([0]), inner=inner)[:0, 0].float()
    targets_N = torch.tensor(forest.targets)  # noqa: N806
    if head is not None:
        with skipped_head(head):
            hidden_KD = _logits(model, forest, sources_K, inner=inner)  # noqa: N806
        return chunked_losses(hidden_KD, head, chosen_N, targets_N, is_uniform=is_uniform)
    logits_KV = _logits(model, forest, sources_K, inner=inner).float()  # noqa: N806
    if len(sources_K) == len(chosen_N):
        # One target each: a kernel that doesn't write down all log-probabilities.
        targets_K = torch.empty_like(targets_N)  # noqa: N806
        targets_K[chosen_N] = targets_N
        return F.cross_entropy(logits_KV, targets_K, reduction="none")[chosen_N]
    return -logits_KV.log_softmax(dim=-1)[chosen_N, targets_N]


def _logits(model: Any, forest: Forest, sources: torch.Tensor, *, inner: Any = None, longest: int = 0) -> torch.Tensor:
    """Return the logits of the tokens with these indices."""
    with attending_in(model if inner is None else inner, TreePlan.of(forest, longest=longest)):
        output = model(
            input_ids=torch.tensor([forest.tokens]),
            position_ids=torch.tensor([forest.positions]),
            logits_to_keep=sources,
            use_cache=False,
        )
    return output.logits[0]


def why_not(model: Any, *, longest: int) -> str | None:
    """Return why rows can't go through a model as a forest, found by trying two short rows; None if they can.

    Windows, states and positions that attention counts by itself make a difference here, whatever the model is called.

    Args:
        model: As it was loaded.
        longest: Most tokens of a row, to compare with the windows of its attention.
    """
    config = model.config.get_text_config(decoder=True)
    if config._attn_implementation != "sdpa":
        return "it isn't trained with PyTorch's fused attention"
    if getattr(config, "output_router_logits", False):
        return "the loss that balances its experts counts tokens"
    size = model.get_input_embeddings().weight.shape[0]
    first = [(7 * n + 3) % size for n in range(_TRIAL_TOKENS)]
    rows = [first, [*first[: _TRIAL_TOKENS // 2], *((11 * n + 5) % size for n in range(_TRIAL_TOKENS // 2))]]
    forest = plant([TrainedRow(tokens=tuple(row), targets=(), length=len(row)) for row in rows], saved_at_least=1)
    every = torch.arange(len(forest.tokens))
    was_training = model.training
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            # Dropout in attention is there in training only.
            _logits(model.train(), forest, every, longest=longest)
            found = _logits(model.eval(), forest, every, longest=longest).float()
            expected = [_plain(model, row) for row in rows]
            # The same tokens as if they were one row: what a model shows that doesn't know of rows.
            confused = _plain(model, list(forest.tokens))
    except Exception as error:  # noqa: BLE001 - a model that can't do it may raise anything
        return f"{type(error).__name__}: {error}"
    finally:
        model.train(was_training)
    error, confusion = 0.0, 0.0
    for n, wanted in enumerate(expected):
        places = forest.places(n)
        error = max(error, float((found[places] - wanted).norm() / wanted.norm()))
        confusion = max(confusion, float((confused[places] - wanted).norm() / wanted.norm()))
    if not error <= min(_LARGEST_ERROR[model.dtype], confusion / 4):
        return f"its logits differ by {error:.1%} from those of single rows"
    return None


def _plain(model: Any, row: list[int]) -> torch.Tensor:
    return model(input_ids=torch.tensor([row]), use_cache=False).logits[0].float()
