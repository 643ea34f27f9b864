"""SimPO on rows that are rendered already: TRL's CPO with its loss, and nothing of CPO's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ftsdk.backends.trainers.trl.experimental import CPOConfig, CPOTrainer
from ftsdk.backends.trainers.trl.forest_pairs import PairsShareTheirPrompt
from ftsdk.backends.trainers.trl.forest_steps import FOREST
from ftsdk.backends.trainers.trl.pairs import PadPairs, TakesRenderedPairs, make_pair_trainer, pair_columns
from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.backends.trainers.trl.resuming import ResumesExactly
from ftsdk.backends.trainers.trl.sharding.model import ShardsModel
from ftsdk.backends.trainers.trl.validation import MeanOverAllRows
from ftsdk.data.forest import Forest
from ftsdk.spec import SimPO

__all__ = ["columns", "make_trainer"]

columns = pair_columns


class _RenderedSimPOTrainer(  # pyright: ignore[reportUntypedBaseClass]
    ShardsModel, ResumesExactly, TakesRenderedPairs, PairsShareTheirPrompt, MeanOverAllRows, CPOTrainer
):
    def loss_of_piece(self, model: Any, inputs: Mapping[str, Any], num_items_in_batch: Any) -> torch.Tensor:
        """Return the loss (SimPO, equation 6), the mean over the pairs of the step."""
        losses_P, _, _ = self._losses_of_forest(model, inputs[FOREST])  # noqa: N806 - shape suffix
        return losses_P.sum() / num_items_in_batch

    def _losses_of_forest(self, model: Any, forest: Forest) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return the loss of each pair, and the rewards of both answers."""
        means_S = -self.sums_of_forest(model, forest) / self.targets_by_sequence(forest)  # noqa: N806 - shape suffix
        return self.cpo_loss(means_S[0::2], means_S[1::2])

    def row_sums(self, model: Any, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Return the loss, accuracy and margin of each pair (SimPO, equation 6)."""
        if self.most_tokens is not None:
            found_BN = self.sums_of_pairs(  # noqa: N806 - shape suffix
                self.sequences_of_batch(inputs),
                lambda forest: torch.stack(self._losses_of_forest(model, forest), dim=1),
            )
            losses_B, reward_B, other_B = found_BN.unbind(dim=1)  # noqa: N806
        else:
            chosen_B, rejected_B, *_ = self.concatenated_forward(model, inputs)  # noqa: N806
            losses_B, reward_B, other_B = self.cpo_loss(chosen_B, rejected_B)  # noqa: N806
        return {
            "weight": torch.ones_like(losses_B),
            "loss": losses_B,
            "rewards/accuracies": (reward_B > other_B).float(),
            "rewards/margins": reward_B - other_B,
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
    method = request.method
    assert isinstance(method, SimPO)

    def arguments_of(common: dict[str, Any]) -> Any:
        # TRL's default of `cpo_alpha`, 1, adds CPO's loss, and the two together aren't SimPO (1.16).
        return CPOConfig(**common, loss_type="simpo", beta=method.beta, simpo_gamma=method.gamma, cpo_alpha=0.0)

    return make_pair_trainer(
        _RenderedSimPOTrainer,
        arguments_of,
        request,
        shared,
        options,
        collator=PadPairs(pad_token_id),
        on_message=on_message,
    )
