"""Names of models: one for people and artefacts, one for telling whether two runs used the same weights."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, cast

from ftsdk._files import replace_file
from ftsdk._home import home
from ftsdk.models.hub_cache import cached_snapshot
from ftsdk.spec import Model

__all__ = ["base_name", "file_sha256", "model_identity"]


def base_name(model: Model) -> str:
    """Give the name that an artefact records as its base: the hub id, or a folder's or file's name without this machine's path."""
    if model.source == "hub":
        return model.id
    name = re.split(r"[/\\]", model.id.rstrip("/\\"))[-1]
    return name if name not in ("", ".", "..", "~") else Path(model.id).expanduser().resolve().name


def model_identity(model: Model) -> str:
    """Give a digest that changes when the weights, the adapter or the chat template do.

    Large files count by size and time of change, so that a 14 GB model costs nothing: a copy of a model counts as another one, which is
    the safe way to be wrong.
    """
    parts: list[object] = [base_name(model), model.revision, model.chat_template, model.trust_remote_code]
    if model.source == "hub":
        snapshot = cached_snapshot(model.id, model.revision)
        parts.append(snapshot.name if snapshot else None)  # the folder is named by the commit
    elif model.source == "gguf":
        parts.append(file_sha256(Path(model.id).expanduser()))
    else:
        parts.append(_stamps(Path(model.id).expanduser()))
    if model.adapter is not None:
        folder = Path(model.adapter).expanduser()
        parts.append([file_sha256(folder / name) for name in ("adapter_config.json", "adapter_model.safetensors") if (folder / name).is_file()])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _stamps(folder: Path) -> list[tuple[str, int, int]]:
    kept = (".safetensors", ".json", ".jinja", ".model", ".txt")
    files = sorted(path for path in folder.iterdir() if path.name.endswith(kept) and path.is_file())
    return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]


def file_sha256(path: Path, *, memory: Path | None = None) -> str:
    """Hash a file, once: the answer is remembered by path, size and time of change, in `hashes.json`.

    Args:
        path: The file.
        memory: The folder of `hashes.json`; None is `models/` in ftsdk's home.
    """
    folder = home() / "models" if memory is None else memory
    stat = path.stat()
    key, stamp = str(path.resolve()), [stat.st_size, stat.st_mtime_ns]
    known = _remembered(folder / "hashes.json")
    entry = known.get(key)
    if isinstance(entry, list) and len(cast("list[Any]", entry)) == 3 and entry[:2] == stamp:
        return str(entry[2])
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if stat.st_size >= 1_000_000:  # smaller files are hashed faster than remembered
        # Two processes may each forget the other's entry: that costs a hash, nothing else.
        replace_file(folder / "hashes.json", json.dumps({**known, key: [*stamp, digest]}).encode())
    return digest


def _remembered(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}
