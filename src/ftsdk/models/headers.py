"""Headers of safetensors and GGUF files, read without loading a tensor.

Both are untrusted input: every length is checked against the size of the file before it is used.
"""

from __future__ import annotations

import json
import mmap
import stat
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from ftsdk.errors import ModelError
from ftsdk.models.limits import LIMITS

__all__ = ["GgufHeader", "SafetensorsHeader", "read_gguf_header", "read_safetensors_header", "regular_size"]


@dataclass(frozen=True, kw_only=True)
class SafetensorsHeader:
    """What the header of a safetensors file states."""

    parameters: int
    """How many numbers the file holds."""
    dtypes: frozenset[str]
    """Number formats, as the file names them: `"BF16"`, `"F32"`."""
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    """The shape of each tensor, by name."""


def regular_size(path: Path) -> int:
    """Return the size of a regular file in bytes; a pipe or a device would be read for ever.

    Raises:
        ModelError: The path is something else than a file, or can't be looked at.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise ModelError(
            f"{path} can't be read: {error.strerror or error}. Check that it exists and that you may read it."
        ) from error
    if not stat.S_ISREG(found.st_mode):
        raise ModelError(f"{path} is not a regular file. Copy or download the model again.")
    return found.st_size


def _product(factors: Iterable[object]) -> int:
    """Multiply sizes from an untrusted header.

    Raises:
        ValueError: They aren't whole numbers from 0, are too many, or make more than any model has.
    """
    product = 1
    for count, factor in enumerate(factors, start=1):
        if not isinstance(factor, int) or isinstance(factor, bool) or factor < 0 or count > LIMITS.dimensions:
            raise ValueError("a size isn't a whole number from 0")
        product *= factor
        if product > LIMITS.parameters:
            raise ValueError("a tensor is larger than any model")
    return product


def read_safetensors_header(path: Path) -> SafetensorsHeader:
    """Read the header of a safetensors file and check that the file is as long as the header states.

    Raises:
        ModelError: The file is not safetensors, is a git LFS pointer, or is truncated.
    """
    size = regular_size(path)
    with path.open("rb") as file:
        start = file.read(8)
        if start.startswith(b"version "):
            raise ModelError(f"{path.name} is a git LFS pointer, not the weights. Fetch them: git lfs pull")
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= min(LIMITS.header_bytes, size - 8):
            raise ModelError(
                f"{path.name} is not a complete safetensors file ({size:,} bytes). Copy or download it again."
            )
        try:
            header = json.loads(file.read(length))
        except (ValueError, RecursionError) as error:
            raise ModelError(
                f"{path.name} is not a safetensors file: its header isn't JSON. Copy or download it again."
            ) from error
    if not isinstance(header, dict):
        raise ModelError(
            f"{path.name} is not a safetensors file: its header isn't an object. Copy or download it again."
        )
    tensors = {name: entry for name, entry in cast("dict[str, Any]", header).items() if name != "__metadata__"}
    try:
        parameters = sum(_product(entry["shape"]) for entry in tensors.values())
        dtypes = frozenset(str(entry["dtype"]) for entry in tensors.values())
        end = max((_product([entry["data_offsets"][1]]) for entry in tensors.values()), default=0)
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise ModelError(
            f"{path.name} is not a safetensors file: its header lacks shapes or offsets. Copy or download it again."
        ) from error
    if 8 + length + end > size:
        raise ModelError(
            f"{path.name} is truncated: {size:,} of {8 + length + end:,} bytes are there. Copy or download it again."
        )
    shapes = {name: tuple(entry["shape"]) for name, entry in tensors.items()}
    return SafetensorsHeader(parameters=parameters, dtypes=dtypes, shapes=shapes)


@dataclass(frozen=True, kw_only=True)
class GgufHeader:
    """The metadata of a GGUF file, without its long arrays."""

    fields: Mapping[str, Any]
    """Scalars and strings by key, such as `"general.architecture"`; for an array its length, as an int."""
    parameters: int
    tensor_names: frozenset[str]

    @property
    def architecture(self) -> str | None:
        """Such as `"llama"`; also the prefix of the keys that hold the sizes."""
        found = self.fields.get("general.architecture")
        return found if isinstance(found, str) else None

    def size_of(self, key: str) -> int | None:
        """Return an integer field under the architecture's prefix, such as `size_of("context_length")`."""
        found = self.fields.get(f"{self.architecture}.{key}")
        return found if isinstance(found, int) else None


