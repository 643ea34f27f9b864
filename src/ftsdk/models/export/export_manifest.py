"""The manifest of an export: written last, with the size and SHA-256 of each file, and whether the export is proven."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, cast

from ftsdk._files import replace_file
from ftsdk.errors import CorruptArtifactError, ModelError

__all__ = ["MANIFEST", "ExportState", "check_servable", "read_export", "seal_export"]

MANIFEST = "manifest.json"
ExportState = Literal["proven", "failed", "unproven"]
"""Whether the gates passed, one of them failed, or some couldn't be checked."""


def seal_export(folder: Path, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Write the manifest of a finished folder, after all of its files, and return it.

    Args:
        folder: With all files.
        facts: What is recorded beside the files; `state` is an `ExportState`.
    """
    files: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != MANIFEST:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                os.fsync(file.fileno())
            files[path.relative_to(folder).as_posix()] = {"bytes": path.stat().st_size, "sha256": digest}
    manifest = {"kind": "export", **facts, "files": files}
    replace_file(folder / MANIFEST, json.dumps(manifest, indent=1, sort_keys=True).encode(), is_private=False)
    return manifest


def read_export(folder: str | Path) -> dict[str, Any]:
    """Return the manifest of an export whose files are all there; hashes aren't computed, which takes minutes.

    Raises:
        CorruptArtifactError: It isn't an export, or a file is missing or has another size.
    """
    path = Path(folder).expanduser() / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        listed = cast("dict[str, dict[str, Any]]", dict(manifest["files"]))
        if manifest["kind"] != "export" or manifest["state"] not in ("proven", "failed", "unproven"):
            raise ValueError("it is of something else")
        sizes = {str(name): int(entry["bytes"]) for name, entry in listed.items()}
    except FileNotFoundError as error:
        raise CorruptArtifactError(f"{folder} has no {MANIFEST}: it isn't an export, or an unfinished one") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptArtifactError(f"{path} isn't the manifest of an export ({error})") from error
    for name, size in sizes.items():
        file = path.parent / name
        if not file.is_file() or file.stat().st_size != size:
            raise CorruptArtifactError(f"{folder}: {name} is missing or was altered since the export. Export it again")
    return manifest


def check_servable(folder: str | Path, *, allow_failed: bool = False) -> dict[str, Any]:
    """Refuse an export that failed its gates, unless that is allowed by name; return its manifest.

    Args:
        folder: Where it was exported to.
        allow_failed: Serve it all the same.

    Raises:
        CorruptArtifactError: It isn't a whole export.
        ModelError: It failed.
    """
    manifest = read_export(folder)
    if manifest["state"] == "failed" and not allow_failed:
        failed = [gate for gate in manifest.get("parity", {}).get("gates", ()) if gate.get("verdict") == "differs"]
        why = f": {failed[0]['name']}: {failed[0]['detail']}" if failed else ""
        raise ModelError(
            f"{folder} isn't the model that was evaluated{why}. Export it again, or allow it by name: allow_failed=True"
        )
    return manifest
