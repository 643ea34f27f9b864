"""DPO on rows that are rendered already."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.backends.trainers.trl.resuming import StopsWhenDone
from ftsdk.spec import DPO

__all__ = ["columns", "make_trainer"]


class _RenderedDPOTrainer(StopsWhenDone, DPOTrainer):  # pyright: ignore[reportUntypedBaseClass]
    """TRL's trainer renders rows itself and has no option against it (1.16).

    Ours come with `prompt_ids` and the rest.
    """

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        del args, kwargs
        return dataset


def columns(rows: list[Any]) -> Mapping[str, list[list[int]]]:
    """Return `prompt_ids`, `chosen_ids` and `rejected_ids`, one list of token ids a row."""
    return {name: [list(getattr(row, name)) for row in rows] for name in ("prompt_ids", "chosen_ids", "rejected_ids")}


def make_trainer(
    request: TrainingRequest, shared: Mapping[str, Any], options: Mapping[str, Any], *, pad_token_id: int
) -> Any:
    """Build the trainer with its reference model.

    With a new adapter the reference is the model with the adapter switched off. When every weight moves, the reference
    is a copy; for an adapter that is trained further, TRL makes one.
    """
    del pad_token_id
    assert isinstance(request.method, DPO)
    arguments = DPOConfig(
        **options, beta=request.method.beta, loss_type=["sigmoid"], disable_dropout=True, precompute_ref_log_probs=False
    )
    reference = None if request.tuning.adapts else copy.deepcopy(shared["model"])
    return _RenderedDPOTrainer(**shared, args=arguments, ref_model=reference)
