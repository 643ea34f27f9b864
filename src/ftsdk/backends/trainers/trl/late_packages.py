"""Packages that other ones import wherever they are installed, left out where a training has no use for them."""

from __future__ import annotations

import sys
from typing import Any, cast

from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.errors import ModelError
from ftsdk.models import inspect_model

__all__ = ["leave_out_unused"]


def leave_out_unused(request: TrainingRequest, modules: dict[str, Any] | None = None) -> None:
    """Keep peft from importing bitsandbytes, unless weights or moments are in 4 bits or 8.

    It imports PyTorch's compiler, and takes a fifth of a worker's start (1.2 of 7.3 CPU seconds on a busy machine,
    bitsandbytes 0.50, 2026-11-28). What was imported before stays.

    Args:
        request: The training.
        modules: Python's imported modules; None: those of this process.
    """
    known = cast("dict[str, Any]", sys.modules) if modules is None else modules
    if not _may_need_bitsandbytes(request):
        # For Python, a module that can't be imported; for `find_spec`, one that isn't installed.
        known.setdefault("bitsandbytes", None)


def _may_need_bitsandbytes(request: TrainingRequest) -> bool:
    if request.tuning.quantizes or request.optimizer != "adamw":
        return True
    try:
        facts = inspect_model(request.model)
    except ModelError:
        return True
    return not facts.is_downloaded or any("quantised" in note for note in facts.notes)
