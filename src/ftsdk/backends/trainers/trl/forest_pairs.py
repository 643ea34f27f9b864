"""Preference pairs whose two answers share their prompt, and what rows of completions share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any, ClassVar, cast

import torch

from ftsdk.backends.trainers.trl.forest_steps import ComputesSharedTokensOnce
from ftsdk.backends.trainers.trl.order import StepsSortedByBeginning
from ftsdk.data.forest import Forest, TrainedRow

__all__ = ["PairsShareTheirPrompt", "completion", "completions_of_batch"]


class PairsShareTheirPrompt(ComputesSharedTokensOnce):
    """A mixin for trainers on `prompt_ids`, `chosen_ids` and `rejected_ids`."""

    sequences_together: ClassVar[int] = 2
    has_uniform_gradients: ClassVar[bool] = False

    def sequences_of_pair(self, prompt: list[int], chosen: list[int], rejected: list[int]) -> list[TrainedRow]:
        """Return the sequences of a pair, as many as are kept together."""
        return [completion(prompt, chosen), completion(prompt, rejected)]

    def sequences_of_rows(self, dataset: Any, rows: Sequence[int]) -> list[TrainedRow]:
        """Return the sequences of some pairs of the data."""
        pairs = ([dataset[n][name] for name in ("prompt_ids", "chosen_ids", "rejected_ids")] for n in rows)
        return [sequence for pair in pairs for sequence in self.sequences_of_pair(*pair)]

    def items_of(self, sequences: Sequence[TrainedRow]) -> int:
        """Return the pairs."""
        return len(sequences) // self.sequences_together

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Return TRL's order; with several processes, pairs of a step change places until all have as much to do."""
        trainer = cast("Any", self)
        arguments, rows = trainer.args, trainer.train_dataset if train_dataset is None else train_dataset
        if self.most_tokens is None or arguments.world_size == 1:
            return cast("Any", super())._get_train_sampler(train_dataset)
        sides = list(zip(rows["chosen_ids"], rows["rejected_ids"], strict=True))
        return StepsSortedByBeginning(
            [[*prompt, *chosen] for prompt, (chosen, _) in zip(rows["prompt_ids"], sides, strict=True)],
            step_rows=arguments.per_device_train_batch_size * arguments.world_size,
            seed=arguments.data_seed or 0,
            processes=arguments.world_size,
            besides_N=[len(rejected) - _alike(chosen, rejected) for chosen, rejected in sides],
        )

    def sums_of_pairs(self, sequences: Sequence[TrainedRow], sums: Callable[[Forest], torch.Tensor]) -> torch.Tensor:
        """Return numbers of pairs that go through the model without gradients, piece by piece.

        Args:
            sequences: Those of P pairs.
            sums: Returns the numbers of the pairs of a piece, shape (its pairs,) or (its pairs, numbers).

        Returns:
            Shape (P,) or (P, numbers).
        """
        together = self.sequences_together
        return self.sequence_sums(sequences, lambda forest: sums(forest).repeat_interleave(together, dim=0))[::together]


def completion(prompt: list[int], answer: list[int]) -> TrainedRow:
    """Return a sequence whose answer is scored."""
    return TrainedRow.of([*prompt, *answer], [False] * len(prompt) + [True] * len(answer))


def completions_of_batch(inputs: Mapping[str, Any], prefix: str = "") -> list[TrainedRow]:
    """Return the sequences of a padded batch of TRL's collators for DPO and KTO.

    Args:
        inputs: `input_ids`, `attention_mask` and `completion_mask`, each of shape (sequences, longest).
        prefix: Of these keys.
    """
    ids, mask, is_scored = (inputs[f"{prefix}{name}"] for name in ("input_ids", "attention_mask", "completion_mask"))
    padded = zip(mask.sum(dim=1).tolist(), ids.tolist(), is_scored.tolist(), strict=True)
    return [TrainedRow.of(tokens[:length], list(map(bool, scored[:length]))) for length, tokens, scored in padded]


def _alike(one: Sequence[int], other: Sequence[int]) -> int:
    """Return with how many equal numbers two lists begin."""
    return sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(one, other, strict=False)))
