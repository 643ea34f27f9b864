"""How strongly an adapter acts in what was written: the change of the weights, held against the one that PEFT computes.

Log-probabilities don't show it in quantised models: an adapter at twice its strength saturates, and moves them about as
much as four bits do (0.34 nats of divergence against 0.07 to 0.24). The weights do: rounding has nothing to do with the
direction of the change, so that over the numbers of a matrix it averages out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftsdk.models.export.gates import Gate
from ftsdk.models.export.llama_names import gguf_name, rope_rows
from ftsdk.models.headers import read_safetensors_header
from ftsdk.models.source import weight_files

__all__ = ["WeightChange", "adapter_changes", "strength_gate", "written_in_folder", "written_in_gguf"]

_MATRICES = 3
_LEAST, _MOST = 0.7, 1.4
"""Of the strength in the training. A small change is lost in part where the base's numbers are rounded already."""
_MOST_NOISE = 0.1
"""With more, from rounding numbers that the adapter hardly changes, nothing can be told."""


@dataclass(frozen=True, kw_only=True)
class WeightChange:
    """What an adapter changes in one matrix of its base."""

    base: Any
    """Rows and columns in float32, as the training saw them."""
    change: Any
    """What the adapter adds, as PEFT computes it."""


def adapter_changes(loaded: Any) -> dict[str, WeightChange]:
    """Return the changes of some matrices of a model that PEFT has loaded, by the name of the weight in the base.

    Those without one that is simply added, as of DoRA, are left out.
    """
    found: list[tuple[int, str, Any]] = []
    for name, module in loaded.named_modules():
        weight = getattr(getattr(module, "base_layer", None), "weight", None)
        is_added = "default" in getattr(module, "lora_A", ()) and not getattr(module, "lora_variant", None)
        if weight is not None and weight.ndim == 2 and is_added and ".layers." in name:
            found.append((weight.numel(), name.removeprefix("base_model.model."), module))
    smallest = sorted(found, key=lambda one: one[:2])
    chosen = smallest[:: max(1, len(smallest) // _MATRICES)][:_MATRICES]
    return {
        f"{name}.weight": WeightChange(
            base=module.base_layer.weight.detach().float().cpu().numpy(),
            change=module.get_delta_weight("default").detach().float().cpu().numpy(),
        )
        for _, name, module in chosen
    }


def written_in_folder(folder: Path, changes: Mapping[str, WeightChange]) -> dict[str, tuple[Any, Any]]:
    """Return the change in a merged folder beside that of PEFT, for each matrix."""
    from safetensors import safe_open

    found: dict[str, tuple[Any, Any]] = {}
    for path in weight_files(folder, "what was written"):
        held = [name for name in changes if name in read_safetensors_header(path).shapes]
        with safe_open(path, "pt") as file:
            for name in held:
                written = file.get_tensor(name).float().numpy()
                if written.shape == changes[name].base.shape:
                    found[name] = written - changes[name].base, changes[name].change
    return found


def written_in_gguf(
    main: Path, adapter: Path | None, config: Mapping[str, Any], changes: Mapping[str, WeightChange]
) -> dict[str, tuple[Any, Any]]:
    """Return the change in a GGUF file, or in that of an adapter, beside that of PEFT, for each matrix.

    Args:
        main: The file of the model.
        adapter: The file of its adapter; None: it is merged.
        config: The base's.
        changes: Of the model before the export.
    """
    import gguf

    reader = gguf.GGUFReader(main if adapter is None else adapter)
    held: dict[str, Any] = {str(tensor.name): tensor for tensor in reader.tensors}

    def numbers(name: str) -> Any:
        return gguf.quants.dequantize(held[name].data, held[name].tensor_type)

    found: dict[str, tuple[Any, Any]] = {}
    for name, one in changes.items():
        stem, expected = gguf_name(name, "the base"), rope_rows(name, one.change, config)
        if adapter is None and stem in held:
            found[name] = numbers(stem) - rope_rows(name, one.base, config), expected
        elif adapter is not None and f"{stem}.lora_a" in held:
            a, b = numbers(f"{stem}.lora_a"), numbers(f"{stem}.lora_b")
            alpha = float(reader.fields["adapter.lora.alpha"].contents())
            found[name] = alpha / a.shape[0] * (b @ a), expected
    return found


def strength_gate(written: Mapping[str, tuple[Any, Any]]) -> Gate:
    """Compare how strongly the adapter acts: 1 is as in the training, 2 would be a doubled alpha.

    Args:
        written: The change in what was written, and the one of PEFT, for each matrix.
    """
    import numpy as np

    strengths: list[float] = []
    noise = 0.0
    for change, expected in written.values():
        size = float(np.sum(np.square(expected, dtype=np.float64)))
        if change.shape != expected.shape or not size:
            continue
        strength = float(np.sum(change.astype(np.float64) * expected)) / size
        rest = float(np.sum(np.square(change - strength * expected, dtype=np.float64)))
        strengths.append(strength)
        noise = max(noise, float(np.sqrt(rest / expected.size / size)))
    if not strengths:
        return Gate(name="strength", verdict="not checked", detail="the adapter adds to no matrix that could be read")
    figures = {"least": min(strengths), "most": max(strengths), "noise": noise}
    shown = f"{min(strengths):.3g} to {max(strengths):.3g} times as in the training, in {len(strengths)} matrices"
    if not noise <= _MOST_NOISE:
        detail = f"rounding hides how strongly the adapter acts ({shown}, give or take {noise:.2g})"
        return Gate(name="strength", verdict="not checked", detail=detail, figures=figures)
    if not _LEAST <= min(strengths) <= max(strengths) <= _MOST:
        detail = f"the adapter acts {shown}; {_LEAST:g} to {_MOST:g} is allowed"
        return Gate(name="strength", verdict="differs", detail=detail, figures=figures)
    return Gate(name="strength", verdict="within", detail=f"the adapter acts {shown}", figures=figures)
