"""Supervised fine-tuning with a loss that scores what is trained, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own abbreviation
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from ftsdk.backends.trainers.trl.fitting_batches import HalvesBatches
from ftsdk.backends.trainers.trl.forest_steps import FOREST, ComputesSharedTokensOnce
from ftsdk.backends.trainers.trl.order import StepsSortedByBeginning, StepsSortedByLength
from ftsdk.backends.trainers.trl.packing import options_of_packed_rows, tokens_at_once
from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.backends.trainers.trl.resuming import ResumesExactly
from ftsdk.backends.trainers.trl.rows import IGNORED, PadToLongest, tokens_of
from ftsdk.backends.trainers.trl.sharding.model import ShardsModel
from ftsdk.backends.trainers.trl.validation import MeanOverAllRows
from ftsdk.data.forest import TrainedRow
from ftsdk.errors import MissingExtraError
from ftsdk.spec import Privacy

__all__ = ["RenderedSFTTrainer", "columns", "losses_of_trained_tokens", "make_trainer"]


class RenderedSFTTrainer(  # pyright: ignore[reportUntypedBaseClass]
    ShardsModel, ResumesExactly, ComputesSharedTokensOnce, HalvesBatches, MeanOverAllRows, SFTTrainer
):
    """TRL's trainer, but for the order of the rows, and for the loss where it has no fused kernel.

    On devices without Triton, TRL 1.16 projects every position to the vocabulary, prompt and padding included
    (`trl/trainer/utils.py`, `add_fused_lm_head`). Of 57 tokens in a short support mail 2 or 3 are trained; the others
    needn't be projected.
    """

    has_virtual_tokens = False
    """Whether a tuning puts positions before every row, which our own loss doesn't count."""

    def sequences_of_batch(self, inputs: Mapping[str, Any]) -> list[TrainedRow]:
        """Return the rows of a padded batch."""
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        padded = zip(lengths, inputs["input_ids"].tolist(), inputs["labels"].tolist(), strict=True)
        return [_row(ids[:length], labels[:length]) for length, ids, labels in padded]

    def sequences_of_rows(self, dataset: Any, rows: Sequence[int]) -> list[TrainedRow]:
        """Return some rows of the data."""
        ids, labels = tokens_of(dataset, "input_ids"), tokens_of(dataset, "labels")
        return [_row(ids[n], labels[n]) for n in rows]

    def items_of(self, sequences: Sequence[TrainedRow]) -> int:
        """Return the trained tokens, of all processes together. Only models that can't be told them need this."""
        own = max(1, sum(len(row.targets) for row in sequences))
        return own * self.accelerator.num_processes if self.args.average_tokens_across_devices else own

    def _get_train_sampler(self, train_dataset: Any = None) -> StepsSortedByLength:
        """Return an order of our own: transformers' `group_by_length` would change which rows share a step."""
        rows: Any = self.train_dataset if train_dataset is None else train_dataset
        step_rows = self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        ids_N, seed = tokens_of(rows, "input_ids"), self.args.data_seed or 0  # noqa: N806 - shape suffix
        if self.most_tokens is not None:
            return StepsSortedByBeginning(ids_N, step_rows=step_rows, seed=seed, processes=self.args.world_size)
        return StepsSortedByLength(ids_N.lengths, step_rows=step_rows, seed=seed)

    def items_of_batch(self, inputs: Mapping[str, Any]) -> Any:
        """Return the trained tokens of a batch, which a mean divides by. Only models that can't be told need this."""
        return (inputs["labels"][:, 1:] != IGNORED).sum().clamp(min=1)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the mean cross-entropy of the trained tokens over the whole optimizer step, as TRL does."""
        if FOREST in inputs or return_outputs or self._takes_trls_loss(inputs["labels"]) or self.aux_loss_enabled:
            return super().compute_loss(
                model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch
            )
        losses_N, chosen_BK = losses_of_trained_tokens(model, inputs)  # noqa: N806
        return self._mean(losses_N.sum(), num_items_in_batch, own=chosen_BK.sum())

    def loss_of_piece(self, model: Any, inputs: Mapping[str, Any], num_items_in_batch: Any) -> torch.Tensor:
        """Return the mean cross-entropy of the trained tokens over the whole optimizer step."""
        losses_N = self.losses_of_forest(model, inputs[FOREST])  # noqa: N806 - shape suffix
        return self._mean(losses_N.sum(), num_items_in_batch, own=len(losses_N))

    def _takes_trls_loss(self, labels_BT: torch.Tensor) -> bool:  # noqa: N803 - shape suffix
        # TRL's kernel would read the head's weights beside the model's forward pass, where shards aren't gathered.
        return self.has_virtual_tokens or (labels_BT.device.type == "cuda" and not self.is_sharded)

    def _mean(self, total: Any, num_items_in_batch: Any, *, own: Any) -> Any:
        if num_items_in_batch is None:
            return total / max(own, 1)
        loss = total / num_items_in_batch
        # The count is over all processes, and DDP takes the mean of their gradients.
        return loss * self.accelerator.num_processes if self.args.average_tokens_across_devices else loss

    def row_sums(self, model: Any, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Return each row's trained tokens and the sum of their cross-entropy."""
        is_trained_BT = inputs["labels"][:, 1:] != IGNORED  # noqa: N806 - shape suffix
        if self.most_tokens is not None:
            sums_B = self.sequence_sums(  # noqa: N806
                self.sequences_of_batch(inputs), lambda forest: self.sums_of_forest(model, forest)
            )
            return {"weight": is_trained_BT.sum(dim=1), "loss": sums_B}
        if self._takes_trls_loss(is_trained_BT):
            sums_B = -model(**inputs, use_cache=False, fused_lm_head=True).log_probs.float().sum(dim=1)  # noqa: N806
        else:
            losses_N, chosen_BK = losses_of_trained_tokens(model, inputs)  # noqa: N806
            sums_B = losses_N.new_zeros(chosen_BK.shape).masked_scatter(chosen_BK, losses_N).sum(dim=1)  # noqa: N806
        return {"weight": is_trained_BT.sum(dim=1), "loss": sums_B}


