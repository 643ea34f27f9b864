"""Modelfiles as `export` writes them: read again, with another context, and as a request to Ollama. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

__all__ = ["ModelfileParts", "read_modelfile", "with_context"]

_BLOCK = re.compile(r'^(TEMPLATE|SYSTEM|LICENSE) """(.*?)"""$', re.MULTILINE | re.DOTALL)
_FROM = re.compile(r"^FROM (\S+)$", re.MULTILINE)
_PARAMETER = re.compile(r"^PARAMETER (\w+) (.+)$", re.MULTILINE)
_OTHER = re.compile(r"^(?!FROM |PARAMETER |#|\s*$).{1,80}", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class ModelfileParts:
    """What a Modelfile says."""

    source: str
    """The GGUF file, relative to the Modelfile."""
    blocks: dict[str, str]
    """Its `template`, `system` and `license`, those that it has."""
    parameters: dict[str, Any]
    """Of answers; `stop` is a list."""

    def request(self, model: str, digest: str) -> dict[str, Any]:
        """Return the body of `POST /api/create` for a file that Ollama has by its SHA-256."""
        files = {"model.gguf": f"sha256:{digest}"}
        return {"model": model, "files": files, **self.blocks, "parameters": self.parameters, "stream": False}


def read_modelfile(text: str) -> ModelfileParts:
    """Read a Modelfile.

    Raises:
        ValueError: It names no file, or has what isn't known here, which would be lost.
    """
    outside = _BLOCK.sub("", text)
    source = _FROM.search(outside)
    if source is None:
        raise ValueError("it has no FROM")
    if other := _OTHER.search(outside):
        raise ValueError(f"{other[0]!r} isn't known here; register it by hand: ollama create NAME -f Modelfile")
    parameters: dict[str, Any] = {}
    for name, value in _PARAMETER.findall(outside):
        if name == "stop":
            parameters.setdefault("stop", []).append(value.strip().strip('"'))
        else:
            parameters[name] = float(value) if "." in value else int(value)
    blocks = {name.lower(): content for name, content in _BLOCK.findall(text)}
    return ModelfileParts(source=source[1], blocks=blocks, parameters=parameters)


def with_context(text: str, *, tokens: int, folder: str) -> str:
    """Return a Modelfile that lies beside the folder of the export, with another context.

    Args:
        text: The Modelfile of the export.
        tokens: Of prompt and answer. Ollama cuts longer prompts without a word.
        folder: The export's, as seen from the Modelfile.
    """
    found = _FROM.search(text)
    moved = text if found is None else text.replace(found[0], f"FROM ./{folder}/{found[1].removeprefix('./')}", 1)
    return re.sub(r"^PARAMETER num_ctx \d+$", f"PARAMETER num_ctx {tokens}", moved, flags=re.MULTILINE)
