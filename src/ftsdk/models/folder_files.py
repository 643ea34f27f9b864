"""Files in the folder of a model: its JSON, and what isn't where it should be."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any, cast

from ftsdk.errors import ModelError
from ftsdk.models.headers import regular_size
from ftsdk.models.limits import LIMITS

__all__ = ["describe_missing", "read_json"]


def read_json(path: Path, shown: str) -> dict[str, Any]:
    """Read a JSON object from a file of a model; `shown` names the model in errors.

    Raises:
        ModelError: It isn't a regular file with a JSON object, or is too large.
    """
    size = regular_size(path)
    if size > LIMITS.json_bytes:
        raise ModelError(
            f"{shown}: {path.name} has {size:,} bytes, over {LIMITS.json_bytes:,}. Copy or download the model again."
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise ModelError(
            f"{shown}: {path.name} can't be read as JSON ({error}). Copy or download the model again."
        ) from error
    if not isinstance(content, dict):
        raise ModelError(f"{shown}: {path.name} isn't a JSON object. Copy or download the model again.")
    return cast("dict[str, Any]", content)


def describe_missing(path: Path, shown: str, what: str) -> str:
    """Return what to do about a path of a model at which there is no `what`, with the name that was probably meant."""
    if path.exists():
        kind = "file" if path.is_file() else "folder"
        advice = "A model is a folder with config.json and *.safetensors, or a file that ends in .gguf."
        return f"{shown} is a {kind}, but a {what} was expected. {advice}"
    if not path.parent.is_dir():
        return (
            f"there is no {what} {shown}, nor the folder above it. Check the path; it is looked up from {Path.cwd()}."
        )
    close = difflib.get_close_matches(path.name, [entry.name for entry in path.parent.iterdir()], n=1, cutoff=0.6)
    hint = (
        f"; did you mean {str(path.parent / close[0])!r}?"
        if close
        else f". Check the path; it is looked up from {Path.cwd()}."
    )
    return f"there is no {what} {shown}{hint}"
