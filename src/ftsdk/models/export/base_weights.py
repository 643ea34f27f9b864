"""The weights of a model one by one, with its adapter merged in float32, so that no more than one is in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ftsdk.errors import ModelError
from ftsdk.models.export.adapter_weights import AdapterPlan, LowRank, read_adapter
from ftsdk.models.folder_files import read_json
from ftsdk.models.headers import read_safetensors_header
from ftsdk.models.materialize import materialize
from ftsdk.models.source import check_stated_sizes, inspect_model, weight_files
from ftsdk.models.torch_stack import late_imports, loading_errors
from ftsdk.spec import Model

__all__ = ["BaseFormat", "MergedWeights", "Nf4", "base_format_of", "open_weights", "unpacked"]

_EMBEDDING = "model.embed_tokens.weight"
_HEAD = "lm_head.weight"


@dataclass(frozen=True, kw_only=True)
class Nf4:
    """A base that was held in 4 bits while its adapter was trained (QLoRA)."""

    has_double_quantization: bool
    dtype: Literal["bfloat16", "float16", "float32"]
    """The number format of the computation, to which the weights were unpacked."""


BaseFormat = Nf4 | None
"""How an adapter's training saw the base: in 4 bits, or as it is on disk."""


def base_format_of(model: Model) -> BaseFormat:
    """Return how the training of a model's adapter saw its base, by the manifest that ftsdk wrote beside it.

    None, too, for an adapter that others made: PEFT doesn't write down what the base was held in.
    """
    if model.adapter is None:
        return None
    path = Path(model.adapter).expanduser() / "manifest.json"
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        tuning, dtype = manifest["spec"]["tuning"], manifest["training"]["dtype"]
        if tuning["kind"] != "qlora" or dtype not in ("bfloat16", "float16", "float32"):
            return None
        return Nf4(has_double_quantization=bool(tuning.get("double_quantization", True)), dtype=dtype)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def unpacked(weight: Any, held: Nf4) -> Any:
    """Return a linear layer's weight as 4-bit training computed with it: quantised and unpacked again.

    Args:
        weight: As torch's tensor of two dimensions.
        held: How the training held it.
    """
    with late_imports("merging an adapter that was trained on 4-bit weights"):
        import torch
        from bitsandbytes.functional import dequantize_4bit, quantize_4bit
    packed, state = quantize_4bit(
        weight.to(getattr(torch, held.dtype)).contiguous(),
        compress_statistics=held.has_double_quantization,
        quant_type="nf4",
    )
    return dequantize_4bit(packed, state)


