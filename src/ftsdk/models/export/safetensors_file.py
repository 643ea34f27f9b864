"""Write safetensors one tensor after the other: a file of any size takes the memory of its largest tensor."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ftsdk.errors import ModelError

__all__ = ["FORMATS", "NumberFormat", "cast_exactly", "split_into_shards", "write_safetensors"]

NumberFormat = Literal["f32", "f16", "bf16"]


@dataclass(frozen=True, kw_only=True)
class _Format:
    torch_name: str
    header_name: str
    n_bytes: int


FORMATS: Mapping[NumberFormat, _Format] = {
    "f32": _Format(torch_name="float32", header_name="F32", n_bytes=4),
    "f16": _Format(torch_name="float16", header_name="F16", n_bytes=2),
    "bf16": _Format(torch_name="bfloat16", header_name="BF16", n_bytes=2),
}


def split_into_shards(
    shapes: Mapping[str, tuple[int, ...]], number_format: NumberFormat, *, most_bytes: int
) -> list[list[str]]:
    """Return the names of the tensors of each file, none of which is larger than that, unless one tensor is."""
    shards: list[list[str]] = [[]]
    size = 0
    for name, shape in shapes.items():
        n_bytes = math.prod(shape) * FORMATS[number_format].n_bytes
        if shards[-1] and size + n_bytes > most_bytes:
            shards.append([])
            size = 0
        shards[-1].append(name)
        size += n_bytes
    return shards


def write_safetensors(
    path: Path,
    names: Sequence[str],
    shapes: Mapping[str, tuple[int, ...]],
    number_format: NumberFormat,
    read: Callable[[str], Any],
) -> int:
    """Write one file.

    Args:
        path: The file.
        names: Its tensors, in their order.
        shapes: Their shapes.
        number_format: How numbers are stored.
        read: Returns a tensor, as torch's; called once for each name.

    Returns:
        How many bytes its tensors have.

    Raises:
        ModelError: A number doesn't fit into the format.

    Source: https://github.com/huggingface/safetensors#format, read 2026-11-28.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name in names:
        end = at + math.prod(shapes[name]) * FORMATS[number_format].n_bytes
        header[name] = {
            "dtype": FORMATS[number_format].header_name,
            "shape": list(shapes[name]),
            "data_offsets": [at, end],
        }
        at = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            _raw(cast_exactly(name, read(name), number_format)).tofile(file)
    return at


def cast_exactly(name: str, tensor: Any, number_format: NumberFormat) -> Any:
    """Return a tensor in a number format.

    Raises:
        ModelError: A number is too large for float16.
    """
    import torch

    made = tensor.to(getattr(torch, FORMATS[number_format].torch_name))
    if number_format == "f16" and not bool(torch.isfinite(made).all()):
        raise ModelError(f"{name} has numbers beyond the range of float16; export it as 'bf16' or 'f32'")
    return made


def _raw(tensor: Any) -> Any:
    """Return the bytes of a tensor as numpy's, which has no bfloat16."""
    import torch

    return tensor.contiguous().view(-1).view(torch.uint8).numpy()
