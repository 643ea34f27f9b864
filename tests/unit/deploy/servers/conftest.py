"""The tiny model with two adapters, as files that servers take."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_adapters import write_adapter
from tiny_gguf import write_gguf

from ftsdk import Model


@pytest.fixture(scope="session")
def tiny_gguf(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("gguf", reason="the extra 'export' isn't installed")
    return write_gguf(tiny_model, tmp_path_factory.mktemp("served") / "tiny.gguf")


@pytest.fixture(scope="session")
def two_models(tiny_model: Path, tiny_gguf: Path) -> dict[str, Model]:
    """Two adapters on one base, which answer differently to everything."""
    folders = {
        name: write_adapter(tiny_model, tiny_gguf.parent / name, seed=seed)
        for name, seed in (("mails-v3", 1), ("mails-v4", 2))
    }
    return {name: Model(id=str(tiny_gguf), adapter=str(folder)) for name, folder in folders.items()}
