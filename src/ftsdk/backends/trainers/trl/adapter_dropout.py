"""Dropout where a loss compares probabilities of answers: on the inputs of the trained adapter, and nowhere else."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["keep_dropout_of_adapter"]


def keep_dropout_of_adapter(model: Any) -> None:
    """Switch off every dropout but that of the adapter named `default`.

    The reference is the model with its adapter switched off, or a second adapter, and dropout would make another
    reference of it each time it is asked. What TRL offers is all dropout or none (1.16, `disable_dropout`).
    """
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Dropout) and not name.endswith("lora_dropout.default"):
            module.p = 0.0
