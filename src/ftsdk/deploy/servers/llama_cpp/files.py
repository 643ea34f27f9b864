"""The GGUF files of a server: the base once, and each adapter; written on first use and kept."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from ftsdk._home import home
from ftsdk.deploy.servers.engines import LlamaCpp
from ftsdk.deploy.servers.served_models import ServedModel, ServedModels
from ftsdk.models import model_identity
from ftsdk.spec import Model

__all__ = ["LlamaFiles", "llama_files"]


class LlamaFiles(NamedTuple):
    """What llama.cpp loads."""

    base: Path
    adapters: tuple[Path, ...]
    """By number: that of the n-th model with an adapter."""
    models: dict[str, int | None]
    """The adapter's number by the model's name; None: the base alone."""


def llama_files(
    engine: LlamaCpp, models: ServedModels, *, on_message: Callable[[str], None] | None = None
) -> LlamaFiles:
    """Write the files that aren't there yet, in ftsdk's home, and return them.

    Raises:
        ModelError: The model or an adapter has no form in GGUF that ftsdk writes.
        MissingExtraError: The extra `export` isn't installed.
    """
    if engine.merge and models.adapted:
        only = models.adapted[0]
        base = _kept(only.model, engine.quantization, None, on_message)
        return LlamaFiles(base, (), {only.name: None})
    is_file = models.base.source == "gguf"
    base = (
        Path(models.base.id).expanduser().resolve()
        if is_file
        else _kept(models.base, engine.quantization, None, on_message)
    )
    adapters = tuple(_kept(one.model, "adapter", one, on_message) for one in models.adapted)
    numbers: dict[str, int | None] = {one.name: number for number, one in enumerate(models.adapted)}
    return LlamaFiles(base, adapters, {name: numbers.get(name) for name in models.names})


def _kept(model: Model, kind: str, adapter: ServedModel | None, on_message: Callable[[str], None] | None) -> Path:
    from ftsdk.models import materialize
    from ftsdk.models.export import write_adapter_gguf, write_gguf

    if model.source == "hub":
        materialize(model.replace(adapter=None), on_message=on_message)  # before that, its identity isn't known
    name = hashlib.sha256(f"{model_identity(model)}\0{kind}".encode()).hexdigest()[:32]
    file = home() / "servers" / "gguf" / f"{name}.gguf"
    if not file.exists():
        if adapter is None:
            write_gguf(model, file, kind, on_message=on_message)
        else:
            write_adapter_gguf(model, file, name=adapter.name, on_message=on_message)
    return file
