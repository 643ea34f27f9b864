"""Sizes that a model states, held against the weights it has.

transformers builds a model from the sizes in its config or its GGUF header, and allocates what the files don't hold:
a few bytes of a header can ask for all memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import cast

from ftsdk.errors import ModelError
from ftsdk.models.limits import LIMITS

__all__ = ["check_adapter_sizes", "check_sizes"]

_LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "num_decoder_layers", "block_count")
_HIDDEN = ("hidden_size", "n_embd", "d_model", "embedding_length")
_HEADS = ("num_attention_heads", "n_head", "attention.head_count")
_PRODUCTS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("vocab_size",), _HIDDEN),
    (("intermediate_size", "n_inner", "ffn_dim", "feed_forward_length"), _HIDDEN),
    (_HEADS, ("head_dim", "attention.key_length", "attention.value_length"), _HIDDEN),
    (("num_key_value_heads", "attention.head_count_kv"), ("head_dim", "attention.key_length"), _HIDDEN),
    (
        ("num_experts", "num_local_experts", "n_routed_experts", "expert_count"),
        ("moe_intermediate_size", "expert_feed_forward_length"),
        _HIDDEN,
    ),
)
"""Groups of sizes, by their names in configs and GGUF headers, that a weight of the model has as its shape."""
_POSITIONS = ("n_positions", "max_position_embeddings", "context_length")
_LEARNED_POSITIONS = ("wpe.weight", "embed_positions.weight", "position_embeddings.weight", "position_embd.weight")


def check_sizes(sizes: Mapping[str, object], tensor_names: Iterable[str], parameters: int, *, shown: str) -> None:
    """Refuse a model whose stated sizes are far beyond its weights.

    Args:
        sizes: What the config or the GGUF header states, by name; what isn't a whole number is ignored.
        tensor_names: The tensors in the model's files.
        parameters: How many numbers these hold.
        shown: The name of the model in errors.

    Raises:
        ModelError: A size, or a product of sizes that some weight has, doesn't fit what the files hold.
    """
    names = tuple(tensor_names)
    found = {key: value for key, value in sizes.items() if isinstance(value, int) and not isinstance(value, bool)}
    for key in _LAYERS:
        if found.get(key, 0) > len(names):
            raise _beyond(shown, f"{key}={found[key]:,}", f"{len(names):,} tensors")
    products = _PRODUCTS
    if any(name.endswith(_LEARNED_POSITIONS) for name in names):
        products = (*products, (_POSITIONS, _HIDDEN))
    for groups in products:
        stated = {key: found[key] for group in groups for key in group if found.get(key, 0) > 0}
        if math.prod(stated.values()) > max(1, parameters) * LIMITS.packing:
            what = " x ".join(f"{key}={value:,}" for key, value in stated.items())
            raise _beyond(shown, what, f"{parameters:,} parameters")


def check_adapter_sizes(config: Mapping[str, object], parameters: int, *, shown: str) -> None:
    """Refuse an adapter whose stated ranks are far beyond its weights: PEFT allocates them before it loads any.

    Args:
        config: The content of `adapter_config.json`.
        parameters: How many numbers the adapter's file holds.
        shown: The name of the adapter in errors.

    Raises:
        ModelError: A rank doesn't fit what the file holds.
    """
    pattern = config.get("rank_pattern")
    ranks = {"r": config.get("r"), **(cast("dict[str, object]", pattern) if isinstance(pattern, dict) else {})}
    for key, rank in ranks.items():
        if isinstance(rank, int) and rank > max(1, parameters):
            raise _beyond(shown, f"the rank {key}={rank:,}", f"{parameters:,} parameters")


def _beyond(shown: str, stated: str, held: str) -> ModelError:
    return ModelError(
        f"{shown} states {stated[:300]}, but its files hold {held}: they are damaged or don't belong together. Copy or "
        "download the model again."
    )
