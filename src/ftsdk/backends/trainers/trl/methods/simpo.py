"""SimPO on rows that are rendered already: TRL's CPO with its loss, and nothing of CPO's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from ftsdk.backends.trainers.trl.experimental import CPOConfig, CPOTrainer
from ftsdk.backends.trainers.trl.pairs import PadPairs, TakesRenderedPairs, pair_columns, pair_options, with_adapter
from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.backends.trainers.trl.resuming import StopsWhenDone
from ftsdk.backends.trainers.trl.sharding.model import ShardsModel
from ftsdk.backends.trainers.trl.validation import MeanOverAllRows
from ftsdk.spec import SimPO

__all__ = ["columns", "make_trainer"]

columns = pair_columns


class _RenderedSimPOTrainer(  # pyright: ignore[reportUntypedBaseClass]
    ShardsModel, StopsWhenDone, MeanOverAllRows, TakesRenderedPairs, CPOTrainer
):
    @staticmethod
    def get_batch_logps(logits: torch.Tensor, labels: torch.Tensor, **options: Any) -> torch.Tensor:
        """Return log-probabilities in 32 bits: the loss compares numbers that 16 bits don't tell apart."""
        return CPOTrainer.get_batch_logps(logits.float(), labels, **options)

    def row_sums(self, model: Any, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Return the loss, accuracy and margin of each pair (SimPO, equation 6)."""
        chosen_B, rejected_B, *_ = self.concatenated_forward(model, inputs)  # noqa: N806 - shape suffix
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
    del on_message
    assert isinstance(request.method, SimPO)
    arguments = CPOConfig(
        **pair_options(options, request),
        loss_type="simpo",
        beta=request.method.beta,
        simpo_gamma=request.method.gamma,
        # TRL's default of 1 adds CPO's loss, and the two together aren't SimPO (1.16).
        cpo_alpha=0.0,
    )
    taken = with_adapter(shared, request) | {"args": arguments, "data_collator": PadPairs(pad_token_id)}
    return _RenderedSimPOTrainer(**taken)
