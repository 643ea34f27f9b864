"""KTO on rows that are rendered already."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import KTOTrainer

from ftsdk.backends.trainers.trl.forest_pairs import completion, completions_of_batch
from ftsdk.backends.trainers.trl.forest_reference import RemembersReference
from ftsdk.backends.trainers.trl.forest_steps import FOREST, PLACES
from ftsdk.backends.trainers.trl.packing import options_of_packed_rows, tokens_at_once
from ftsdk.backends.trainers.trl.reference_adapter import copy_trained_rows_to_reference
from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.backends.trainers.trl.resuming import ResumesExactly
from ftsdk.backends.trainers.trl.sharding.model import ShardsModel
from ftsdk.backends.trainers.trl.validation import MeanOverAllRows
from ftsdk.data.forest import Forest, TrainedRow
from ftsdk.models.packed_attention import is_out_of_memory
from ftsdk.spec import KTO

__all__ = ["columns", "make_trainer", "with_other_answers"]


class _RenderedKTOTrainer(  # pyright: ignore[reportUntypedBaseClass]
    ShardsModel, ResumesExactly, RemembersReference, MeanOverAllRows, KTOTrainer
):
    """TRL's trainer renders rows itself and has no option against it (1.16).

    Ours come with `prompt_ids` and the rest. Where rows can be packed, a step is one batch, in which each
    `compared_rows` rows have a KL term of their own, as in TRL's micro-batches.
    """

    has_uniform_gradients: ClassVar[bool] = False
    compared_rows = 1
    _step: dict[str, torch.Tensor]
    """Of each row of the step: its KL term, whether it is a good answer, and its weight in the loss."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        del args, kwargs
        return dataset

    def training_step(self, *arguments: Any, **options: Any) -> Any:
        """Add a batch's gradients, or say why a padded one can't be made smaller where the memory runs out."""
        try:
            return super().training_step(*arguments, **options)
        except (RuntimeError, MemoryError) as error:
            if self.most_tokens is not None or not is_out_of_memory(error):
                raise
            raise torch.OutOfMemoryError(
                f"out of memory; KTO compares the {self.args.per_device_train_batch_size} rows that go through the "
                "model together, so fewer at once would be another training: choose a smaller batch_size= or "
                "max_length="
            ) from error

    def sequences_of_batch(self, inputs: Mapping[str, Any]) -> list[TrainedRow]:
        """Return the rows of a padded batch, without the answers of other rows."""
        return completions_of_batch(inputs)

    def sequences_of_rows(self, dataset: Any, rows: Sequence[int]) -> list[TrainedRow]:
        """Return some rows of the data."""
        return [completion(dataset[n]["prompt_ids"], dataset[n]["completion_ids"]) for n in rows]

    def items_of(self, sequences: Sequence[TrainedRow]) -> int:
        """Return the rows."""
        return len(sequences)

    def before_pieces(self, model: Any, inputs: Mapping[str, Any], sequences: Sequence[TrainedRow]) -> None:
        """Estimate the KL terms of a step, which have no gradient."""
        model.train()
        is_good_B = inputs["label"]  # noqa: N806 - shape suffix
        parts = torch.zeros(len(sequences)).split(self.compared_rows)
        # A mean over micro-batches of the means over their rows, of which the last may have fewer.
        shares_B = torch.cat([part + 1 / (len(part) * len(parts)) for part in parts])  # noqa: N806
        with torch.no_grad(), self.compute_loss_context_manager():
            kl_B = self._kl_of_forest(model, inputs)  # noqa: N806
        weights_B = torch.where(is_good_B, self.desirable_weight, self.undesirable_weight)  # noqa: N806
        self._step = {"kl": kl_B, "is_good": is_good_B, "weight": shares_B * weights_B}

    def loss_of_piece(self, model: Any, inputs: Mapping[str, Any], num_items_in_batch: Any) -> torch.Tensor:
        """Return the loss (KTO, equations 7 and 8), the mean over the rows of the step."""
        del num_items_in_batch  # it is in the weights
        kl_S, is_good_S, weight_S = (self._step[name][inputs[PLACES]] for name in ("kl", "is_good", "weight"))  # noqa: N806
        ratio_S = self._ratios_of_forest(model, inputs[FOREST])  # noqa: N806
        return (weight_S * self._losses(ratio_S, kl_S, is_good_S)).sum()

    def _ratios_of_forest(self, model: Any, forest: Forest) -> torch.Tensor:
        """Return how much more likely each sequence has become than under the reference."""
        # Cross-entropy is the negative log-probability.
        return self.reference_of(forest) - self.sums_of_forest(model, forest)

    def _kl_of_forest(self, model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
        """Return the KL term of each row, the same for all that are compared."""
        others = completions_of_batch(inputs, "KL_")
        ratio_B = self.sequence_sums(others, lambda forest: self._ratios_of_forest(model, forest))  # noqa: N806
        parts = ratio_B.split(self.compared_rows)
        own = torch.stack([part.mean() for part in parts])
        gathered: Any = self.accelerator.gather(own)
        terms = gathered.view(-1, len(own)).mean(dim=0).clamp(min=0)
        return torch.cat([term.expand(len(part)) for term, part in zip(terms, parts, strict=True)])

    def _losses(self, ratio_B: torch.Tensor, kl: torch.Tensor, is_good_B: torch.Tensor) -> torch.Tensor:  # noqa: N803
        """Return each row's loss without its weight."""
        return 1 - torch.sigmoid(self.beta * torch.where(is_good_B, ratio_B - kl, kl - ratio_B))

    def row_sums(self, model: Any, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Return the loss and the reward of each row (KTO, equations 7 and 8).

        The KL term is that of the row's micro-batch, as in training.
        """
        is_good_B = inputs["label"]  # noqa: N806 - shape suffix
        if self.most_tokens is not None:
            kl = self._kl_of_forest(model, inputs)
            ratio_B = self.sequence_sums(  # noqa: N806
                self.sequences_of_batch(inputs), lambda forest: self._ratios_of_forest(model, forest)
            )
        else:
            ratio_B, kl = self._padded_ratios(model, inputs)  # noqa: N806
        weight_B = torch.where(is_good_B, self.desirable_weight, self.undesirable_weight)  # noqa: N806
        return {
            "weight": torch.ones_like(ratio_B),
            "loss": weight_B * self._losses(ratio_B, kl, is_good_B),
            # The share of rows on the right side of the reference, and how far on average.
            "rewards/accuracies": ((ratio_B > 0) == is_good_B).float(),
            "rewards/margins": self.beta * torch.where(is_good_B, ratio_B, -ratio_B),
        }

    def _padded_ratios(self, model: Any, inputs: Mapping[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return what `_ratios_of_forest` does, and the KL term of the batch."""
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
        return outputs.log_probs.float().sum(dim=1) - reference_B, kl


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
    rows, micro_batch = shared["train_dataset"], request.micro_batch_size
    _warn_of_weights(method, rows["label"], on_message)
    answers = zip(rows["prompt_ids"], rows["completion_ids"], strict=True)
    longest = max(len(prompt) + len(answer) for prompt, answer in answers) + max(map(len, rows["completion_ids"]))
    most_tokens = tokens_at_once(request, shared["model"], longest=longest, on_message=on_message)
    if most_tokens is not None:
        options = options_of_packed_rows(request, options)
        # Whole micro-batches.
        options["per_device_eval_batch_size"] -= options["per_device_eval_batch_size"] % micro_batch
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
        name: None if rows is None else with_other_answers(rows, micro_batch)
        for name, rows in (
            ("train_dataset", shared["train_dataset"].shuffle(seed=request.seed, keep_in_memory=True)),
            ("eval_dataset", shared["eval_dataset"]),
        )
    }
    if most_tokens is not None and request.processes > 1:
        order = _micro_batches_by_process(len(rows), micro_batch, request.accumulation_steps, request.processes)
        prepared["train_dataset"] = prepared["train_dataset"].select(order, keep_in_memory=True)
    reference = None if request.tuning.adapts else copy.deepcopy(shared["model"])
    trainer = _RenderedKTOTrainer(**(dict(shared) | prepared), args=arguments, ref_model=reference)
    copy_trained_rows_to_reference(trainer.model)
    if most_tokens is not None:
        trainer.compared_rows = micro_batch
        trainer.compute_shared_tokens_once(most_tokens, on_message)
    return trainer


def _micro_batches_by_process(rows: int, micro_batch: int, micro_steps: int, processes: int) -> list[int]:
    """Return an order in which each process gets its micro-batches of a step at once, the same ones as one by one.

    The KL terms of micro-batches at the same place are averaged over the processes.
    """
    step = micro_batch * micro_steps * processes
    order: list[int] = []
    for start in range(0, rows - rows % step, step):
        for process in range(processes):
            for n in range(micro_steps):
                first = start + (n * processes + process) * micro_batch
                order += range(first, first + micro_batch)
    return [*order, *range(len(order), rows)]


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
