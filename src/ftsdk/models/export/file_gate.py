"""Whether the files of an export are whole, of the right kind, and hold every weight of the model."""

from __future__ import annotations

from pathlib import Path

from ftsdk.errors import FtsdkError
from ftsdk.models.adapter_files import check_adapter
from ftsdk.models.export.base_weights import open_weights
from ftsdk.models.export.gates import Gate
from ftsdk.models.export.llama_names import gguf_name, rope_factors
from ftsdk.models.headers import read_gguf_header, read_safetensors_header
from ftsdk.models.source import weight_files
from ftsdk.spec import Model

__all__ = ["file_gate"]

_UNSAFE = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


def file_gate(model: Model, folder: Path, kind: str, main: Path | None, adapter: Path | None) -> Gate:
    """Check the files of an export by their headers.

    Args:
        model: What was exported.
        folder: With the files.
        kind: What it was exported to.
        main: The GGUF file of the model, if there is one.
        adapter: The GGUF file of its adapter, if there is one.
    """
    unsafe = sorted(path.name for path in folder.rglob("*") if path.suffix in _UNSAFE)
    if unsafe:
        return Gate(name="files", verdict="differs", detail=f"{unsafe[0]} is a pickle, which can run any code")
    try:
        problem, found = _census(model, folder, kind, main, adapter)
    except FtsdkError as error:
        return Gate(name="files", verdict="differs", detail=str(error))
    if problem:
        return Gate(name="files", verdict="differs", detail=problem)
    return Gate(name="files", verdict="same", detail=found)


def _census(model: Model, folder: Path, kind: str, main: Path | None, adapter: Path | None) -> tuple[str, str]:
    if kind == "adapter":
        check_adapter(str(folder))
        count = len(read_safetensors_header(folder / "adapter_model.safetensors").shapes)
        return "", f"the adapter has all of its {count} tensors"
    weights = open_weights(model if adapter is None else model.replace(adapter=None))
    try:
        if main is None:
            shapes: dict[str, tuple[int, ...]] = {}
            for path in weight_files(folder, "what was written"):
                shapes |= read_safetensors_header(path).shapes
            wrong = [name for name, shape in weights.shapes.items() if shapes.get(name) != shape]
            return _missing(wrong, len(shapes), len(weights.shapes))
        names = {gguf_name(name, str(model)) for name in weights.shapes if not name.endswith("rotary_emb.inv_freq")}
        names |= {"rope_freqs.weight"} if rope_factors(weights.config) else set()
        held = read_gguf_header(main).tensor_names
        problem, found = _missing(sorted(names - held), len(held), len(names))
        if adapter is not None:
            found += f", and the adapter {len(read_gguf_header(adapter).tensor_names)}"
        return problem, found
    finally:
        weights.close()


def _missing(wrong: list[str], held: int, wanted: int) -> tuple[str, str]:
    if wrong:
        return f"{len(wrong)} of {wanted} weights are missing or of another shape, such as {wrong[0]}", ""
    if held != wanted:
        return f"there are {held} weights where the model has {wanted}", ""
    return "", f"all {wanted} weights are there"
