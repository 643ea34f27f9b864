"""DPO on rows that are rendered already."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from trl.trainer.dpo_trainer import DPOTrainer

from ftsdk.backends.trainers.trl.resuming import StopsWhenDone

__all__ = ["make_dpo_trainer"]


class _RenderedDPOTrainer(StopsWhenDone, DPOTrainer):  # pyright: ignore[reportUntypedBaseClass]
    """TRL's trainer renders rows itself and has no option against it (1.16); ours come with `prompt_ids` and the rest."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        del args, kwargs
        return dataset


def make_dpo_trainer(arguments: Mapping[str, Any], request: Mapping[str, Any]) -> Any:
    """Build the trainer with its reference model.

    With a new adapter the reference is the model with the adapter switched off. When every weight moves, or an adapter is
    trained further, the reference is a copy.
    """
    reference = None
    if request["tuning"]["kind"] == "full":
        reference = copy.deepcopy(arguments["model"])
    return _RenderedDPOTrainer(**arguments, ref_model=reference)
