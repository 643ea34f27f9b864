"""What an adapter does to each weight of its base: low-rank updates, replaced rows and whole replaced weights."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from ftsdk.errors import ModelError
from ftsdk.models.adapter_files import check_adapter
from ftsdk.models.folder_files import read_json
from ftsdk.models.headers import read_safetensors_header

__all__ = ["AdapterPlan", "LowRank", "read_adapter"]

_PREFIX = "base_model.model."
_CHANGES_BASE = ("pissa", "olora", "loftq", "corda", "lora_ga")
"""Ways to initialise a LoRA that change the base's weights before the training begins."""
_REFUSED = {
    "layer_replication": "it repeats layers of the base",
    "target_parameters": "it trains parameters by their names, as those of experts",
    "lora_bias": "it trains biases of the low-rank matrices",
    "alora_invocation_tokens": "it switches itself on in the middle of a prompt",
    "use_qalora": "its matrices are of another shape",
    "arrow_config": "it chooses among several adapters",
    "use_bdlora": "its matrices are of another shape",
    "monteclora_config": "its matrices are drawn at random",
    "velora_config": "its matrices are of another shape",
}


@dataclass(frozen=True, kw_only=True)
class LowRank:
    """A low-rank update of one weight: `weight + scale * (B @ A)`, and with a magnitude as DoRA does it."""

    a: str
    """The name of the tensor in the adapter's file."""
    b: str
    rank: int
    scale: float
    """What the product is multiplied by: alpha / rank, or alpha / sqrt(rank) for rsLoRA."""
    magnitude: str | None = None
    """DoRA's vector."""
    is_embedding: bool = False
    is_transposed: bool = False
    """Whether the base keeps this weight as (inputs, outputs), as GPT-2 does."""


@dataclass(frozen=True, kw_only=True)
class AdapterPlan:
    """What an adapter does, by the names of the base's weights."""

    folder: Path
    low_rank: Mapping[str, LowRank] = field(default_factory=dict[str, LowRank])
    replaced: Mapping[str, str] = field(default_factory=dict[str, str])
    """Weights that the adapter has whole (`modules_to_save`), with their names in its file."""
    rows: Mapping[str, tuple[str, tuple[int, ...]]] = field(default_factory=dict[str, tuple[str, tuple[int, ...]]])
    """Single rows of embeddings (`trainable_token_indices`): the tensor, and the tokens whose rows it has."""

    @property
    def weights(self) -> Path:
        """The file with the tensors."""
        return self.folder / "adapter_model.safetensors"

    @property
    def changed(self) -> frozenset[str]:
        """The names of all weights that it changes."""
        return frozenset({*self.low_rank, *self.replaced, *self.rows})


def read_adapter(adapter: str, base_names: Iterable[str]) -> AdapterPlan:
    """Return what a LoRA adapter does to the weights of its base; nothing of it is left out in silence.

    Args:
        adapter: The folder that PEFT or ftsdk wrote.
        base_names: The names of the base's weights.

    Raises:
        ModelError: It isn't a whole adapter, it is of a kind that can't be folded into weights, or a tensor of it
            belongs to no weight of the base.
    """
    check_adapter(adapter)
    folder = Path(adapter).expanduser()
    config = read_json(folder / "adapter_config.json", adapter)
    _refuse_other_kinds(config, adapter)
    shapes = read_safetensors_header(folder / "adapter_model.safetensors").shapes
    known, taken = frozenset(base_names), set[str]()
    low_rank: dict[str, LowRank] = {}
    for name in sorted(shapes):
        if not (match := re.fullmatch(r"(?P<module>.+)\.lora_(?P<embedding>embedding_)?A(?:\.weight)?", name)):
            continue
        module, is_embedding = match["module"], bool(match["embedding"])
        b = name.replace(".lora_embedding_A", ".lora_embedding_B").replace(".lora_A", ".lora_B")
        if b not in shapes:
            raise ModelError(f"the adapter {adapter} has {name}, but not {b}. Copy or download it again.")
        magnitude = next((m for m in _magnitudes(module) if m in shapes), None)
        short = module.removeprefix(_PREFIX)
        rank, scale = _rank_and_scale(config, short, adapter)
        if shapes[name][0] != rank or shapes[b][-1] != rank:
            raise ModelError(
                f"the adapter {adapter} states rank {rank} for {short}, and its matrices have {shapes[name][0]} and "
                f"{shapes[b][-1]}: file and config don't belong together. Copy or download it again."
            )
        if bool(config.get("use_dora")) is not (magnitude is not None):
            raise ModelError(
                f"the adapter {adapter} {'is' if config.get('use_dora') else 'is not'} of DoRA by its config, and "
                f"{short} has {'no' if magnitude is None else 'a'} magnitude in its file. Copy or download it again."
            )
        low_rank[f"{short}.weight"] = LowRank(
            a=name,
            b=b,
            rank=rank,
            scale=scale,
            magnitude=magnitude,
            is_embedding=is_embedding,
            is_transposed=bool(config.get("fan_in_fan_out")),
        )
        taken |= {name, b} | ({magnitude} if magnitude else set())
    rows = _rows(config, shapes, adapter)
    taken |= {tensor for tensor, _ in rows.values()}
    replaced = {name.removeprefix(_PREFIX).replace(".base_layer.", "."): name for name in shapes if name not in taken}
    for name in [*low_rank, *rows, *replaced]:
        # A tied head has no tensor of its own in the base's file.
        if name not in known and name != "lm_head.weight":
            raise ModelError(
                f"the adapter {adapter} has a tensor for {name.removesuffix('.weight')}, and the base has no such "
                "weight: the adapter is another model's, or of a kind that can't be merged. Name the base it was "
                "trained on, or export the adapter by itself: to='adapter'"
            )
    return AdapterPlan(folder=folder, low_rank=low_rank, replaced=replaced, rows=rows)


