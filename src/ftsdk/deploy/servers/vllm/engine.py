"""vLLM as an engine of `serve`: plans, files, and servers that run already."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from ftsdk._files import replace_file
from ftsdk.cost.facts.formats import bytes_per_weight
from ftsdk.cost.facts.shapes import shape_of
from ftsdk.deploy.servers.attached import AttachedServer, attach
from ftsdk.deploy.servers.engines import VLLM
from ftsdk.deploy.servers.plan import ServerPlan
from ftsdk.deploy.servers.served_models import ServedModel, ServedModels, planned_model
from ftsdk.deploy.servers.vllm.command import Paths, max_lora_rank, vllm_command, vllm_refusals
from ftsdk.deploy.servers.vllm.files import compose_yaml, modal_app, serve_script
from ftsdk.errors import SpecError
from ftsdk.models import base_name, inspect_model

__all__ = ["VllmEngine"]

_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_MODAL_GPU = "L4"
_MODAL_IDLE_S = 300


class VllmEngine:
    """Writes what starts vLLM, or uses one that runs."""

    def __init__(self, engine: VLLM, models: ServedModels) -> None:
        self._engine = engine
        self._models = models

    @property
    def names(self) -> tuple[str, ...]:
        """The base and its adapters."""
        return self._models.names

    def plan(self) -> ServerPlan:
        """Return what will run. Reads headers."""
        engine, models = self._engine, self._models
        shape = shape_of(inspect_model(models.base))
        adapters = sum(one.adapter.size_bytes for one in models.adapted if one.adapter)
        weights = None if shape is None else round(shape.parameters * bytes_per_weight("bf16")) + adapters
        ranks = [one.adapter.rank for one in models.adapted if one.adapter]
        rank = max_lora_rank(ranks) if ranks else None
        refused = tuple(part for one in models.models for part in vllm_refusals(one))
        where = "by the files that write_files('folder') writes" if engine.url is None else f"at {engine.url}, already"
        notes = ["the memory is that of weights and adapters; vLLM takes the rest of its share for the cache"]
        if engine.url is None:
            notes.append("ftsdk's tests have run neither vLLM nor these files on a GPU")
        return ServerPlan(
            engine="vLLM",
            runs=f"{where}; {engine.gpus} GPU{'s' if engine.gpus > 1 else ''}, {engine.gpu_memory_share:.0%} of memory",
            base=str(models.base),
            models=tuple(planned_model(one) for one in models.models),
            memory_bytes=weights,
            command=() if refused or engine.url is not None else self._command("adapters", host="127.0.0.1"),
            refused=refused,
            notes=tuple(notes),
            changed={"max_lora_rank": f"{rank}, the smallest that vLLM takes for rank {max(ranks)}"} if rank else {},
        )

    def write_files(self, into: Path) -> list[Path]:
        """Write `serve.sh`, `compose.yaml` and `modal_app.py`, and the adapters in `files`."""
        models, engine = self._models, self._engine
        files = into / "files"
        written: list[Path] = []
        for one in models.adapted:
            written += _copy_adapter(one, files / "adapters" / _folder(one.name), base_name(models.base))
        if models.base.chat_template is not None:
            written.append(files / "chat_template.jinja")
            replace_file(written[-1], models.base.chat_template.encode(), is_private=False)
        is_folder = models.base.source == "folder"
        base = str(Path(models.base.id).expanduser().resolve()) if is_folder else models.base.id
        port = engine.port
        script = serve_script(self._command("files/adapters", host="127.0.0.1"))
        mounts = ["./files:/served:ro", "huggingface:/root/.cache/huggingface"]
        mounts += [f"{base}:/base:ro"] if is_folder else []
        inside = self._command(
            "/served/adapters", host="0.0.0.0", base="/base" if is_folder else None
        )  # of a container, published on loopback
        texts = {"serve.sh": script, "compose.yaml": compose_yaml(inside, gpus=engine.gpus, port=port, mounts=mounts)}
        if not is_folder:  # a folder of this machine isn't at Modal; `engine="modal"` is for runs that are
            gpu = _MODAL_GPU if engine.gpus == 1 else f"{_MODAL_GPU}:{engine.gpus}"
            texts["modal_app.py"] = modal_app(
                inside,
                name=f"ftsdk-{_folder(models.models[0].name).lower()}",
                gpu=gpu,
                port=port,
                idle_stop_s=_MODAL_IDLE_S,
                has_files=bool(written),
            )
        for name, text in texts.items():
            replace_file(into / name, text.encode(), is_private=False)
        (into / "serve.sh").chmod(0o755)
        return [*(into / name for name in texts), *written]

    def start(self, *, timeout_s: float, on_message: Callable[[str], None] | None) -> AttachedServer:
        """Wait until the server that runs has all models."""
        engine, models = self._engine, self._models
        if engine.url is None:
            raise SpecError(
                "vLLM isn't started from here: serve(..., engine='vllm').write_files('folder') writes what starts it; "
                "then VLLM(url='http://HOST:8000/v1') uses it"
            )
        if on_message is not None:
            on_message(f"waiting for {engine.url}")
        return attach(
            engine.url,
            {name: name for name in models.names},
            api_key_env=engine.api_key_env,
            allow_http=engine.allow_http,
            timeout_s=timeout_s,
        )

    def _command(self, adapters: str, *, host: str, base: str | None = None) -> tuple[str, ...]:
        models = self._models
        template = f"{Path(adapters).parent}/chat_template.jinja" if models.base.chat_template is not None else None
        is_folder = models.base.source == "folder"
        here = str(Path(models.base.id).expanduser().resolve()) if is_folder else models.base.id
        folders = {one.name: f"{adapters}/{_folder(one.name)}" for one in models.adapted}
        paths = Paths(base=base or here, adapters=folders, template=template)
        return vllm_command(self._engine, models, paths, host=host, port=self._engine.port)


def _folder(name: str) -> str:
    return name.replace("/", "--")


def _copy_adapter(one: ServedModel, into: Path, base: str) -> list[Path]:
    """Copy what a server needs of an adapter; its config names the base, and no folder of this machine."""
    assert one.model.adapter is not None
    source = Path(one.model.adapter).expanduser()
    into.mkdir(parents=True, exist_ok=True)
    config = json.loads((source / _ADAPTER_FILES[0]).read_text(encoding="utf-8"))
    text = json.dumps({**config, "base_model_name_or_path": base}, indent=2, sort_keys=True)
    replace_file(into / _ADAPTER_FILES[0], text.encode(), is_private=False)
    shutil.copyfile(source / _ADAPTER_FILES[1], into / _ADAPTER_FILES[1])
    return [into / name for name in _ADAPTER_FILES]
