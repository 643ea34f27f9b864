"""The cache of the Hugging Face libraries, read without importing them (their import takes 50 ms)."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ftsdk.errors import ModelError

__all__ = ["cached_snapshot", "check_hub_id", "hub_cache", "hub_cause"]

_HUB_ID = re.compile(r"(?:[A-Za-z0-9_][\w.-]{0,95}/)?[A-Za-z0-9_][\w.-]{0,95}")


def check_hub_id(identifier: str) -> None:
    """Check that a text can be the id of a model on the hub.

    Raises:
        ModelError: Not of the form `organisation/name`.

    Source: https://huggingface.co/docs/huggingface_hub, `validate_repo_id`, read 2026-11-23.
    """
    if (
        not _HUB_ID.fullmatch(identifier)
        or "--" in identifier
        or ".." in identifier
        or identifier.endswith((".", "-", ".git"))
    ):
        raise ModelError(
            f"{identifier!r} is not a valid model: a hub id looks like 'HuggingFaceTB/SmolLM2-135M-Instruct', a folder "
            "starts with './' or '/', "
            "and a GGUF file ends in '.gguf'."
        )


def hub_cache() -> Path:
    """Return the folder of downloaded models, by the rules of `huggingface_hub`: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME.

    Source: https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables, read 2026-11-23.
    """
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if os.environ.get(name):
            return Path(os.environ[name]).expanduser()
    if os.environ.get("HF_HOME"):
        return Path(os.environ["HF_HOME"]).expanduser() / "hub"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    return cache / "huggingface" / "hub"


def cached_snapshot(identifier: str, revision: str | None) -> Path | None:
    """Return the folder of a hub model's downloaded files, which may hold only some of them; None if there is none."""
    folder = hub_cache() / f"models--{identifier.replace('/', '--')}"
    wanted = revision or "main"
    if ".." in wanted:
        return None
    ref = folder / "refs" / wanted
    commit = ref.read_text(encoding="utf-8").strip() if ref.is_file() else wanted
    snapshot = folder / "snapshots" / commit
    return snapshot if snapshot.is_dir() else None


def hub_cause(error: BaseException) -> BaseException:
    """Return an error of the hub's libraries as a cause of one line.

    Dozens of frames of theirs, and the errors of the network below, would hide the message that says what to do.
    """
    error.__cause__ = error.__context__ = None
    return error.with_traceback(None)
