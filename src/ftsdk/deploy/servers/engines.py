"""What serves: values with the settings of an engine. One of them is `engine=` of `serve` and of `run.serve`."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias, get_args
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from ftsdk._rich_text import rich_text
from ftsdk.errors import SpecError
from ftsdk.spec import Value
from ftsdk.spec.base import nearest
from ftsdk.spec.urls import check_service_url

__all__ = ["VLLM", "Engine", "EngineName", "LlamaCpp", "ModalServer", "Ollama", "engine_named"]

_LOOPBACK = ("127.0.0.1", "localhost")
_Port = Annotated[int, Field(ge=0, le=65_535)]
_KeyName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,127}$")]
_Context = Annotated[int, Field(ge=16, le=10_000_000)]


class _Engine(Value):
    def __str__(self) -> str:
        fields = ", ".join(f"{name}={getattr(self, name)!r}" for name in sorted(self.model_fields_set - {"kind"}))
        return f"{type(self).__name__}({fields})"

    __rich__ = rich_text


class LlamaCpp(_Engine):
    """llama.cpp on this machine, in a process of its own that ends with this one. Several adapters on one base.

    Its API is OpenAI's, at 127.0.0.1. It needs the extra `export`, and no GPU.
    """

    kind: Literal["llama.cpp"] = "llama.cpp"
    quantization: Literal["f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m"] = "f16"
    """Of the base's weights, which are written as GGUF once and kept. At `"f16"` and above answers are those of the
    evaluation; a smaller format changes some. A base that is a `.gguf` file is served as it is."""
    merge: bool = False
    """Merge the adapter into the weights: for one model at a time, and for adapters that GGUF has no form for."""
    context_tokens: _Context = 4096
    """Tokens of prompt and answer that each request may have; no more than the model's own context is taken."""
    parallel: Annotated[int, Field(ge=1, le=256)] = 4
    """Requests that are answered at the same time; others wait. Requests of different adapters take turns."""
    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Threads that compute. None: all cores of this process."""
    gpu_layers: Annotated[int, Field(ge=0)] | None = None
    """Layers on a GPU, if the installed xllamacpp was built for one. None: as many as fit."""
    host: str = "127.0.0.1"
    """The address to listen on. Another than 127.0.0.1 needs a key: others can reach it, without encryption."""
    port: _Port = 0
    """0: a free one."""
    api_key_env: _KeyName | None = None
    """Environment variable with the key that clients must send. None: no key."""

    @model_validator(mode="after")
    def _check_host(self) -> Self:
        if self.host not in _LOOPBACK and self.api_key_env is None:
            raise ValueError(f"host={self.host!r} can be reached by others, so it needs a key: api_key_env=")
        return self


class VLLM(_Engine):
    """vLLM on a GPU: ftsdk writes the command, a compose file and a Modal function, or uses a server that runs.

    `serve(..., engine=VLLM()).write_files("folder")` writes what starts it; `VLLM(url=...)` uses it.
    """

    kind: Literal["vllm"] = "vllm"
    url: str | None = None
    """Address of a server that runs, with the version: `"http://gpu-box:8000/v1"`. ftsdk checks that it has the models,
    and neither starts nor stops it. None: files only."""
    gpus: Annotated[int, Field(ge=1, le=64)] = 1
    """GPUs that share the model (tensor parallel)."""
    context_tokens: _Context | None = None
    """Tokens of prompt and answer that each request may have. None: the model's own."""
    gpu_memory_share: Annotated[float, Field(gt=0, le=1)] = 0.9
    """The part of the GPU's memory that vLLM takes."""
    port: _Port = 8000
    api_key_env: _KeyName | None = None
    """Environment variable with the key of the server."""
    allow_http: bool = False
    """Send the key over plain http to another machine, where anybody on the way can read it."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        return None if url is None else _service_url(url)


class Ollama(_Engine):
    """Ollama on a desktop: each model is a GGUF file with its adapter merged in, and a Modelfile.

    `serve(..., engine=Ollama()).write_files("folder")` writes both; used as a block, it registers the models with the
    Ollama that runs at `url`, and removes at the end those that it has registered.
    """

    kind: Literal["ollama"] = "ollama"
    url: str = "http://127.0.0.1:11434"
    """Address of Ollama, without a version."""
    quantization: Literal["f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m"] = "q8_0"
    context_tokens: _Context = 4096
    """Tokens of prompt and answer, written into the Modelfile: requests can't set it at Ollama's OpenAI address."""

    @field_validator("url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        return _service_url(url)


class ModalServer(_Engine):
    """vLLM on Modal for runs that were trained there: their adapters are read from the runs' Volume.

    It scales to zero: without requests nothing runs and nothing is billed. It needs a limit: `budget_usd=` or
    `max_hours=`. Never run on a GPU of Modal's yet.
    """

    kind: Literal["modal"] = "modal"
    gpu: str | None = None
    """A GPU as Modal names it, such as `"L4"` or `"H100:2"`. None: the cheapest with enough memory."""
    context_tokens: _Context | None = None
    """Tokens of prompt and answer that each request may have. None: the model's own."""
    idle_stop_s: Annotated[int, Field(ge=60, le=1200)] = 300
    """Seconds without a request after which a container is stopped; they are billed."""
    min_containers: Annotated[int, Field(ge=0, le=1)] = 0
    """1 keeps a container warm, which bills all the time."""
    api_key_env: _KeyName = "FTSDK_SERVER_KEY"
    """Environment variable with the key that clients must send: the address is public."""


Engine: TypeAlias = LlamaCpp | VLLM | Ollama | ModalServer
EngineName = Literal["llama.cpp", "vllm", "ollama", "modal"]


def engine_named(engine: Engine | EngineName) -> Engine:
    """Return an engine, by its name with the settings that it has unless told otherwise.

    Raises:
        SpecError: There is no engine of this name.
    """
    if not isinstance(engine, str):
        if not isinstance(engine, get_args(Engine)):  # pyright: ignore[reportUnnecessaryIsInstance] - from callers
            raise SpecError(f"engine takes a name or a value such as LlamaCpp(); got {type(engine).__name__}")
        return engine
    for kind in (LlamaCpp, VLLM, Ollama, ModalServer):
        if kind.model_fields["kind"].default == engine:
            return kind()
    names = get_args(EngineName)
    if str(engine) == "together":
        raise SpecError(
            "Together serves each run on an endpoint of its own: with run.serve(budget_usd=10) as served. Its API can "
            "attach several adapters to one deployment, which ftsdk doesn't do"
        )
    raise SpecError(f"no engine {engine!r}{nearest(engine, names)}; there are {', '.join(map(repr, names))}")


def _service_url(url: str) -> str:
    if urlsplit(url).path.endswith("/completions"):
        raise ValueError("must end before '/chat/completions', which ftsdk adds")
    return check_service_url("url", url, key_comes_from="the variable that api_key_env names", allow_http=True)
