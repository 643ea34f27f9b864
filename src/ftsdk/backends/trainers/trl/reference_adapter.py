"""The reference of an adapter that is trained further: a copy of it, which TRL makes but for some rows."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["copy_trained_rows_to_reference"]


def copy_trained_rows_to_reference(model: Any) -> None:
    """Copy the rows of `trainable_token_indices` to the reference adapter that TRL made.

    TRL copies the parameters with `.default.` in their names (1.16, `DPOTrainer.__init__`); those of the rows end in
    `.default`.
    """
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for name, value in weights.items():
            copied = weights.get(f"{name.removesuffix('.default')}.ref") if name.endswith(".default") else None
            if copied is not None:
                copied.copy_(value)