class MergedWeights:
    """The weights of a model by name. Files are read lazily; each weight is merged in float32 when it is asked for."""

    def __init__(self, folder: Path, plan: AdapterPlan | None, base_format: BaseFormat, *, shown: str) -> None:
        self.folder = folder
        self.plan = plan
        self.base_format = base_format
        self.config = read_json(folder / "config.json", shown)
        self._shown = shown
        self._files: dict[str, Path] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        """The shape of each weight that will be written."""
        for path in weight_files(folder, shown):
            header = read_safetensors_header(path)
            self.shapes |= header.shapes
            self._files |= dict.fromkeys(header.shapes, path)
        self.is_untied = self._unties()
        """Whether the head gets weights of its own, because the adapter changed only one of two that were tied."""
        if self.is_untied:
            self.shapes[_HEAD] = self.shapes[_EMBEDDING]
        elif self.is_tied:
            self.shapes.pop(_HEAD, None)  # some files repeat what the config ties
        self._handles: dict[Path, Any] = {}

    @property
    def is_tied(self) -> bool:
        """Whether the head is the embedding."""
        return bool(self.config.get("tie_word_embeddings")) and not self.is_untied

    @property
    def is_changed(self) -> bool:
        """Whether any weight differs from what is on disk."""
        return self.plan is not None

    def stored(self, name: str) -> Any:
        """Return a weight of the base as it is on disk, as a torch tensor; a tied head is the embedding."""
        source = _EMBEDDING if name == _HEAD and name not in self._files else name
        return self._handle(self._files[source]).get_tensor(source)

    def merged(self, name: str) -> Any:
        """Return a weight with the adapter in it, as a float32 tensor of its own.

        Raises:
            ModelError: The adapter doesn't fit the weight, or makes numbers of it that aren't finite.
        """
        import torch

        plan = self.plan
        if plan is None:
            return self._as_trained(name, self.stored(name))
        if name in plan.replaced:
            weight = self.adapter_tensor(plan.replaced[name]).to(torch.float32, copy=True)
            self._check_shape(name, weight)
        else:
            weight = self._as_trained(name, self.stored(name))
        for tied in dict.fromkeys((name, _EMBEDDING if name == _HEAD and self.is_untied else name)):
            if tied in plan.rows:
                tensor, tokens = plan.rows[tied]
                weight[list(tokens)] = self.adapter_tensor(tensor).to(torch.float32)
        if (update := plan.low_rank.get(name)) is not None:
            weight = self._updated(name, weight, update)
            if not bool(torch.isfinite(weight).all()):
                raise ModelError(f"merging {name} makes numbers that aren't finite: the adapter is broken")
        return weight

    def close(self) -> None:
        """Let go of the files."""
        self._handles.clear()

    def _updated(self, name: str, weight: Any, update: LowRank) -> Any:
        import torch

        a, b = self.adapter_tensor(update.a).to(torch.float32), self.adapter_tensor(update.b).to(torch.float32)
        delta = b @ a
        if update.is_embedding or update.is_transposed:
            delta = delta.T
        self._check_shape(name, delta)
        weight += delta * update.scale
        if update.magnitude is not None:
            weight *= (self.adapter_tensor(update.magnitude).to(torch.float32).flatten() / weight.norm(dim=1))[:, None]
        return weight

    def _as_trained(self, name: str, stored: Any) -> Any:
        """Return a weight of the base in float32: through 4 bits where the training held it so."""
        import torch

        held = self.base_format
        is_linear = name.endswith(".weight") and stored.ndim == 2 and ".layers." in f".{name}"
        if held is None or self.plan is None or not is_linear:
            return stored.to(torch.float32, copy=True)
        return unpacked(stored, held).to(torch.float32)

    def _unties(self) -> bool:
        """Return whether the adapter changes the embedding or the head alone, so that they part."""
        if not self.config.get("tie_word_embeddings") or self.plan is None:
            return False
        own = {*self.plan.low_rank, *self.plan.replaced}
        return bool(own & {_EMBEDDING, _HEAD})

    def adapter_tensor(self, name: str) -> Any:
        """Return a tensor of the adapter as it is on disk."""
        assert self.plan is not None
        return self._handle(self.plan.weights).get_tensor(name)

    def _handle(self, path: Path) -> Any:
        if path not in self._handles:
            from safetensors import safe_open

            # A file that is mapped counts as memory: of the base's, one is open at a time.
            kept = None if self.plan is None else self.plan.weights
            self._handles = {other: handle for other, handle in self._handles.items() if kept in (other, path)}
            self._handles[path] = safe_open(path, framework="pt", device="cpu")
        return self._handles[path]

    def _check_shape(self, name: str, tensor: Any) -> None:
        if tuple(tensor.shape) != self.shapes[name]:
            raise ModelError(
                f"the adapter of {self._shown} has {name} with the shape {tuple(tensor.shape)}, and the base "
                f"{self.shapes[name]}. If tokens were added in training, resize the base with "
                "model.resize_token_embeddings(...), save it, and name that folder as the base"
            )


def open_weights(
    model: Model, *, on_message: Callable[[str], None] | None = None, base_format: BaseFormat = None
) -> MergedWeights:
    """Open the weights of a model, its adapter merged in.

    Args:
        model: With or without an adapter.
        on_message: Called with one sentence before each slow step.
        base_format: How the training saw the base; see `base_format_of`.

    Raises:
        ModelError: The model isn't whole, is stored quantised, or its adapter can't be merged.
        MissingExtraError: torch or safetensors isn't installed.
    """
    folder = materialize(model, on_message=on_message)
    if model.adapter is not None:
        inspect_model(model)
    check_stated_sizes(folder, shown=str(model), adapter=model.adapter)
    with late_imports("exporting a model"):
        import safetensors
        import torch
    del safetensors, torch
    config: Mapping[str, Any] = read_json(folder / "config.json", str(model))
    if config.get("quantization_config"):
        raise ModelError(
            f"{model} is stored quantised (quantization_config in its config.json), and an adapter can't be merged "
            "into packed weights. Export the adapter by itself (to='adapter'), or train on the model's full weights"
        )
    plan = None
    if model.adapter is not None:
        names = [name for path in weight_files(folder, str(model)) for name in read_safetensors_header(path).shapes]
        plan = read_adapter(model.adapter, names)
    with loading_errors(f"the weights of {model} can't be opened"):
        return MergedWeights(folder, plan, base_format, shown=str(model))
