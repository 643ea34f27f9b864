"""Which files of a model or an adapter are uploaded to another machine."""

from __future__ import annotations

from pathlib import Path

from ftsdk.errors import ModelError

__all__ = ["files_of_model"]

_SUFFIXES = frozenset({".safetensors", ".json", ".jinja", ".txt", ".model", ".tiktoken"})
"""Weights, configs, tokenizers, chat templates. No pickles: they are never loaded."""


def files_of_model(path: Path, name: str, *, with_code: bool = False) -> dict[str, Path]:
    """Return the files of a model folder, an adapter folder or a GGUF file, by their names after the upload.

    Args:
        path: The folder or the file.
        name: Its name after the upload; the files of a folder go into a folder of that name.
        with_code: Whether to include its Python files (`trust_remote_code`).

    Raises:
        ModelError: There is no such file or folder, or no model in it.
    """
    if path.is_file():
        return {name: path}
    suffixes = _SUFFIXES | ({".py"} if with_code else frozenset())
    found = {
        f"{name}/{file.name}": file for file in sorted(path.glob("*")) if file.is_file() and file.suffix in suffixes
    }
    if not found:
        raise ModelError(
            f"{path} is gone or holds no model any more, although it did when the run was planned. Restore it, or plan "
            "again."
        )
    return found
