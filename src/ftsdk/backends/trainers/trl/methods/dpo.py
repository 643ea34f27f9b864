"""DPO on rows that are rendered already."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own abbreviation
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from ftsdk.backends.trainers.trl.reference_adapter import copy_trained_rows_to_reference
from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.backends.trainers.trl.resuming import StopsWhenDone
from ftsdk.backends.trainers.trl.validation import MeanOverAllRows
from ftsdk.spec import DPO

__all__ = ["columns", "make_trainer"]


class _RenderedDPOTrainer(StopsWhenDone, MeanOverAllRows, DPOTrainer):  # pyright: ignore[reportUntypedBaseClass]
    """TRL's trainer renders rows itself and has no option against it (1.16).

    Ours come with `prompt_ids` and the rest.
    """

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        del args, kwargs
        return dataset

    def row_sums(self, model: Any, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Return the loss, accuracy and margin of each pair (DPO, equation 7)."""
        kwargs = {name: value for name, value in inputs.items() if name != "completion_mask"}
        labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
        outputs = model(**kwargs, labels=labels, use_cache=False, fused_lm_head=True)
        chosen_B, rejected_B = outputs.log_probs.float().sum(dim=1).chunk(2)  # noqa: N806 - shape suffix
        reference = self.model if self.ref_model is None else self.ref_model
        from_chosen_B, from_rejected_B = self.compute_ref_log_probs(reference, inputs)  # noqa: N806
        margins_B = self.beta * ((chosen_B - from_chosen_B) - (rejected_B - from_rejected_B))  # noqa: N806
        return {
            "weight": torch.ones_like(margins_B),
            "loss": -F.logsigmoid(margins_B),
            "rewards/accuracies": (margins_B > 0).float(),
            "rewards/margins": margins_B,
        }


def columns(rows: list[Any]) -> Mapping[str, list[list[int]]]:
    """Return `prompt_ids`, `chosen_ids` and `rejected_ids`, one list of token ids a row."""
    return {name: [list(getattr(row, name)) for row in rows] for name in ("prompt_ids", "chosen_ids", "rejected_ids")}


def make_trainer(
    request: TrainingRequest,
    shared: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    pad_token_id: int,
    on_message: Callable[[str], None],
) -> Any:
    """Build the trainer with its reference model.

    With a new adapter the reference is the model with the adapter switched off. When every weight moves, the reference
    is a copy; for an adapter that is trained further, TRL makes one.
    """
    del pad_token_id, on_message
    assert isinstance(request.method, DPO)
    arguments = DPOConfig(
        **options, beta=request.method.beta, loss_type=["sigmoid"], disable_dropout=True, precompute_ref_log_probs=False
    )
    reference = None if request.tuning.adapts else copy.deepcopy(shared["model"])
    trainer = _RenderedDPOTrainer(**shared, args=arguments, ref_model=reference)
    copy_trained_rows_to_reference(trainer.model)
    return trainer
