"""Names of models: a display name, and a digest that tells whether two runs used the same weights."""

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
    """Return the name that an artifact records as its base: the hub id, or the folder's or file's name without path."""
    if model.source == "hub":
        return model.id
    name = re.split(r"[/\\]", model.id.rstrip("/\\"))[-1]
    return name if name not in ("", ".", "..", "~") else Path(model.id).expanduser().resolve().name


def model_identity(model: Model) -> str:
    """Return a digest that changes when the weights, the adapter or the chat template do.

    Files in a folder count by size and modification time, so that a 14 GB model isn't read. A copy of a model therefore
    counts as another model, which is the safe mistake to make.
    """
    parts: list[object] = [base_name(model), model.revision, model.chat_template, model.trust_remote_code]
    if model.add_tokens is not None:
        parts.append(list(model.add_tokens))
    if model.source == "hub":
        snapshot = cached_snapshot(model.id, model.revision)
        parts.append(snapshot.name if snapshot else None)  # the folder is named by the commit
    elif model.source == "gguf":
        parts.append(file_sha256(Path(model.id).expanduser()))
    else:
        parts.append(_file_stamps(Path(model.id).expanduser()))
    if model.adapter is not None:
        folder = Path(model.adapter).expanduser()
        parts.append(
            [
                file_sha256(folder / name)
                for name in ("adapter_config.json", "adapter_model.safetensors")
                if (folder / name).is_file()
            ]
        )
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _file_stamps(folder: Path) -> list[tuple[str, int, int]]:
    kept = (".safetensors", ".json", ".jinja", ".model", ".txt")
    files = sorted(path for path in folder.iterdir() if path.name.endswith(kept) and path.is_file())
    return [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]


def file_sha256(path: Path, *, cache: Path | None = None) -> str:
    """Return the SHA-256 of a file; the result is cached by path, size and modification time in `hashes.json`.

    Args:
        path: The file.
        cache: The folder of `hashes.json`; None is `models/` in ftsdk's home.
    """
    folder = home() / "models" if cache is None else cache
    stat = path.stat()
    key, stamp = str(path.resolve()), [stat.st_size, stat.st_mtime_ns]
    known = _read_hashes(folder / "hashes.json")
    entry = known.get(key)
    if isinstance(entry, list) and len(cast("list[Any]", entry)) == 3 and entry[:2] == stamp:
        return str(entry[2])
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if stat.st_size >= 1_000_000:  # smaller files are hashed faster than remembered
        # Two processes may each forget the other's entry: that costs a hash, nothing else.
        replace_file(folder / "hashes.json", json.dumps({**known, key: [*stamp, digest]}).encode())
    return digest


def _read_hashes(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}
