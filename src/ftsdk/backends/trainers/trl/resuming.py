"""Resuming from the last checkpoint of a finished training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

__all__ = ["StopsWhenDone", "was_over"]


class StopsWhenDone:
    """A mixin for transformers' trainers: resuming a finished training makes no further step.

    transformers 5.23 checks `max_steps` and early stopping only after a step, so a run that was killed between its
    last checkpoint and its end would be trained for one step too many.
    """

    is_over = False
    """True if the training was finished when the checkpoint it resumes from was written."""

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self.is_over:
            cast("Any", self).control.should_training_stop = True
        else:
            cast("Any", super())._run_epoch(*args, **kwargs)


def was_over(checkpoint: Path) -> bool:
    """Return whether the training was finished when the checkpoint was written: all steps made, or stopped early."""
    state: dict[str, Any] = json.loads((checkpoint / "trainer_state.json").read_bytes())
    control = state.get("stateful_callbacks", {}).get("TrainerControl", {}).get("args", {})
    return state["global_step"] >= state["max_steps"] or bool(control.get("should_training_stop"))
