"""DPO on rows that are rendered already."""

from __future__ import annotations

import copy
import hashlib
from array import array
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own abbreviation
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.utils import use_adapter

from ftsdk.backends.trainers.trl.fitting_batches import HalvesBatches
from ftsdk.backends.trainers.trl.forest_steps import FOREST, ComputesSharedTokensOnce
from ftsdk.backends.trainers.trl.packing import options_of_packed_rows, tokens_at_once
from ftsdk.backends.trainers.trl.reference_adapter import copy_trained_rows_to_reference
from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.backends.trainers.trl.resuming import StopsWhenDone
from ftsdk.backends.trainers.trl.validation import MeanOverAllRows
from ftsdk.data.forest import Forest, TrainedRow
from ftsdk.spec import DPO

__all__ = ["RenderedDPOTrainer", "columns", "make_trainer"]


class RenderedDPOTrainer(  # pyright: ignore[reportUntypedBaseClass]
    StopsWhenDone, ComputesSharedTokensOnce, HalvesBatches, MeanOverAllRows, DPOTrainer
):
    """TRL's trainer renders rows itself and has no option against it (1.16).

    Ours come with `prompt_ids` and the rest. Where rows can be packed, the two answers of a pair share their prompt.
    """

    sequences_together: ClassVar[int] = 2
    has_uniform_gradients: ClassVar[bool] = False
    _reference_sums: dict[bytes, torch.Tensor]
    """By sequence. The reference doesn't change, so that each sequence goes through it once a training."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        del args, kwargs
        return dataset

    def compute_shared_tokens_once(self, most_tokens: int, on_message: Callable[[str], None]) -> None:
        """Cut batches into pieces of a forest from now on."""
        self._reference_sums = {}
        super().compute_shared_tokens_once(most_tokens, on_message)

    def sequences_of_batch(self, inputs: Mapping[str, Any]) -> list[TrainedRow]:
        """Return chosen and rejected sequences in turn, of a padded batch that has all chosen ones first."""
        lengths = inputs["attention_mask"].sum(dim=1).tolist()
        padded = zip(lengths, inputs["input_ids"].tolist(), inputs["completion_mask"].tolist(), strict=True)
        found = [TrainedRow.of(ids[:length], list(map(bool, mask[:length]))) for length, ids, mask in padded]
        pairs = zip(found[: len(found) // 2], found[len(found) // 2 :], strict=True)
        return [sequence for pair in pairs for sequence in pair]

    def sequences_of_rows(self, dataset: Any, rows: Sequence[int]) -> list[TrainedRow]:
        """Return the two sequences of some pairs of the data."""
        return [sequence for n in rows for sequence in _sequences_of(dataset[n])]

    def items_of(self, sequences: Sequence[TrainedRow]) -> int:
        """Return the pairs."""
        return len(sequences) // self.sequences_together

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the loss (DPO, equation 7), the mean over the pairs of the step."""
        if FOREST not in inputs:
            loss = super().compute_loss(
                model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch
            )
            # TRL's is the mean over the pairs that it is given.
            return loss if return_outputs else loss * self.part_share
        margins_P = self._margins_of_forest(model, inputs[FOREST])  # noqa: N806 - shape suffix
        return -F.logsigmoid(margins_P).sum() / num_items_in_batch

    def _margins_of_forest(self, model: Any, forest: Forest) -> torch.Tensor:
        """Return beta times how much more the model has moved towards the chosen answer than to the rejected one."""
        reference_S = self._reference_of(forest)  # noqa: N806 - shape suffix
        # Cross-entropy is the negative log-probability.
        moved_S = reference_S - self.sums_of_forest(model, forest)  # noqa: N806
        return self.beta * (moved_S[0::2] - moved_S[1::2])

    def _reference_of(self, forest: Forest) -> torch.Tensor:
        """Return the cross-entropy of each sequence under the reference, computed where it isn't known yet."""
        keys = _keys(forest)
        if not all(key in self._reference_sums for key in keys):
            with torch.no_grad():
                if self.ref_model is None:
                    own = self.accelerator.unwrap_model(self.model)
                    with use_adapter(own, adapter_name="ref" if "ref" in own.peft_config else None):
                        sums_S = self.sums_of_forest(own, forest)  # noqa: N806 - shape suffix
                else:
                    sums_S = self.sums_of_forest(self.ref_model, forest)  # noqa: N806
            self._reference_sums.update(zip(keys, sums_S.unbind(), strict=True))
        return torch.stack([self._reference_sums[key] for key in keys])

    def row_sums(self, model: Any, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Return the loss, accuracy and margin of each pair."""
        if self.most_tokens is not None:
            sequences = self.sequences_of_batch(inputs)

            def of_sequences(forest: Forest) -> torch.Tensor:
                return self._margins_of_forest(model, forest).repeat_interleave(2)

            margins_B = self.sequence_sums(sequences, of_sequences)[0::2]  # noqa: N806 - shape suffix
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


def _sequences_of(row: Mapping[str, Any]) -> list[TrainedRow]:
    prompt: list[int] = row["prompt_ids"]
    return [
        TrainedRow.of(prompt + row[side], [False] * len(prompt) + [True] * len(row[side]))
        for side in ("chosen_ids", "rejected_ids")
    ]


def _keys(forest: Forest) -> list[bytes]:
    """Return for each sequence a digest of what its sum depends on."""
    scored: list[list[int]] = [[] for _ in forest.paths]
    for owner, target in zip(forest.owners, forest.targets, strict=True):
        scored[owner].append(target)
    read = ([forest.tokens[at] for at in forest.places(n)] for n in range(len(forest.paths)))
    numbers = (array("q", [len(tokens), *tokens, *targets]) for tokens, targets in zip(read, scored, strict=True))
    return [hashlib.blake2b(one.tobytes(), digest_size=16).digest() for one in numbers]


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
    rows = shared["train_dataset"]
    answers = zip(rows["prompt_ids"], rows["chosen_ids"], rows["rejected_ids"], strict=True)
    longest = max(len(prompt) + max(len(chosen), len(rejected)) for prompt, chosen, rejected in answers)
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
