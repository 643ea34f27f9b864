"""Attention of our own in a model of transformers, for rows that go through it as one sequence.

Training lays rows out as a tree and needs gradients, generation keeps what it has computed; both replace the attention
of a loaded model for the time of a pass, and refuse models whose attention needs more than they have.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any

__all__ = ["UnsupportedAttentionError", "check_attention", "is_out_of_memory", "replaced_attention"]

_HARMLESS = frozenset({"position_ids", "use_cache", "output_attentions", "output_router_logits", "num_items_in_batch"})
"""Arguments of an attention function that change nothing for packed rows; others may only be None."""


class UnsupportedAttentionError(Exception):
    """The model's attention needs something that packed rows don't have, such as sinks or a sliding window."""


@contextlib.contextmanager
def replaced_attention(model: Any, name: str, function: Callable[..., Any]) -> Generator[None]:
    """Let a function compute the model's attention inside this block, then put the model's own back.

    Args:
        model: Loaded by transformers.
        name: What transformers is to know the function by.
        function: Called as transformers calls its own attention functions.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(name, function)
    config = model.config.get_text_config(decoder=True)
    own = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = own


def check_attention(
    module: Any,
    query: Any,
    key: Any,
    value: Any,
    *,
    mask: Any,
    options: Mapping[str, Any],
    unknown: Sequence[str] = (),
    is_possible: bool = True,
) -> None:
    """Raise unless a layer asks for plain causal attention of one packed sequence to itself.

    Args:
        module: The layer.
        query: 1 x heads x tokens x size.
        key: 1 x heads x tokens x size; there may be fewer heads than those of the queries.
        value: Of the same shape as the keys.
        mask: What transformers has made of the input; there must be none.
        options: Further arguments of the attention function.
        unknown: Names of what else the layer asks for in vain.
        is_possible: What else the caller needs holds.

    Raises:
        UnsupportedAttentionError: It asks for something else.
    """
    unknown = [*unknown, *(name for name, given in options.items() if name not in _HARMLESS and given is not None)]
    is_packed = query.shape[0] == 1 and query.shape[2] == key.shape[2] and key.shape == value.shape
    if unknown or mask is not None or not is_packed or not is_possible:
        raise UnsupportedAttentionError(f"{type(module).__name__} needs {', '.join(unknown) or 'another attention'}")


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an allocator had no more memory; that of torch on a CPU raises a plain `RuntimeError`."""
    import torch

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return any(words in str(error) for words in ("can't allocate memory", "not enough memory", "std::bad_alloc"))
