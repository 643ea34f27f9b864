"""llama.cpp as an engine of `serve`."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

from ftsdk.deploy.servers.engines import LlamaCpp
from ftsdk.deploy.servers.llama_cpp.files import llama_files
from ftsdk.deploy.servers.llama_cpp.plan import context_of, llama_plan, threads_of
from ftsdk.deploy.servers.llama_cpp.process import LlamaProcess
from ftsdk.deploy.servers.plan import ServerPlan
from ftsdk.deploy.servers.record import ServerRecord, forget_old
from ftsdk.deploy.servers.served_models import ServedModels
from ftsdk.errors import SpecError
from ftsdk.models import inspect_model

__all__ = ["LlamaCppEngine"]


class LlamaCppEngine:
    """Serves models by llama.cpp in a process of its own."""

    def __init__(self, engine: LlamaCpp, models: ServedModels) -> None:
        self._engine = engine
        self._models = models

    @property
    def names(self) -> tuple[str, ...]:
        """The base and its adapters; merged, the tuned model alone."""
        return tuple(one.name for one in self._models.models) if self._engine.merge else self._models.names

    def plan(self) -> ServerPlan:
        """Return what will run."""
        return llama_plan(self._engine, self._models)

    def write_files(self, into: Path) -> list[Path]:
        """Refuse: the process is started by `start`."""
        raise SpecError(
            f"llama.cpp is started from here and needs no files in {into}; start it: with serve(...) as server. To "
            'take the weights elsewhere: run.model().export("folder", to="gguf")'
        )

    def start(self, *, timeout_s: float, on_message: Callable[[str], None] | None) -> LlamaProcess:
        """Write the GGUF files if they aren't there, start the process, and wait until it answers."""
        files = llama_files(self._engine, self._models, on_message=on_message)
        facts = inspect_model(self._models.base)
        forget_old()
        record = ServerRecord(
            name=f"llama-{uuid.uuid4().hex[:8]}",
            engine="llama.cpp",
            models=tuple(files.models),
            owner_pid=os.getpid(),
            started_at=time.time(),
        )
        folder = record.write()
        context, threads = context_of(self._engine, facts.max_position_embeddings), threads_of(self._engine)
        process = LlamaProcess(self._engine, files, folder=folder, context=context, threads=threads)
        try:
            process.wait_until_ready(timeout_s)
        except BaseException:
            process.stop(wait_s=5.0)
            raise
        return process
