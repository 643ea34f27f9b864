"""Which files of a model or adapter travel to another machine."""

from __future__ import annotations

from pathlib import Path

from ftsdk.errors import ModelError

__all__ = ["files_of_model"]

_TRAVEL = frozenset({".safetensors", ".json", ".jinja", ".txt", ".model", ".tiktoken"})
"""Weights, configs, tokenizers, chat templates. No pickles: they are never loaded, and so needn't travel."""


def files_of_model(path: Path, name: str, *, with_code: bool = False) -> dict[str, Path]:
    """List the files of a model folder, an adapter folder or a GGUF file, by the names that they will have.

    Args:
        path: The folder or the file.
        name: What it will be called; the files of a folder lie below.
        with_code: True to bring its Python files too (`trust_remote_code`).

    Raises:
        ModelError: There is nothing.
    """
    if path.is_file():
        return {name: path}
    suffixes = _TRAVEL | ({".py"} if with_code else frozenset())
    found = {f"{name}/{file.name}": file for file in sorted(path.glob("*")) if file.is_file() and file.suffix in suffixes}
    if not found:
        raise ModelError(f"{path} is gone, or holds no model: it was there when the run was planned. Put it back, or plan again.")
    return found
