"""Going on from a checkpoint that was the last one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

__all__ = ["StopsWhenDone", "was_over"]


class StopsWhenDone:
    """Put before one of transformers' trainers: one that goes on from the end of its training makes no further step.

    transformers 5.23 looks at `max_steps` and at an early stop only after a step, so a run that was killed between its
    last checkpoint and its end would be trained for one step more than was asked.
    """

    is_over = False
    """True if the checkpoint that is gone on from was written when training had come to its end."""

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        if self.is_over:
            cast("Any", self).control.should_training_stop = True
        else:
            cast("Any", super())._run_epoch(*args, **kwargs)


def was_over(checkpoint: Path) -> bool:
    """Tell if training had come to its end when the checkpoint was written: all steps made, or stopped early."""
    state: dict[str, Any] = json.loads((checkpoint / "trainer_state.json").read_bytes())
    control = state.get("stateful_callbacks", {}).get("TrainerControl", {}).get("args", {})
    return state["global_step"] >= state["max_steps"] or bool(control.get("should_training_stop"))
