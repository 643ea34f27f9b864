"""Whether a training packs its rows, and the options that go with it: one rule for all methods."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ftsdk.backends.trainers.trl.forest_pass import why_not
from ftsdk.backends.trainers.trl.request import TrainingRequest

__all__ = ["options_of_packed_rows", "tokens_at_once"]

_VALIDATION_ROWS = 32
"""Rows that are validated together at least, so that they share something."""


def tokens_at_once(
    request: TrainingRequest, model: Any, *, longest: int, on_message: Callable[[str], None]
) -> int | None:
    """Return how many tokens go through the model at once if its rows are packed; None: they are padded.

    Args:
        request: The training.
        model: As it was loaded.
        longest: Most tokens of a sequence.
        on_message: Called with the reason if the model's rows can't be packed.
    """
    if request.packed_tokens is None or request.device != "cpu":
        return None
    reason = why_not(model, longest=longest)
    if reason is None:
        return request.packed_tokens
    on_message(
        f"tokens that rows share are computed for each row, {request.micro_batch_size} rows at a time: this model's "
        f"rows can't be packed ({reason})"
    )
    return None


def options_of_packed_rows(request: TrainingRequest, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a trainer that gets its whole share of a step at once, and cuts it by tokens."""
    share = request.micro_batch_size * request.accumulation_steps
    return {
        **options,
        "per_device_train_batch_size": share,
        "gradient_accumulation_steps": 1,
        "per_device_eval_batch_size": max(share, _VALIDATION_ROWS),
        # As on a GPU: inputs of adapters aren't turned into float32, a fifth of a step (SmolLM2-135M, 2026-11-28).
        "bf16": options["bf16"] or (request.dtype == "bfloat16" and request.tuning.kind == "lora"),
    }
