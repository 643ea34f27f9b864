"""Imports of a worker made quick: less is imported, and no garbage is looked for meanwhile."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Generator
from typing import Any, cast

from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.errors import ModelError
from ftsdk.models import inspect_model

__all__ = ["leave_out_unused", "quick_imports"]

_OF_OTHER_TASKS = ("scipy", "sklearn")
"""What transformers imports wherever it is installed: for the losses of object detection, and for assisted generation.
"""


@contextlib.contextmanager
def quick_imports(modules: dict[str, Any] | None = None) -> Generator[None]:
    """Import what trains inside this block: without packages of other tasks, and without collecting garbage.

    Modules are hundreds of thousands of objects that stay. Looking through them again and again took 0.95 of 4.2 CPU
    seconds of a worker's imports, scipy 0.1 (torch 2.13, transformers 5.23, Python 3.11, 2026-11-28). Afterwards they
    are left out of collections for good. The packages can be imported again after the block.

    Nothing is done in a process that has imported transformers before.

    Args:
        modules: Python's imported modules; None: those of this process.
    """
    known = cast("dict[str, Any]", sys.modules) if modules is None else modules
    if "transformers" in known:
        yield
        return
    hidden = [name for name in _OF_OTHER_TASKS if name not in known]
    was_on = gc.isenabled()
    gc.disable()
    # For Python, a module that can't be imported; for `find_spec`, one that isn't installed.
    known.update(dict.fromkeys(hidden))
    try:
        yield
    finally:
        for name in hidden:
            known.pop(name, None)
        if was_on:
            gc.freeze()
            gc.enable()


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
        known.setdefault("bitsandbytes", None)


def _may_need_bitsandbytes(request: TrainingRequest) -> bool:
    if request.tuning.quantizes or request.optimizer != "adamw":
        return True
    try:
        facts = inspect_model(request.model)
    except ModelError:
        return True
    return not facts.is_downloaded or any("quantised" in note for note in facts.notes)