def _refuse_other_kinds(config: Mapping[str, Any], adapter: str) -> None:
    def refuse(field_: str, why: str) -> ModelError:
        return ModelError(
            f"the adapter {adapter} can't be merged: {field_} is {config.get(field_)!r:.80} in its config, so {why}. "
            "Export the adapter by itself: to='adapter'"
        )

    if config.get("peft_type", "LORA") != "LORA":
        raise refuse("peft_type", "it isn't a LoRA")
    if config.get("bias", "none") not in ("none", None):
        raise refuse("bias", "it changes biases beside its low-rank weights")
    for name, why in _REFUSED.items():
        if config.get(name):
            raise refuse(name, why)
    start = config.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_CHANGES_BASE):
        raise refuse("init_lora_weights", "the training began by changing the base's weights")
    if config.get("use_dora") and config.get("fan_in_fan_out"):
        raise refuse("fan_in_fan_out", "DoRA's norms are of the other side")


def _magnitudes(module: str) -> tuple[str, str]:
    return f"{module}.lora_magnitude_vector", f"{module}.lora_magnitude_vector.weight"


def _rank_and_scale(config: Mapping[str, Any], module: str, adapter: str) -> tuple[int, float]:
    """Return the rank and the scale of a module, by peft's own rules for patterns (0.21, `get_pattern_key`)."""
    rank = _of_pattern(config.get("rank_pattern"), module, config.get("r"))
    alpha = _of_pattern(config.get("alpha_pattern"), module, config.get("lora_alpha"))
    is_number = isinstance(alpha, int | float) and not isinstance(alpha, bool) and math.isfinite(alpha)
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1 or not is_number:
        raise ModelError(
            f"adapter_config.json of {adapter} is damaged: rank {rank!r:.50} and alpha {alpha!r:.50} for {module}. "
            "Copy or download it again."
        )
    return rank, float(cast("float", alpha)) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _of_pattern(pattern: object, module: str, otherwise: object) -> object:
    if not isinstance(pattern, Mapping):
        return otherwise
    for key, value in cast("Mapping[str, object]", pattern).items():
        try:
            if key == module or re.match(rf"(.*\.)?({key})$", module):
                return value
        except re.error:
            continue
    return otherwise


def _rows(
    config: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], adapter: str
) -> dict[str, tuple[str, tuple[int, ...]]]:
    stated: object = config.get("trainable_token_indices")
    if not stated:
        return {}
    wanted = cast("Mapping[str, list[int]]", stated if isinstance(stated, Mapping) else {"embed_tokens": stated})
    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for name in shapes:
        if not name.endswith("trainable_tokens_delta"):
            continue
        module = name.removeprefix(_PREFIX).partition(".token_adapter.")[0].removesuffix(".trainable_tokens_delta")
        tokens = next((ids for key, ids in wanted.items() if module == key or module.endswith(f".{key}")), None)
        if tokens is None or len(tokens) != shapes[name][0]:
            raise ModelError(
                f"the adapter {adapter} has {shapes[name][0]} trained rows for {module}, and its config names "
                f"{len(tokens or ())} tokens. Copy or download it again."
            )
        found[f"{module}.weight"] = (name, tuple(tokens))
    return found
