"""Resuming from the last checkpoint of a finished training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

__all__ = ["ResumesExactly", "tell_samplers", "was_over"]


class ResumesExactly:
    """A mixin for transformers' trainers: a resumed training sees the rows that it would have seen, and no others.

    transformers 5.23 checks `max_steps` and early stopping only after a step, so a run that was killed between its
    last checkpoint and its end would be trained for one step too many. And with several processes it tells a sampler
    below the batches that it skips nothing about the epoch, so a run that resumed in a later epoch would see rows in
    the first one's order: some of them twice, others never.
    """

    is_over = False
    """True if the training was finished when the checkpoint it resumes from was written."""

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self.is_over:
            cast("Any", self).control.should_training_stop = True
            return
        tell_samplers(kwargs["train_dataloader"], kwargs["epoch"])
        cast("Any", super())._run_epoch(*args, **kwargs)


def tell_samplers(batches: Any, epoch: int) -> None:
    """Choose the epoch of every sampler below a data loader, however many others are wrapped around it."""
    for name in ("batch_sampler", "sampler"):
        inner = getattr(batches, name, None)
        if inner is not None:
            tell_samplers(inner, epoch)
    if hasattr(batches, "set_epoch"):
        batches.set_epoch(epoch)


def was_over(checkpoint: Path) -> bool:
    """Return whether the training was finished when the checkpoint was written: all steps made, or stopped early."""
    state: dict[str, Any] = json.loads((checkpoint / "trainer_state.json").read_bytes())
    control = state.get("stateful_callbacks", {}).get("TrainerControl", {}).get("args", {})
    return state["global_step"] >= state["max_steps"] or bool(control.get("should_training_stop"))
