"""Manifests: a folder is complete if, and only if, it has a `manifest.json` and every file matches it.

The manifest is written last.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from ftsdk._files import replace_file
from ftsdk.errors import CorruptArtifactError

__all__ = ["MANIFEST", "seal", "verify"]

MANIFEST = "manifest.json"


def seal(folder: Path, facts: Mapping[str, Any]) -> Path:
    """Write the manifest of a finished folder: the size and SHA-256 of every file in it, and the given facts.

    Return its path.

    All files are on disk before the manifest is.
    """
    files: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and name != MANIFEST:
            files[name] = {"bytes": path.stat().st_size, "sha256": _digest(path, sync=True)}
    target = folder / MANIFEST
    replace_file(target, json.dumps({**facts, "files": files}, indent=1, sort_keys=True).encode(), is_private=False)
    return target


def verify(folder: Path) -> dict[str, Any]:
    """Check a folder against its manifest, and return the manifest.

    Raises:
        CorruptArtifactError: There is no manifest, or a file is missing, truncated, altered, or not listed.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        listed = dict(manifest["files"])
    except FileNotFoundError as error:
        raise CorruptArtifactError(f"{folder} has no {MANIFEST}: it is incomplete, and isn't used") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptArtifactError(f"{path} can't be read ({error}); the folder isn't used") from error
    present = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()} - {MANIFEST}
    if not_listed := sorted(present - set(listed)):
        raise CorruptArtifactError(f"{folder}: {not_listed[0]} isn't listed in the manifest, and isn't trusted")
    for name, facts in listed.items():
        file = folder / name
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise CorruptArtifactError(f"{path} names {name!r}, which lies outside the folder")
        if not file.is_file():
            raise CorruptArtifactError(f"{folder}: {name} is missing")
        size = file.stat().st_size
        if size != facts["bytes"]:
            raise CorruptArtifactError(
                f"{folder}: {name} has {size} bytes where the manifest has {facts['bytes']}: it is truncated"
            )
        if _digest(file) != facts["sha256"]:
            raise CorruptArtifactError(f"{folder}: {name} doesn't have the hash in the manifest: it was altered")
    return manifest


def _digest(path: Path, *, sync: bool = False) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if sync:
            os.fsync(file.fileno())
    return digest
