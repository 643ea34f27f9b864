"""Which keys are there. Their values are never read into anything that is shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ftsdk.checkup.check import Check

__all__ = ["check_keys", "is_key_there"]


class _Key(NamedTuple):
    """Where a key is looked for."""

    name: str
    variables: tuple[str, ...]
    """All of them have to be set."""
    file: str
    """Where the provider's own login keeps it; empty: nowhere."""
    file_variable: str
    """A variable that names another file."""
    uses: str
    advice: str
    backend: str = ""
    """The backend that needs it."""


_KEYS = (
    _Key(
        "Together",
        ("TOGETHER_API_KEY",),
        "",
        "",
        'backend="together"',
        "set TOGETHER_API_KEY (create one at api.together.ai, Settings, API keys)",
        "together",
    ),
    _Key(
        "Modal",
        ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"),
        "~/.modal.toml",
        "MODAL_CONFIG_PATH",
        'backend="modal"',
        "`modal token new`, or set MODAL_TOKEN_ID and MODAL_TOKEN_SECRET",
        "modal",
    ),
    _Key(
        "Hugging Face",
        ("HF_TOKEN",),
        "~/.cache/huggingface/token",
        "HF_TOKEN_PATH",
        "gated models, and uploads",
        "`hf auth login`, or set HF_TOKEN; only for gated models and uploads",
    ),
    _Key(
        "Weights & Biases",
        ("WANDB_API_KEY",),
        "",
        "",
        'trackers=["wandb"]',
        "`wandb login`, or set WANDB_API_KEY; only for this tracker (a login in ~/.netrc isn't seen here)",
    ),
)


def check_keys(environment: Mapping[str, str] | None = None) -> list[Check]:
    """Say which keys are there, and where they come from.

    Args:
        environment: The variables; None: those of this process.
    """
    given = os.environ if environment is None else environment
    return [_check(key, given) for key in _KEYS]


def is_key_there(backend: str) -> bool:
    """Return whether the key that a backend needs is there, if it needs one that is known here."""
    return any(_check(key, os.environ).state != "missing" for key in _KEYS if key.backend == backend)


def _check(key: _Key, given: Mapping[str, str]) -> Check:
    there = [name for name in key.variables if given.get(name, "").strip()]
    if len(there) == len(key.variables):
        return Check(part="keys", name=key.name, state="ok", found=f"in {' and '.join(there)}", next_step=key.uses)
    if there:
        absent = next(name for name in key.variables if name not in there)
        return Check(
            part="keys",
            name=key.name,
            state="problem",
            found=f"{there[0]} is set, {absent} isn't",
            next_step=f"set {absent}, too",
        )
    file = given.get(key.file_variable) or key.file
    if key.name == "Hugging Face" and not given.get(key.file_variable) and given.get("HF_HOME"):
        file = f"{given['HF_HOME']}/token"
    if file and _has_content(Path(file).expanduser()):
        return Check(part="keys", name=key.name, state="ok", found=f"in {file}", next_step=key.uses)
    return Check(part="keys", name=key.name, state="missing", found="none", next_step=key.advice)


def _has_content(file: Path) -> bool:
    try:
        return file.is_file() and file.stat().st_size > 0
    except OSError:
        return False
