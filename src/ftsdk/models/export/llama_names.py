"""The Llama family in GGUF: what its tensors are called there, which rows change places, and what is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, cast

from ftsdk.errors import ModelError

__all__ = ["check_llama", "gguf_name", "head_counts", "layer_of", "rope_base", "rope_factors", "rope_rows"]

_MODULES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}
_TOP = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output"}
_LAYER = re.compile(r"model\.layers\.(\d+)\.(.+)\.weight")
_ELSEWHERE = (
    "Write it merged (to='merged') and convert that folder with llama.cpp's own convert_hf_to_gguf.py --outtype f16"
)


def check_llama(config: Mapping[str, Any], shown: str) -> None:
    """Refuse a model whose GGUF file would need more than is written here.

    Args:
        config: Of `config.json`.
        shown: The name of the model in errors.

    Raises:
        ModelError: It isn't a Llama, or one with biases or another rotary embedding; says which field.
    """

    def refuse(field: str, value: object) -> ModelError:
        return ModelError(
            f"{shown} can't be written as GGUF: {field} is {value!r:.60} in its config.json, and only plain Llama "
            f"models are written here. {_ELSEWHERE}"
        )

    if config.get("model_type") != "llama":
        raise refuse("model_type", config.get("model_type"))
    for field in ("attention_bias", "mlp_bias"):
        if config.get(field):
            raise refuse(field, True)
    if config.get("hidden_act", "silu") != "silu":
        raise refuse("hidden_act", config.get("hidden_act"))
    kind = _rope(config).get("rope_type", _rope(config).get("type", "default"))
    if kind not in ("default", "llama3"):
        raise refuse("rope_type", kind)
    for field in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size"):
        if not isinstance(config.get(field), int):
            raise refuse(field, config.get(field))


def head_counts(config: Mapping[str, Any]) -> tuple[int, int, int]:
    """Return how many heads ask, how many have keys and values, and the width of one."""
    heads = int(config["num_attention_heads"])
    return (
        heads,
        int(config.get("num_key_value_heads") or heads),
        int(config.get("head_dim") or config["hidden_size"] // heads),
    )


def gguf_name(name: str, shown: str) -> str:
    """Return what GGUF calls a weight.

    Raises:
        ModelError: A Llama has no such weight.
    """
    if (match := _LAYER.fullmatch(name)) is not None and match[2] in _MODULES:
        return f"blk.{match[1]}.{_MODULES[match[2]]}.weight"
    if name.removesuffix(".weight") in _TOP and name.endswith(".weight"):
        return _TOP[name.removesuffix(".weight")] + ".weight"
    raise ModelError(f"{shown} has the weight {name}, which a plain Llama doesn't have. {_ELSEWHERE}")


def layer_of(name: str) -> int | None:
    """Return the layer that a weight belongs to, by its name in transformers."""
    match = _LAYER.fullmatch(name)
    return None if match is None else int(match[1])


def rope_rows(name: str, rows: Any, config: Mapping[str, Any]) -> Any:
    """Return the rows of a matrix in llama.cpp's order.

    transformers keeps the two halves that are rotated together apart, llama.cpp side by side: in the projections of
    queries and keys, and in the B matrices of their adapters.
    """
    heads, key_heads, _ = head_counts(config)
    count = {"q_proj": heads, "k_proj": key_heads}.get(name.removesuffix(".weight").rpartition(".")[2])
    if count is None:
        return rows
    return rows.reshape(count, 2, rows.shape[0] // count // 2, -1).swapaxes(1, 2).reshape(rows.shape)


def rope_base(config: Mapping[str, Any]) -> float:
    """Return the base of the rotary frequencies."""
    return float(_rope(config).get("rope_theta") or config.get("rope_theta") or 10_000.0)


def rope_factors(config: Mapping[str, Any]) -> list[float] | None:
    """Return what each rotary frequency is divided by in Llama 3.1 and later; None for all before.

    Source: transformers 5.23, `modeling_rope_utils._compute_llama3_parameters`; llama.cpp's convert_hf_to_gguf.py.
    """
    rope = _rope(config)
    if rope.get("rope_type", rope.get("type")) != "llama3":
        return None
    factor, low, high = (float(rope[key]) for key in ("factor", "low_freq_factor", "high_freq_factor"))
    context = float(rope["original_max_position_embeddings"])
    width = head_counts(config)[2]
    found: list[float] = []
    for index in range(0, width, 2):
        wave = 2 * math.pi * rope_base(config) ** (index / width)
        if wave < context / high:
            found.append(1.0)
        elif wave > context / low:
            found.append(factor)
        else:
            smooth = (context / wave - low) / (high - low)
            found.append(1 / ((1 - smooth) / factor + smooth))
    return found


def _rope(config: Mapping[str, Any]) -> Mapping[str, Any]:
    for key in ("rope_parameters", "rope_scaling"):  # the second is the name before transformers 5
        if isinstance(found := config.get(key), Mapping):
            return cast("Mapping[str, Any]", found)
    return {}
