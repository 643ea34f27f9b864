"""The methods that TRL trains here, one module each.

A new one is a module with the functions of `TRLMethod`, and a line in `_MODULES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol, cast

from ftsdk.backends.trainers.trl.request import TrainingRequest

__all__ = ["KINDS", "PACKED_KINDS", "SHARDED_KINDS", "TRLMethod", "load_method"]

_MODULES = {
    "sft": "ftsdk.backends.trainers.trl.methods.sft",
    "dpo": "ftsdk.backends.trainers.trl.methods.dpo",
    "kto": "ftsdk.backends.trainers.trl.methods.kto",
    "orpo": "ftsdk.backends.trainers.trl.methods.orpo",
    "simpo": "ftsdk.backends.trainers.trl.methods.simpo",
}
KINDS = frozenset(_MODULES)
"""The `kind` of each method."""
PACKED_KINDS = frozenset(_MODULES)
"""Of methods whose trainer computes what sequences of a step share once, where a model can do it."""

SHARDED_KINDS = frozenset({"sft", "orpo", "simpo"})
"""Of methods whose sharded training was held against one process: none of them has a reference model."""


class TRLMethod(Protocol):
    """What a method's module offers."""

    def columns(self, rows: list[Any]) -> Mapping[str, list[Any]]:
        """Return rendered rows as the columns that its trainer takes."""
        ...

    def make_trainer(
        self,
        request: TrainingRequest,
        shared: Mapping[str, Any],
        options: Mapping[str, Any],
        *,
        pad_token_id: int,
        on_message: Callable[[str], None],
    ) -> Any:
        """Build the trainer.

        Args:
            request: The training.
            shared: Model, rows, tokenizer and callbacks, as arguments of any TRL trainer.
            options: The options that every TRL configuration takes.
            pad_token_id: What short rows are filled with.
            on_message: Called with one sentence on how the training goes through the model.
        """
        ...


def load_method(kind: str) -> TRLMethod:
    """Import the module of a method; this loads torch."""
    return cast("TRLMethod", import_module(_MODULES[kind]))
