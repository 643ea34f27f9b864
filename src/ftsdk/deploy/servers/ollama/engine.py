"""Ollama as an engine of `serve`: each model a GGUF file with its adapter merged in, and a Modelfile."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Callable
from pathlib import Path

from ftsdk._files import replace_file
from ftsdk._home import home
from ftsdk.cost.facts.shapes import shape_of
from ftsdk.deploy.servers.attached import AttachedServer, attach
from ftsdk.deploy.servers.engines import Ollama
from ftsdk.deploy.servers.ollama.api import OllamaApi, sha256_of
from ftsdk.deploy.servers.ollama.modelfile import ModelfileParts, read_modelfile, with_context
from ftsdk.deploy.servers.plan import RefusedPart, ServerPlan
from ftsdk.deploy.servers.served_models import ServedModel, ServedModels, planned_model
from ftsdk.errors import BackendError, ModelError, SpecError
from ftsdk.models import inspect_model, model_identity

__all__ = ["OllamaEngine"]

_BITS = {"f16": 16.0, "bf16": 16.0, "q8_0": 8.5, "q6_k": 6.5625, "q5_k_m": 5.7, "q4_k_m": 4.9}
_MODELFILE = "Modelfile"


class OllamaEngine:
    """Writes Modelfiles, and registers the models with an Ollama that runs."""

    def __init__(self, engine: Ollama, models: ServedModels) -> None:
        self._engine = engine
        self._models = models

    @property
    def names(self) -> tuple[str, ...]:
        """The tuned models: each is a file of its own, and the base is none of them."""
        return tuple(one.name for one in self._models.models)

    def plan(self) -> ServerPlan:
        """Return what will run. Reads headers."""
        engine, models = self._engine, self._models
        shape = shape_of(inspect_model(models.base))
        one_bytes = None if shape is None else round(shape.parameters * _BITS[engine.quantization] / 8)
        notes = [
            "each model is a file of its own, adapter merged in: Ollama loads one at a time, or all if they fit",
            "ftsdk's tests talk to Ollama's API on loopback, and have not run Ollama itself",
        ]
        if engine.quantization not in ("f16", "bf16"):
            notes.append(f"weights as {engine.quantization} change some answers; compare: run.evaluate(against=...)")
        return ServerPlan(
            engine="Ollama",
            runs=f"by the Ollama at {engine.url}, with {engine.context_tokens} tokens of prompt and answer",
            base=f"{models.base} as {engine.quantization}",
            models=tuple(planned_model(one) for one in models.models),
            memory_bytes=one_bytes,
            refused=tuple(part for one in models.models for part in _refused(one)),
            notes=tuple(notes),
        )

    def write_files(self, into: Path) -> list[Path]:
        """Write an export and a Modelfile for each model, and `create.sh`, which registers them."""
        return self._written(into, None)

    def start(self, *, timeout_s: float, on_message: Callable[[str], None] | None) -> AttachedServer:
        """Register the models that Ollama doesn't have, and wait until it lists all."""
        names = {one.name: one.name for one in self._models.models}
        api = OllamaApi(self._engine.url)
        created: list[str] = []

        def remove() -> None:
            while created:
                api.delete(created[-1])
                created.pop()
            api.close()

        try:
            there = {name: api.weights_of(name) for name in api.models() if name in names}
            identity = model_identity(self._models.base)[:16]
            into = home() / "servers" / "ollama" / f"{identity}-{self._engine.quantization}"
            self._written(into, on_message)
            for one in self._models.models:
                modelfile = self._read(into / f"{one.name}.{_MODELFILE}", within=into)
                if one.name in there:
                    _check_same(one.name, there[one.name], into / modelfile.source)
                    continue
                if on_message is not None:
                    on_message(f"registering {one.name} with Ollama")
                digest = api.upload(into / modelfile.source)
                created.append(one.name)
                api.create(modelfile.request(one.name, digest))
            return attach(f"{self._engine.url}/v1", names, timeout_s=timeout_s, on_stop=remove)
        except BaseException:
            with contextlib.suppress(BackendError):
                remove()
            raise

    def _read(self, path: Path, *, within: Path) -> ModelfileParts:
        """Return a Modelfile whose file may be sent: one beside it, and no other of this machine.

        Raises:
            ModelError: It can't be read, or names another file.
        """
        try:
            parts = read_modelfile(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ModelError(f"{path} can't be used: {error}") from error
        file = (within / parts.source).resolve()
        homes = [within, *(Path(one.model.id).expanduser().parent for one in self._models.models)]
        if file.suffix != ".gguf" or not any(file.is_relative_to(home.resolve()) for home in homes):
            raise ModelError(f"{path} names {parts.source!r:.200}, which isn't a .gguf file beside it")
        return parts

    def _written(self, into: Path, on_message: Callable[[str], None] | None) -> list[Path]:
        written: list[Path] = []
        commands = [
            "#!/bin/sh",
            "# Written by ftsdk: registers the models with Ollama.",
            'cd "$(dirname "$0")" || exit 1',
        ]
        for one in self._models.models:
            folder = self._exported(one, into, on_message)
            text = (folder / _MODELFILE).read_text(encoding="utf-8")
            target = into / f"{one.name}.{_MODELFILE}"
            inside = folder.name if folder.parent == into else str(folder)
            moved = with_context(text, tokens=self._engine.context_tokens, folder=inside)
            replace_file(target, moved.replace("FROM .//", "FROM /").encode(), is_private=False)
            commands.append(f"ollama create {shlex.quote(one.name)} -f {shlex.quote(target.name)}")
            written.append(target)
        script = into / "create.sh"
        replace_file(script, ("\n".join(commands) + "\n").encode(), is_private=False)
        script.chmod(0o755)
        return [script, *written]

    def _exported(self, one: ServedModel, into: Path, on_message: Callable[[str], None] | None) -> Path:
        """Return the folder of an export for Ollama: the one that was given, one written before, or a new one."""
        from ftsdk.models.export import check_servable, export_model

        if "/" in one.name:
            raise SpecError(f"{one.name!r} names a namespace of Ollama's; give the model a name without '/'")
        given = Path(one.model.id).expanduser()
        if one.model.source == "gguf" and one.adapter is None and (given.parent / _MODELFILE).is_file():
            return given.parent
        into.mkdir(parents=True, exist_ok=True)
        folder = into / f"{one.name}-{model_identity(one.model)[:8]}"
        if not folder.exists():
            export_model(one.model, folder, to="ollama", quantization=self._engine.quantization, on_message=on_message)
        check_servable(folder)
        return folder


def _check_same(name: str, held: str | None, file: Path) -> None:
    """Raise if Ollama has other weights under a model's name: those would answer in its place."""
    if held is not None and held != sha256_of(file):
        raise SpecError(
            f"Ollama has another model called {name!r}, with other weights. Give yours another name, "
            f"serve({{'{name}-2': ...}}), or remove that one: ollama rm {name}"
        )


def _refused(one: ServedModel) -> list[RefusedPart]:
    given = Path(one.model.id).expanduser()
    if one.model.source != "gguf" or (one.adapter is None and (given.parent / _MODELFILE).is_file()):
        return []
    what = "a base that is a .gguf file without a Modelfile beside it"
    return [RefusedPart(model=one.name, what=what, advice="export it first: model.export('folder', to='ollama')")]
