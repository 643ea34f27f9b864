"""ORPO on rows that are rendered already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the field's own abbreviation

from ftsdk.backends.trainers.trl.experimental import ORPOConfig, ORPOTrainer
from ftsdk.backends.trainers.trl.pairs import PadPairs, TakesRenderedPairs, pair_columns, pair_options, with_adapter
from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.backends.trainers.trl.resuming import StopsWhenDone
from ftsdk.backends.trainers.trl.sharding.model import ShardsModel
from ftsdk.backends.trainers.trl.validation import MeanOverAllRows
from ftsdk.spec import ORPO

__all__ = ["columns", "make_trainer"]

columns = pair_columns


class _RenderedORPOTrainer(  # pyright: ignore[reportUntypedBaseClass]
    ShardsModel, StopsWhenDone, MeanOverAllRows, TakesRenderedPairs, ORPOTrainer
):
    @staticmethod
    def get_batch_logps(logits: torch.Tensor, labels: torch.Tensor, **options: Any) -> torch.Tensor:
        """Return log-probabilities in 32 bits: the loss compares numbers that 16 bits don't tell apart."""
        return ORPOTrainer.get_batch_logps(logits.float(), labels, **options)

    def row_sums(self, model: Any, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Return the loss, accuracy and margin of each pair (ORPO, equations 6 and 7)."""
        chosen_B, rejected_B, logits_BTV, *_ = self.concatenated_forward(model, inputs)  # noqa: N806 - shape suffix
        bonus_B, reward_B, other_B, *_ = self.odds_ratio_loss(chosen_B, rejected_B)  # noqa: N806
        targets_BT = inputs["chosen_input_ids"].masked_fill(inputs["chosen_attention_mask"] == 0, -100)[:, 1:]  # noqa: N806
        # Logits are padded to the longer of the two sides.
        logits_BVT = logits_BTV[:, : targets_BT.shape[1]].float().transpose(1, 2)  # noqa: N806
        tokens_BT = F.cross_entropy(logits_BVT, targets_BT, reduction="none")  # noqa: N806
        return {
            "weight": torch.ones_like(chosen_B),
            "loss": tokens_BT.sum(dim=1) / (targets_BT != -100).sum(dim=1) - bonus_B,
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
    assert isinstance(request.method, ORPO)
    arguments = ORPOConfig(
        **pair_options(options, request),
        beta=request.method.beta,
    )
    taken = with_adapter(shared, request) | {"args": arguments, "data_collator": PadPairs(pad_token_id)}
    return _RenderedORPOTrainer(**taken)
