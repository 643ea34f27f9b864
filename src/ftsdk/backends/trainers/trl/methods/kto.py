"""KTO on rows that are rendered already."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import KTOTrainer

from ftsdk.backends.trainers.trl.reference_adapter import copy_trained_rows_to_reference
from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.backends.trainers.trl.resuming import StopsWhenDone
from ftsdk.backends.trainers.trl.validation import MeanOverAllRows
from ftsdk.models.packed_attention import is_out_of_memory
from ftsdk.spec import KTO

__all__ = ["columns", "make_trainer", "with_other_answers"]


class _RenderedKTOTrainer(StopsWhenDone, MeanOverAllRows, KTOTrainer):  # pyright: ignore[reportUntypedBaseClass]
    """TRL's trainer renders rows itself and has no option against it (1.16).

    Ours come with `prompt_ids` and the rest.
    """

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        del args, kwargs
        return dataset

    def training_step(self, *arguments: Any, **options: Any) -> Any:
        """Add a micro-batch's gradients, or say why it can't be made smaller where the memory runs out."""
        try:
            return super().training_step(*arguments, **options)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise torch.OutOfMemoryError(
                f"out of memory; KTO compares the {self.args.per_device_train_batch_size} rows that go through the "
                "model together, so fewer at once would be another training: choose a smaller batch_size= or "
                "max_length="
            ) from error

    def row_sums(self, model: Any, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Return the loss and the reward of each row (KTO, equations 7 and 8).

        The KL term is that of the row's micro-batch, as in training.
        """
        reference = self.model if self.ref_model is None else self.ref_model
        references: Any = self.compute_ref_log_probs(reference, inputs)
        reference_B, reference_kl_B = references  # noqa: N806 - shape suffix
        ours_kl_B: Any = self._compute_kl_logps(model, inputs)  # noqa: N806
        kl_B = ours_kl_B - reference_kl_B  # noqa: N806
        gathered: Any = self.accelerator.gather_for_metrics(kl_B.mean())
        kl = gathered.mean().clamp(min=0)
        labels = inputs["input_ids"].masked_fill(inputs["completion_mask"] == 0, -100)
        outputs = model(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            labels=labels,
            use_cache=False,
            fused_lm_head=True,
        )
        ratio_B = outputs.log_probs.float().sum(dim=1) - reference_B  # noqa: N806
        is_good_B = inputs["label"]  # noqa: N806
        weight_B = torch.where(is_good_B, self.desirable_weight, self.undesirable_weight)  # noqa: N806
        surplus_B = torch.where(is_good_B, ratio_B - kl, kl - ratio_B)  # noqa: N806
        return {
            "weight": torch.ones_like(ratio_B),
            "loss": weight_B * (1 - torch.sigmoid(self.beta * surplus_B)),
            # The share of rows on the right side of the reference, and how far on average.
            "rewards/accuracies": ((ratio_B > 0) == is_good_B).float(),
            "rewards/margins": self.beta * torch.where(is_good_B, ratio_B, -ratio_B),
        }


def columns(rows: list[Any]) -> Mapping[str, list[Any]]:
    """Return `prompt_ids`, `completion_ids` and `label`."""
    firsts = [row.trained.index(True) for row in rows]
    return {
        "prompt_ids": [list(row.input_ids[:first]) for row, first in zip(rows, firsts, strict=True)],
        "completion_ids": [list(row.input_ids[first:]) for row, first in zip(rows, firsts, strict=True)],
        "label": [row.label for row in rows],
    }


def with_other_answers(rows: Any, micro_batch: int) -> Any:
    """Return the rows with another row's answer beside each, from which TRL estimates the KL term.

    As TRL's `_prepare_dataset` does (1.16): the answers of each micro-batch, moved on by one row.
    """

    def moved_on(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        answers = batch["completion_ids"]
        return {"KL_completion_ids": [answers[-1], *answers[:-1]]}

    return rows.map(
        moved_on,
        batched=True,
        batch_size=micro_batch,
        keep_in_memory=True,
        load_from_cache_file=False,
    )


def make_trainer(
    request: TrainingRequest,
    shared: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    pad_token_id: int,
    on_message: Callable[[str], None],
) -> Any:
    """Build the trainer with its reference model, as for DPO.

    Rows are shuffled once: which of them are compared is fixed with their order, which each epoch repeats.
    """
    del pad_token_id
    method = request.method
    assert isinstance(method, KTO)
    _warn_of_weights(method, shared["train_dataset"]["label"], on_message)
    sequential: dict[str, Any] = {**options, "train_sampling_strategy": "sequential"}
    arguments = KTOConfig(
        **sequential,
        beta=method.beta,
        desirable_weight=method.desirable_weight,
        undesirable_weight=method.undesirable_weight,
        loss_type="kto",
        disable_dropout=not request.tuning.dropout,
        precompute_ref_log_probs=False,
    )
    prepared: dict[str, Any] = {
        name: None if shared[name] is None else with_other_answers(rows, request.micro_batch_size)
        for name, rows in (
            ("train_dataset", shared["train_dataset"].shuffle(seed=request.seed, keep_in_memory=True)),
            ("eval_dataset", shared["eval_dataset"]),
        )
    }
    reference = None if request.tuning.adapts else copy.deepcopy(shared["model"])
    trainer = _RenderedKTOTrainer(**(dict(shared) | prepared), args=arguments, ref_model=reference)
    copy_trained_rows_to_reference(trainer.model)
    return trainer


def _warn_of_weights(method: KTO, labels: list[bool], on_message: Callable[[str], None]) -> None:
    """Say so where the weights are off what the paper recommends (equation 8)."""
    good, bad = sum(labels), len(labels) - sum(labels)
    if not good or not bad:
        on_message(f"all {len(labels):,} rows are {'good' if good else 'bad'} answers; KTO learns from both kinds")
        return
    ratio = method.desirable_weight * good / (method.undesirable_weight * bad)
    # A little more room than 1 to 4/3: a ratio beside it by rounding is no fault.
    if not 0.95 <= ratio <= 1.4:
        on_message(
            f"good answers weigh {ratio:.2f} times what bad ones do ({good:,} good, {bad:,} bad rows); the paper "
            f"recommends 1 to 1.33: undesirable_weight={method.desirable_weight * good / bad / 1.15:.2g} gives 1.15"
        )
