"""Optimizer steps and validation in which tokens that rows share go through the model once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any, cast

import torch

from ftsdk.backends.trainers.trl.forest_pass import losses_of
from ftsdk.backends.trainers.trl.rows import IGNORED
from ftsdk.data.forest import Forest, TrainedRow, computed_tokens, cut, plant
from ftsdk.models.packed_attention import is_out_of_memory

__all__ = ["FOREST", "ComputesSharedTokensOnce"]

FOREST = "forest"
"""The key of a piece of a step among the inputs of `compute_loss`."""
_COUNTED_STEPS = 20


class ComputesSharedTokensOnce:
    """A mixin for transformers' trainers whose batches are a process's whole share of an optimizer step."""

    most_tokens: int | None = None
    """Tokens that go through the model at once, about; None: batches go as they are."""
    _on_message: Callable[[str], None]

    def compute_shared_tokens_once(self, most_tokens: int, on_message: Callable[[str], None]) -> None:
        """Cut batches into pieces of a forest from now on.

        Args:
            most_tokens: Tokens that go through the model at once; a longer row is a piece of its own.
            on_message: Called with a sentence about what that saves, and if memory runs out.
        """
        trainer = cast("Any", self)
        self.most_tokens, self._on_message = most_tokens, on_message
        share, ids, labels = (
            trainer.args.per_device_train_batch_size,
            trainer.train_dataset["input_ids"],
            trainer.train_dataset["labels"],
        )
        order = list(trainer._get_train_sampler())[: share * _COUNTED_STEPS]
        rows = [_row(ids[n], labels[n]) for n in order]
        computed = sum(computed_tokens(rows[n : n + share], most_tokens) for n in range(0, len(rows), share))
        read = sum(len(ids[n]) for n in order)
        on_message(
            f"rows are packed without padding, up to {most_tokens:,} tokens at once, and what rows of a step share is "
            f"computed once: {computed:,} of {read:,} tokens in the first steps ({computed / read:.0%})"
        )

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Add up the gradients of the pieces of a step, and return its loss."""
        trainer = cast("Any", self)
        step = cast("Any", super()).training_step
        if self.most_tokens is None:
            return step(model, inputs, num_items_in_batch)
        rows = _rows_of(inputs)
        if num_items_in_batch is None:
            # Of a model that can't be told: the mean is that of this batch.
            num_items_in_batch = max(1, sum(len(row.targets) for row in rows))
            if trainer.args.average_tokens_across_devices:
                num_items_in_batch *= trainer.accelerator.num_processes
        while True:
            try:
                return self._sum_of_pieces(step, model, rows, num_items_in_batch)
            except RuntimeError as error:
                longest = max(len(row.tokens) for row in rows)
                # The other processes wouldn't know that this one starts again.
                if not is_out_of_memory(error) or self.most_tokens <= longest or trainer.accelerator.num_processes > 1:
                    raise
            model.zero_grad()
            self.most_tokens = max(longest, self.most_tokens // 2)
            self._on_message(
                f"memory ran out; from here on at most {self.most_tokens:,} tokens go through the model at once"
            )

    def _sum_of_pieces(self, step: Any, model: Any, rows: list[TrainedRow], num_items_in_batch: Any) -> Any:
        forests = list(self._forests(rows))
        total: Any = 0.0
        for n, (_, forest) in enumerate(forests):
            # Processes exchange their gradients once a step.
            is_last = n == len(forests) - 1
            with nullcontext() if is_last else cast("Any", self).accelerator.no_sync(model=model):
                total = total + step(model, {FOREST: forest}, num_items_in_batch)
        return total

    def losses_of_forest(self, model: Any, forest: Forest) -> torch.Tensor:
        """Return the cross-entropy of each trained token."""
        return losses_of(model, forest, inner=cast("Any", self).accelerator.unwrap_model(model))

    def row_losses(self, model: Any, inputs: Mapping[str, Any]) -> torch.Tensor:
        """Return the sum of the cross-entropy of each row's trained tokens, shape (rows,)."""
        rows = _rows_of(inputs)
        sums_B = torch.zeros(len(rows))  # noqa: N806 - shape suffix
        for piece, forest in self._forests(rows):
            owners = torch.tensor([piece[owner] for owner in forest.owners], dtype=torch.long)
            sums_B.index_add_(0, owners, self.losses_of_forest(model, forest))
        return sums_B

    def _forests(self, rows: list[TrainedRow]) -> Iterator[tuple[list[int], Forest]]:
        """Yield the rows of each piece, and the piece."""
        assert self.most_tokens is not None
        for piece in cut(rows, self.most_tokens):
            yield piece, plant([rows[n] for n in piece])


def _rows_of(inputs: Mapping[str, Any]) -> list[TrainedRow]:
    """Return the rows of a padded batch."""
    lengths, ids, labels = (inputs[name].tolist() for name in ("attention_mask", "input_ids", "labels"))
    return [
        _row(row[: sum(mask)], trained[: sum(mask)]) for mask, row, trained in zip(lengths, ids, labels, strict=True)
    ]


def _row(ids: list[int], labels: list[int]) -> TrainedRow:
    return TrainedRow.of(ids, [label != IGNORED for label in labels])
