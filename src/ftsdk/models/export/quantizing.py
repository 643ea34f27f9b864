"""Number formats of GGUF files, and which tensor gets which: llama.cpp's own mixes, for dense models."""

from __future__ import annotations

import ctypes
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_args

from ftsdk.errors import MissingExtraError, ModelError, SpecError

__all__ = [
    "QUANTIZATIONS",
    "Quantization",
    "file_type_of",
    "is_quantized",
    "quantize",
    "quantized_type",
    "read_quantization",
]

Quantization = Literal["f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m"]
QUANTIZATIONS: tuple[Quantization, ...] = get_args(Quantization)

_PLAIN = ("f32", "f16", "bf16")
_FILE_TYPES = {
    "f32": "ALL_F32",
    "f16": "MOSTLY_F16",
    "bf16": "MOSTLY_BF16",
    "q8_0": "MOSTLY_Q8_0",
    "q6_k": "MOSTLY_Q6_K",
    "q5_k_m": "MOSTLY_Q5_K_M",
    "q4_k_m": "MOSTLY_Q4_K_M",
}
_USUAL = {"q8_0": "Q8_0", "q6_k": "Q6_K", "q5_k_m": "Q5_K", "q4_k_m": "Q4_K"}
_OF_ODD_WIDTH = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0"}
"""What llama.cpp takes for rows whose width isn't a multiple of 256 (src/llama-quant.cpp, read 2026-11-27)."""
_MOST_ERROR = {"Q8_0": 0.02, "Q6_K": 0.05, "Q5_K": 0.1, "Q5_1": 0.1, "Q5_0": 0.1, "Q4_K": 0.2}
"""The largest error, as a share of the numbers' root mean square, that a row of quantised numbers may have: three times
what normally distributed numbers have, or more."""


def read_quantization(text: str) -> Quantization:
    """Return the quantisation of that name, in any case.

    Raises:
        SpecError: There is none.
    """
    for known in QUANTIZATIONS:
        if text.lower() == known:
            return known
    raise SpecError(f"quantization={text!r} isn't one of {', '.join(QUANTIZATIONS)}")


def is_quantized(quantization: Quantization) -> bool:
    """Return whether numbers are stored in blocks with a common scale, so that answers may change."""
    return quantization not in _PLAIN


def file_type_of(quantization: Quantization) -> int:
    """Return what GGUF's `general.file_type` calls it."""
    import gguf

    return int(gguf.LlamaFileType[_FILE_TYPES[quantization]])


def quantized_type(
    name: str, shape: tuple[int, ...], quantization: Quantization, *, layer: int | None, layers: int, is_tied: bool
) -> Any:
    """Return the `gguf.GGMLQuantizationType` of a tensor.

    Args:
        name: As the GGUF file calls it.
        shape: Rows and columns; vectors stay float32.
        quantization: What is asked for.
        layer: The layer that it belongs to, if any.
        layers: How many there are.
        is_tied: Whether the embedding is the head, too, and gets its precision.
    """
    import gguf

    kinds = gguf.GGMLQuantizationType
    if len(shape) < 2 or quantization == "f32" or name == "rope_freqs.weight":
        return kinds.F32
    if quantization in ("f16", "bf16"):
        return kinds.F16 if quantization == "f16" else kinds.BF16
    wanted = _USUAL[quantization]
    if quantization.endswith("_k_m") and layer is not None and ("attn_v" in name or "ffn_down" in name):
        eighth = layers // 8
        is_sensitive = layer < eighth or layer >= 7 * layers // 8 or (layer - eighth) % 3 == 2
        wanted = "Q6_K" if is_sensitive else wanted
    if quantization != "q8_0" and (name == "output.weight" or (name == "token_embd.weight" and is_tied)):
        wanted = "Q6_K"
    if wanted.endswith("_K") and shape[-1] % 256:
        wanted = _OF_ODD_WIDTH[wanted]
    if shape[-1] % 32:
        wanted = "F16"
    return kinds[wanted]


def quantize(name: str, values: Any, kind: Any) -> Any:
    """Return the bytes of a float32 matrix in a GGUF number format, as numpy's uint8, or numbers for plain formats.

    Args:
        name: The tensor's name, for errors.
        values: A float32 array of rows and columns.
        kind: A `gguf.GGMLQuantizationType`.

    Raises:
        ModelError: A number doesn't fit, or the quantised numbers are too far from those that were given.
        MissingExtraError: ggml's library isn't installed, and the format needs it.
    """
    import gguf
    import numpy as np

    kinds = gguf.GGMLQuantizationType
    if kind == kinds.F32:
        return np.ascontiguousarray(values, dtype=np.float32)
    if kind == kinds.F16:
        with np.errstate(over="ignore"):
            made = np.ascontiguousarray(values, dtype=np.float32).astype(np.float16)
        if not np.isfinite(made).all():
            raise ModelError(f"{name} has numbers beyond the range of float16; export it as 'bf16' or 'q8_0'")
        return made
    is_k = kind.name.endswith("_K")
    made = _by_ggml(values, kind) if is_k else gguf.quants.quantize(np.ascontiguousarray(values, np.float32), kind)
    if kind.name in _MOST_ERROR:
        _check(name, values[:4], gguf.quants.dequantize(made[:4], kind), _MOST_ERROR[kind.name])
    return made


def _check(name: str, values: Any, read: Any, most: float) -> None:
    """Hold a few rows against what was meant: the two libraries number their formats independently of each other.

    Raises:
        ModelError: They are too far apart.
    """
    import numpy as np

    size = float(np.sqrt(np.mean(np.square(values)))) or 1.0
    error = float(np.sqrt(np.mean(np.square(values - read)))) / size
    # Rows with few large numbers are coarser than those of a normal distribution, and still of the right format.
    if not error < max(4 * most, 0.3):
        raise ModelError(
            f"{name} came back from quantising with an error of {error:.0%}: the installed gguf and ggml-python don't "
            "fit each other. Install the versions that ftsdk was tested with: see its constraints.txt"
        )


def _by_ggml(values: Any, kind: Any) -> Any:
    import gguf
    import numpy as np

    rows, columns = values.shape
    block, size = gguf.GGML_QUANT_SIZES[kind]
    numbers = np.ascontiguousarray(values, dtype=np.float32)
    made = np.empty((rows, columns // block * size), dtype=np.uint8)
    written = _ggml()(int(kind), numbers.ctypes.data, made.ctypes.data, 0, rows, columns, None)
    if written != made.nbytes:
        raise ModelError(
            f"ggml wrote {written} bytes of {kind.name} where {made.nbytes} were expected: the installed gguf and "
            "ggml-python don't fit each other. Install the versions that ftsdk was tested with"
        )
    return made


@cache
def _ggml() -> Any:
    """Return ggml's own function, from the wheel of ggml-python: gguf reads K-quants but can't write them."""
    spec = find_spec("ggml")
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    names = ("libggml-base.so", "libggml-base.dylib", "ggml-base.dll")
    found = [path for folder in folders for name in names if (path := Path(folder) / "lib" / name).is_file()]
    if not found:
        raise MissingExtraError("export", needed_for="K-quants (q4_k_m and the like)", missing="ggml")
    function: Any = ctypes.CDLL(str(found[0])).ggml_quantize_chunk
    function.restype = ctypes.c_size_t
    function.argtypes = [
        ctypes.c_int,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_int64,
        ctypes.c_void_p,
    ]
    return function