def losses_of_trained_tokens(model: Any, inputs: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the cross-entropy of the N trained tokens, and a mask of where they are among the projected positions."""
    targets_BT = inputs["labels"][:, 1:]  # noqa: N806 - shape suffix
    is_trained_BT = targets_BT != IGNORED  # noqa: N806
    # Positions whose next token is trained in any row: K of them are projected to the vocabulary.
    kept_K = is_trained_BT.any(dim=0).nonzero().squeeze(1)  # noqa: N806
    # No attention mask: rows are padded on the right, where a causal model's real tokens never look, and without one
    # attention takes its fastest path (8% of a step on a CPU).
    logits_BKV = model(input_ids=inputs["input_ids"], logits_to_keep=kept_K, use_cache=False).logits  # noqa: N806
    chosen_BK = is_trained_BT[:, kept_K]  # noqa: N806
    losses_N = F.cross_entropy(  # noqa: N806
        logits_BKV[chosen_BK].float(), targets_BT[:, kept_K][chosen_BK], reduction="none"
    )
    return losses_N, chosen_BK


def _row(ids: list[int], labels: list[int]) -> TrainedRow:
    return TrainedRow.of(ids, [label != IGNORED for label in labels])


def columns(rows: list[Any]) -> Mapping[str, list[list[int]]]:
    """Return `input_ids` and `labels`, one list of token ids a row."""
    return {
        "input_ids": [list(row.input_ids) for row in rows],
        "labels": [
            [token if is_trained else IGNORED for token, is_trained in zip(row.input_ids, row.trained, strict=True)]
            for row in rows
        ],
    }


def make_trainer(
    request: TrainingRequest,
    shared: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    pad_token_id: int,
    on_message: Callable[[str], None],
) -> Any:
    """Build the trainer."""
    if request.privacy is not None:
        return _make_private_trainer(request, request.privacy, shared, options, pad_token_id, on_message)
    longest = max(tokens_of(shared["train_dataset"], "input_ids").lengths)
    most_tokens = tokens_at_once(request, shared["model"], longest=longest, on_message=on_message)
    if most_tokens is not None:
        options = options_of_packed_rows(request, options)
    trainer = RenderedSFTTrainer(**shared, args=_config(request, options), data_collator=PadToLongest(pad_token_id))
    trainer.on_smaller_batches = on_message
    trainer.has_virtual_tokens = request.tuning.virtual_tokens is not None
    if most_tokens is not None:
        trainer.compute_shared_tokens_once(most_tokens, on_message)
    return trainer


def _config(request: TrainingRequest, options: Mapping[str, Any]) -> SFTConfig:
    return SFTConfig(
        **options,
        # The rows are rendered; TRL is to leave them alone.
        dataset_kwargs={"skip_prepare_dataset": True},
        packing=False,
        padding_free=False,
        loss_type="nll",
        completion_only_loss=False,
        assistant_only_loss=False,
        neftune_noise_alpha=getattr(request.method, "neftune_alpha", None),
    )


def _make_private_trainer(
    request: TrainingRequest,
    privacy: Privacy,
    shared: Mapping[str, Any],
    options: Mapping[str, Any],
    pad_token_id: int,
    on_message: Callable[[str], None],
) -> Any:
    try:
        from ftsdk.backends.trainers.trl.privacy.trainer import PrivateSFTTrainer
    except ImportError as error:
        raise MissingExtraError(
            "local,privacy", needed_for="training with differential privacy", missing=error.name
        ) from error
    plain = {
        # Rows go through the model in parts of the trainer's own making.
        "gradient_accumulation_steps": 1,
        "max_grad_norm": 0.0,
        # Norms that are rounded to 16 bits bound nothing.
        "bf16": False,
        # Recomputed layers don't see what the gradients of single rows are made of (opacus 1.6).
        **{name: None if name.endswith("kwargs") else False for name in options if "checkpointing" in name},
    }
    trainer = PrivateSFTTrainer(
        **shared, args=_config(request, {**options, **plain}), data_collator=PadToLongest(pad_token_id)
    )
    trainer.keep_private(privacy, batch_size=request.batch_size, on_message=on_message)
    return trainer
