"""Checkpoints of sharded trainings: each process writes its share, and any number of processes reads them.

Weights that move and the optimizer's states, as safetensors, through `torch.distributed.checkpoint`. Its own
format isn't used: its metadata is a pickle.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

__all__ = ["has_shards", "load_optimizer_shards", "load_weight_shards", "save_shards"]

_FOLDER = "shards"
_WEIGHTS, _STATES = "weights", "states"
_SEPARATOR = "/"
"""Between the name of a parameter and what it is; no parameter's name has one."""


def has_shards(checkpoint: str | Path) -> bool:
    """Return whether a checkpoint was written by a sharded training."""
    return (Path(checkpoint) / _FOLDER).is_dir()


def save_shards(checkpoint: str | Path, model: Any, optimizer: Any) -> None:
    """Write this process's share of the weights that move, and of the optimizer's states. All processes call it."""
    found: dict[str, torch.Tensor] = {}
    for name, weight in _trained(model):
        found[_SEPARATOR.join((_WEIGHTS, name))] = weight.detach()
        for kind, value in optimizer.state[weight].items():
            found[_SEPARATOR.join((_STATES, name, kind))] = value
    folder = Path(checkpoint) / _FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    writer = HuggingFaceStorageWriter(str(folder), save_distributed=True)
    save(found, storage_writer=writer, no_dist=not dist.is_initialized())


def load_weight_shards(checkpoint: str | Path, model: Any) -> None:
    """Read the weights into a model, in place, whatever share of them this process has. All processes call it."""
    _load(checkpoint, {_SEPARATOR.join((_WEIGHTS, name)): weight.detach() for name, weight in _trained(model)})


def load_optimizer_shards(checkpoint: str | Path, model: Any, optimizer: Any) -> None:
    """Read the optimizer's states, as `load_weight_shards` does."""
    weights = dict(_trained(model))
    found: dict[str, torch.Tensor] = {}
    metadata: Any = _reader(checkpoint).read_metadata().state_dict_metadata
    for key, stored in metadata.items():
        what, name, *kind = key.split(_SEPARATOR)
        if what == _STATES and name in weights and kind:
            weight = weights[name]
            is_alike = stored.size == weight.shape
            # A number for the whole parameter, such as the count of steps, isn't sharded, and stays on the CPU.
            found[key] = (
                torch.zeros_like(weight.detach(), dtype=stored.properties.dtype)
                if is_alike
                else torch.zeros(stored.size, dtype=stored.properties.dtype)
            )
    _load(checkpoint, found)
    for key, value in found.items():
        _, name, kind = key.split(_SEPARATOR)
        optimizer.state[weights[name]][kind] = value


def _trained(model: Any) -> list[tuple[str, Any]]:
    return [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]


def _reader(checkpoint: str | Path) -> Any:
    return HuggingFaceStorageReader(str(Path(checkpoint) / _FOLDER))


def _load(checkpoint: str | Path, into: dict[str, torch.Tensor]) -> None:
    load(into, storage_reader=_reader(checkpoint), no_dist=not dist.is_initialized())
