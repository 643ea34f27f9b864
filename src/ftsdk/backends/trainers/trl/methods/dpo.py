"""DPO on rows that are rendered already."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own abbreviation
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer

from ftsdk.backends.trainers.trl.fitting_batches import HalvesBatches
from ftsdk.backends.trainers.trl.forest_pairs import PairsShareTheirPrompt, completions_of_batch
from ftsdk.backends.trainers.trl.forest_reference import RemembersReference
from ftsdk.backends.trainers.trl.forest_steps import FOREST
from ftsdk.backends.trainers.trl.packing import options_of_packed_rows, tokens_at_once
from ftsdk.backends.trainers.trl.pairs import longest_of_pairs
from ftsdk.backends.trainers.trl.reference_adapter import copy_trained_rows_to_reference
from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.backends.trainers.trl.resuming import ResumesExactly
from ftsdk.backends.trainers.trl.sharding.model import ShardsModel
from ftsdk.backends.trainers.trl.validation import MeanOverAllRows
from ftsdk.data.forest import Forest, TrainedRow
from ftsdk.spec import DPO

__all__ = ["RenderedDPOTrainer", "columns", "make_trainer"]


class RenderedDPOTrainer(  # pyright: ignore[reportUntypedBaseClass]
    ShardsModel, ResumesExactly, RemembersReference, PairsShareTheirPrompt, HalvesBatches, MeanOverAllRows, DPOTrainer
):
    """TRL's trainer renders rows itself and has no option against it (1.16).

    Ours come with `prompt_ids` and the rest. Where rows can be packed, the two answers of a pair share their prompt.
    """

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        del args, kwargs
        return dataset

    def sequences_of_batch(self, inputs: Mapping[str, Any]) -> list[TrainedRow]:
        """Return chosen and rejected sequences in turn, of a padded batch that has all chosen ones first."""
        found = completions_of_batch(inputs)
        pairs = zip(found[: len(found) // 2], found[len(found) // 2 :], strict=True)
        return [sequence for pair in pairs for sequence in pair]

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the loss, the mean over the pairs of the step."""
        loss = super().compute_loss(model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch)
        # TRL's is the mean over the pairs that it is given.
        return loss if return_outputs or FOREST in inputs else loss * self.part_share

    def loss_of_piece(self, model: Any, inputs: Mapping[str, Any], num_items_in_batch: Any) -> torch.Tensor:
        """Return the loss (DPO, equation 7), the mean over the pairs of the step."""
        margins_P = self._margins_of_forest(model, inputs[FOREST])  # noqa: N806 - shape suffix
        return -F.logsigmoid(margins_P).sum() / num_items_in_batch

    def _margins_of_forest(self, model: Any, forest: Forest) -> torch.Tensor:
        """Return beta times how much more the model has moved towards the chosen answer than to the rejected one."""
        reference_S = self.reference_of(forest)  # noqa: N806 - shape suffix
        # Cross-entropy is the negative log-probability.
        moved_S = reference_S - self.sums_of_forest(model, forest)  # noqa: N806
        return self.beta * (moved_S[0::2] - moved_S[1::2])

    def row_sums(self, model: Any, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Return the loss, accuracy and margin of each pair."""
        if self.most_tokens is not None:
            margins_B = self.sums_of_pairs(  # noqa: N806 - shape suffix
                self.sequences_of_batch(inputs), lambda forest: self._margins_of_forest(model, forest)
            )
        else:
            margins_B = self._padded_margins(model, inputs)  # noqa: N806
        return {
            "weight": torch.ones_like(margins_B),
            "loss": -F.logsigmoid(margins_B),
            "rewards/accuracies": (margins_B > 0).float(),
            "rewards/margins": margins_B,
        }

    def _padded_margins(self, model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
        kwargs = {name: value for name, value in inputs.items() if name != "completion_mask"}
        labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
        outputs = model(**kwargs, labels=labels, use_cache=False, fused_lm_head=True)
        chosen_B, rejected_B = outputs.log_probs.float().sum(dim=1).chunk(2)  # noqa: N806 - shape suffix
        reference = self.model if self.ref_model is None else self.ref_model
        from_chosen_B, from_rejected_B = self.compute_ref_log_probs(reference, inputs)  # noqa: N806
        return self.beta * ((chosen_B - from_chosen_B) - (rejected_B - from_rejected_B))


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
    del pad_token_id
    assert isinstance(request.method, DPO)
    longest = longest_of_pairs(shared["train_dataset"])
    most_tokens = tokens_at_once(request, shared["model"], longest=longest, on_message=on_message)
    if most_tokens is not None:
        options = options_of_packed_rows(request, options)
    arguments = DPOConfig(
        **options,
        beta=request.method.beta,
        loss_type=["sigmoid"],
        disable_dropout=not request.tuning.dropout,
        precompute_ref_log_probs=False,
    )
    reference = None if request.tuning.adapts else copy.deepcopy(shared["model"])
    trainer = RenderedDPOTrainer(**shared, args=arguments, ref_model=reference)
    trainer.on_smaller_batches = on_message
    copy_trained_rows_to_reference(trainer.model)
    if most_tokens is not None:
        trainer.compute_shared_tokens_once(most_tokens, on_message)
    return trainer
