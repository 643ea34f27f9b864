"""The validation: means over all rows, the same for every batch size and number of processes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from transformers.trainer_utils import EvalLoopOutput

__all__ = ["MeanOverAllRows"]


class MeanOverAllRows:
    """A mixin for transformers' trainers that replaces its evaluation loop; goes after `HalvesBatches`, if at all.

    transformers 5.23 takes the mean of each batch and then the mean over the batches, so a token counts more the
    shorter its batch is, and rows that fill up the last batch of several processes count twice.
    """

    def row_sums(self, model: Any, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Return per-row sums, each of shape (rows,).

        `weight` is what a mean divides by: the trained tokens of a row, or 1 for a pair. The other keys are metrics.
        """
        raise NotImplementedError

    def sums_that_fit(self, model: Any, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Return the row sums of a batch; `HalvesBatches` takes it in parts where memory runs out."""
        return self.row_sums(model, inputs)

    def evaluation_loop(
        self,
        dataloader: Any,
        description: str,
        prediction_loss_only: bool | None = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> EvalLoopOutput:
        """Return each metric's sum over all rows, divided by the rows' weight."""
        del description, prediction_loss_only, ignore_keys
        trainer = cast("Any", self)
        model = trainer._wrap_model(trainer.model, training=False)
        model.eval()
        trainer.callback_handler.eval_dataloader = dataloader
        names: list[str] = []
        # On the CPU, since Apple's GPUs have no float64.
        totals = torch.zeros(0, dtype=torch.float64)
        for batch in dataloader:
            inputs = trainer._prepare_inputs(batch)
            with torch.no_grad(), trainer.compute_loss_context_manager():
                sums = trainer.sums_that_fit(model, inputs)
            names = list(sums)
            columns_BM = torch.stack([sums[name].float() for name in names], dim=1)  # noqa: N806 - shape suffix
            # Leaves out the rows that only fill up the last batch.
            gathered = trainer.accelerator.gather_for_metrics(columns_BM).cpu().double().sum(dim=0)
            totals = gathered if not len(totals) else totals + gathered
            trainer.control = trainer.callback_handler.on_prediction_step(trainer.args, trainer.state, trainer.control)
        found = dict(zip(names, totals.tolist(), strict=True))
        weight = found.pop("weight", 0.0)
        metrics = {f"{metric_key_prefix}_{name}": value / max(weight, 1.0) for name, value in found.items()}
        return EvalLoopOutput(
            predictions=cast("Any", None), label_ids=None, metrics=metrics, num_samples=len(dataloader.dataset)
        )