_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9


class _Cursor:
    """Read little-endian values one after the other."""

    def __init__(self, buffer: mmap.mmap) -> None:
        self.buffer = buffer
        self.at = 0

    def number(self, form: str) -> Any:
        value = struct.unpack_from(form, self.buffer, self.at)[0]
        self.at += struct.calcsize(form)
        return value

    def string(self) -> str:
        length = self.number("<Q")
        if length > len(self.buffer) - self.at:
            raise struct.error("a string is longer than the file")
        text = self.buffer[self.at : self.at + length].decode("utf-8", errors="replace")
        self.at += length
        return text

    def value(self, kind: int) -> Any:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            inner = self.number("<I")
            count = self.number("<Q")
            self._skip(inner, count)
            return count
        if kind not in _SCALARS:
            raise struct.error(f"unknown type {kind}")
        return self.number(_SCALARS[kind])

    def _skip(self, kind: int, count: int) -> None:
        if count > len(self.buffer):
            raise struct.error("an array is longer than the file")
        if kind == _STRING:
            # A vocabulary is a hundred thousand strings: only their lengths are read.
            read_length, buffer, at = struct.Struct("<Q").unpack_from, self.buffer, self.at
            for _ in range(count):
                at += 8 + read_length(buffer, at)[0]
            self.at = at
        elif kind in _SCALARS:
            self.at += struct.calcsize(_SCALARS[kind]) * count
        else:
            raise struct.error(f"unknown array type {kind}")


def read_gguf_header(path: Path) -> GgufHeader:
    """Read the metadata of a GGUF file, version 2 or 3.

    Raises:
        ModelError: The file is not GGUF, has another version, or is truncated.

    Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, read 2026-11-23.
    """
    size = regular_size(path)
    found = path.stat()
    # A vocabulary takes 0.1 s to walk through, and a worker asks several times.
    return _read_gguf_header(path, size, (found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns))


@lru_cache(maxsize=4)
def _read_gguf_header(path: Path, size: int, identity: tuple[int, ...]) -> GgufHeader:
    del identity
    with path.open("rb") as file:
        magic = file.read(4)
        if magic != b"GGUF" or size < 24:
            raise ModelError(
                f"{path.name} is not a GGUF file: it starts with {magic!r}, not b'GGUF'. Download it again."
            )
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as buffer:
            cursor = _Cursor(buffer)
            cursor.at = 4
            try:
                version = cursor.number("<I")
                if version not in (2, 3):
                    raise ModelError(
                        f"{path.name} is GGUF version {version}; only versions 2 and 3 can be read. Download a newer "
                        "file."
                    )
                tensor_count, field_count = cursor.number("<Q"), cursor.number("<Q")
                fields: dict[str, Any] = {}
                for _ in range(field_count):
                    key = cursor.string()
                    fields[key] = cursor.value(cursor.number("<I"))
                names: list[str] = []
                parameters, last_offset = 0, 0
                for _ in range(tensor_count):
                    names.append(cursor.string())
                    dimensions = cursor.number("<I")
                    if dimensions > LIMITS.dimensions:
                        raise struct.error(f"a tensor of {dimensions} dimensions")
                    parameters += _product([cursor.number("<Q") for _ in range(dimensions)])
                    cursor.number("<I")
                    last_offset = max(last_offset, cursor.number("<Q"))
            except (struct.error, OverflowError, ValueError) as error:
                raise ModelError(
                    f"{path.name} is truncated or damaged: its GGUF header can't be read ({error}). Download it again."
                ) from error
            if cursor.at + last_offset >= size and tensor_count:
                raise ModelError(f"{path.name} is truncated: tensors lie beyond its {size:,} bytes. Download it again.")
    return GgufHeader(fields=fields, parameters=parameters, tensor_names=frozenset(names))
