"""The weights of a sharded model, whole again on one process, and saved as those of any other."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor

from ftsdk._files import replace_file
from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.backends.trainers.trl.sharding.model import Share
from ftsdk.models import has_unlisted_embeddings

__all__ = ["save_gathered_model", "sharding_facts", "shares_text", "weights_of_shards"]


def weights_of_shards(trainer: Any, request: TrainingRequest, *, is_main: bool) -> dict[str, torch.Tensor] | None:
    """Gather what is saved of a sharded model, one parameter at a time. All processes call it.

    Returns:
        By name, on the CPU: an adapter's weights, or those of the whole model in the number format of the request;
        empty but on the main process. None if the model isn't sharded.
    """
    if not getattr(trainer, "is_sharded", False):
        return None
    adapts, adapter = request.tuning.adapts, request.model.adapter
    # An adapter that came with embeddings keeps them.
    takes_all = not adapts or (adapter is not None and has_unlisted_embeddings(adapter))
    dtype = None if adapts else getattr(torch, request.dtype)
    found: dict[str, torch.Tensor] = {}
    for name, weight in trainer.model.named_parameters():
        if not (takes_all or weight.requires_grad):
            continue
        value: Any = weight.detach()
        whole = value.full_tensor() if isinstance(value, DTensor) else value
        if is_main:
            found[name] = whole.to(device="cpu", dtype=dtype or whole.dtype)
    return found


def save_gathered_model(model: Any, weights: dict[str, torch.Tensor], into: Path) -> None:
    """Write the whole weights of a sharded model, and a config with their number format."""
    dtypes = {str(weight.dtype).removeprefix("torch.") for weight in weights.values()}
    model.save_pretrained(into, state_dict=weights)
    file = into / "config.json"
    config = json.loads(file.read_bytes())
    # transformers 5.23 takes it from the shares, which are in 32 bits.
    (config["dtype"],) = dtypes
    replace_file(file, (json.dumps(config, indent=2, sort_keys=True) + "\n").encode())


def shares_text(shares: tuple[Share, ...]) -> str:
    """Return a sentence on how a model is spread over the processes."""
    held = [share.held for share in shares]
    most = f"at most {max(held):,}" if min(held) != max(held) else f"{held[0]:,}"
    return (
        f"the model is sharded over {len(shares)} processes (FSDP2): each holds {most} of {shares[0].total:,} "
        "parameters, with their gradients and optimizer states"
    )


def sharding_facts(trainer: Any) -> dict[str, Any]:
    """Return what the manifest says on the shares; nothing if the model wasn't sharded."""
    shares: tuple[Share, ...] = getattr(trainer, "shares", ())
    if not shares:
        return {}
    return {"sharding": {"held": [share.held for share in shares], "parameters": shares[0].total}}
