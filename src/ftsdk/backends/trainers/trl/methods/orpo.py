"""ORPO on rows that are rendered already."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own abbreviation

from ftsdk.backends.trainers.trl.experimental import ORPOConfig, ORPOTrainer
from ftsdk.backends.trainers.trl.forest_pairs import PairsShareTheirPrompt
from ftsdk.backends.trainers.trl.forest_steps import FOREST
from ftsdk.backends.trainers.trl.pairs import PadPairs, TakesRenderedPairs, make_pair_trainer, pair_columns
from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.backends.trainers.trl.resuming import ResumesExactly
from ftsdk.backends.trainers.trl.sharding.model import ShardsModel
from ftsdk.backends.trainers.trl.validation import MeanOverAllRows
from ftsdk.data.forest import Forest, TrainedRow
from ftsdk.spec import ORPO

__all__ = ["columns", "make_trainer"]

columns = pair_columns


class _RenderedORPOTrainer(  # pyright: ignore[reportUntypedBaseClass]
    ShardsModel, ResumesExactly, TakesRenderedPairs, PairsShareTheirPrompt, MeanOverAllRows, ORPOTrainer
):
    sequences_together: ClassVar[int] = 3
    """The chosen one a second time, with its prompt scored, too, for the supervised part: that costs no tokens."""
    _supervised_tokens = 1
    """Of the step."""

    def sequences_of_pair(self, prompt: list[int], chosen: list[int], rejected: list[int]) -> list[TrainedRow]:
        """Return the two sequences, and the first one with all of its tokens scored, which isn't read again."""
        whole = TrainedRow.of([*prompt, *chosen], [True] * (len(prompt) + len(chosen)))
        return [*super().sequences_of_pair(prompt, chosen, rejected), dataclasses.replace(whole, length=0)]

    def before_pieces(self, model: Any, inputs: Mapping[str, Any], sequences: Sequence[TrainedRow]) -> None:
        """Count what the supervised part of the loss divides by."""
        del model, inputs
        self._supervised_tokens = max(1, sum(len(whole.targets) for whole in sequences[2::3]))

    def loss_of_piece(self, model: Any, inputs: Mapping[str, Any], num_items_in_batch: Any) -> torch.Tensor:
        """Return the loss (ORPO, equations 6 and 7): a mean over the tokens of the step, and one over its pairs."""
        sums_P, _, bonus_P, _, _ = self._parts_of_forest(model, inputs[FOREST])  # noqa: N806 - shape suffix
        return sums_P.sum() / self._supervised_tokens - bonus_P.sum() / num_items_in_batch

    def _parts_of_forest(self, model: Any, forest: Forest) -> tuple[torch.Tensor, ...]:
        """Return for each pair: sum and mean of the supervised cross-entropy, the bonus, and both rewards."""
        sums_S, counts_S = self.sums_of_forest(model, forest), self.targets_by_sequence(forest)  # noqa: N806
        chosen_P, rejected_P, whole_P = (-sums_S / counts_S).view(-1, 3).unbind(dim=1)  # noqa: N806 - shape suffix
        bonus_P, reward_P, other_P, *_ = self.odds_ratio_loss(chosen_P, rejected_P)  # noqa: N806
        return sums_S[2::3], -whole_P, bonus_P, reward_P, other_P

    def row_sums(self, model: Any, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Return the loss, accuracy and margin of each pair (ORPO, equations 6 and 7)."""
        if self.most_tokens is not None:
            found_BN = self.sums_of_pairs(  # noqa: N806 - shape suffix
                self.sequences_of_batch(inputs),
                lambda forest: torch.stack(self._parts_of_forest(model, forest), dim=1),
            )
            _, means_B, bonus_B, reward_B, other_B = found_BN.unbind(dim=1)  # noqa: N806
        else:
            chosen_B, rejected_B, logits_BTV, *_ = self.concatenated_forward(model, inputs)  # noqa: N806
            bonus_B, reward_B, other_B, *_ = self.odds_ratio_loss(chosen_B, rejected_B)  # noqa: N806
            means_B = _means_of_chosen(inputs, logits_BTV)  # noqa: N806
        return {
            "weight": torch.ones_like(means_B),
            "loss": means_B - bonus_B,
            "rewards/accuracies": (reward_B > other_B).float(),
            "rewards/margins": reward_B - other_B,
        }


def _means_of_chosen(inputs: Mapping[str, Any], logits_BTV: torch.Tensor) -> torch.Tensor:  # noqa: N803
    """Return the mean cross-entropy of all tokens of each chosen sequence."""
    targets_BT = inputs["chosen_input_ids"].masked_fill(inputs["chosen_attention_mask"] == 0, -100)[:, 1:]  # noqa: N806
    # Logits are padded to the longer of the two sides.
    logits_BVT = logits_BTV[:, : targets_BT.shape[1]].float().transpose(1, 2)  # noqa: N806
    tokens_BT = F.cross_entropy(logits_BVT, targets_BT, reduction="none")  # noqa: N806
    return tokens_BT.sum(dim=1) / (targets_BT != -100).sum(dim=1)


def make_trainer(
    request: TrainingRequest,
    shared: Mapping[str, Any],
    options: Mapping[str, Any],
    *,
    pad_token_id: int,
    on_message: Callable[[str], None],
) -> Any:
    """Build the trainer."""
    method = request.method
    assert isinstance(method, ORPO)
    return make_pair_trainer(
        _RenderedORPOTrainer,
        lambda common: ORPOConfig(**common, beta=method.beta),
        request,
        shared,
        options,
        collator=PadPairs(pad_token_id),
        on_message=on_message,
    )
