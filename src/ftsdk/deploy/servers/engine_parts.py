"""Which code serves by which engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol, assert_never

from ftsdk.deploy.servers.engines import VLLM, Engine, LlamaCpp, ModalServer, Ollama
from ftsdk.deploy.servers.plan import ServerPlan
from ftsdk.deploy.servers.running import Running
from ftsdk.deploy.servers.served_models import ServedModels

__all__ = ["EngineParts", "parts_of"]


class EngineParts(Protocol):
    """What an engine can do for some models."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names that requests may have as their model."""
        ...

    def plan(self) -> ServerPlan:
        """Return what will run. Starts and writes nothing."""
        ...

    def write_files(self, into: Path) -> list[Path]:
        """Write what starts the server elsewhere, and return the files."""
        ...

    def start(self, *, timeout_s: float, on_message: Callable[[str], None] | None) -> Running:
        """Start it, or find the one that runs, and return once it answers."""
        ...


def parts_of(
    engine: Engine, models: ServedModels, *, max_hours: float | None = None, budget_usd: float | None = None
) -> EngineParts:
    """Return the code of an engine, loaded on first use."""
    match engine:
        case LlamaCpp():
            from ftsdk.deploy.servers.llama_cpp.engine import LlamaCppEngine

            return LlamaCppEngine(engine, models)
        case VLLM():
            from ftsdk.deploy.servers.vllm.engine import VllmEngine

            return VllmEngine(engine, models)
        case Ollama():
            from ftsdk.deploy.servers.ollama.engine import OllamaEngine

            return OllamaEngine(engine, models)
        case ModalServer():
            from ftsdk.deploy.servers.modal_engine import ModalEngine

            return ModalEngine(engine, models, max_hours=max_hours, budget_usd=budget_usd)
        case _:
            assert_never(engine)
