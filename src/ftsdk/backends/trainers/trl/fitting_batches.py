"""Batches that don't fit into memory go through the model in parts, with the gradient of the whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import torch

from ftsdk.backends.trainers.trl.steps_that_fit import can_start_again_alone, gradients_of_step, release_memory
from ftsdk.models.packed_attention import is_out_of_memory

__all__ = ["HalvesBatches"]


class HalvesBatches:
    """A mixin for transformers' trainers: memory that runs out makes batches smaller, and the step starts again.

    With several processes, all of them take smaller batches then.
    """

    sequences_together = 1
    """Sequences that a row has in a batch, which has the first ones of all rows, then the second ones."""
    most_rows: int | None = None
    """Rows that go through the model at once; None: as many as a batch has."""
    part_share = 1.0
    """Share of the batch's rows that the part at work has."""
    on_smaller_batches: Callable[[str], object] = staticmethod(len)
    """Called with one sentence each time."""
    _batches: list[Any]
    _made = 0

    def items_of_batch(self, inputs: Mapping[str, Any]) -> Any:
        """Return what the mean of a batch's loss divides by, if it isn't the rows; None: it is."""
        del inputs

    def get_batch_samples(self, *arguments: Any, **options: Any) -> Any:
        """Return the batches of an optimizer step, and remember them until it is made."""
        found = cast("Any", super()).get_batch_samples(*arguments, **options)
        self._batches, self._made = found[0], 0
        return found

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Add a batch's gradients, in as many parts as it takes, and return its loss."""
        step = cast("Any", super()).training_step
        if "input_ids" not in inputs:
            return step(model, inputs, num_items_in_batch)
        number, self._made = self._made, self._made + 1
        added = number

        def attempt() -> Any:
            # Gradients of earlier batches are lost with those of this one.
            nonlocal added
            try:
                for earlier in self._batches[added:number]:
                    self._in_parts(step, model, earlier, num_items_in_batch)
                added = number
                return self._in_parts(step, model, inputs, num_items_in_batch)
            except (RuntimeError, MemoryError):
                added = 0
                raise

        rows = self._rows(inputs)
        return gradients_of_step(
            self,
            model,
            attempt,
            is_smallest=lambda: min(rows, self.most_rows or rows) == 1,
            take_less=lambda: self._take_fewer_rows(rows),
        )

    def sums_that_fit(self, model: Any, inputs: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        """Return the row sums of a batch of the validation, in as many parts as it takes."""
        trainer, rows = cast("Any", self), self._rows(inputs)
        while True:
            try:
                parts = [trainer.row_sums(model, part) for part, _ in self._parts(inputs)]
            except (RuntimeError, MemoryError) as error:
                # Several processes needn't agree: a validation exchanges nothing before all parts are done.
                is_smallest = min(rows, self.most_rows or rows) == 1
                if (
                    not is_out_of_memory(error)
                    or is_smallest
                    or not can_start_again_alone(trainer, trainer.model_wrapped)
                ):
                    raise
            else:
                return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
            release_memory()
            self._take_fewer_rows(rows)

    def _take_fewer_rows(self, rows: int) -> None:
        self.most_rows = max(1, min(rows, self.most_rows or rows) // 2)
        noun = "row goes" if self.most_rows == 1 else "rows go"
        self.on_smaller_batches(f"memory ran out; from here on {self.most_rows} {noun} through the model at once")

    def _in_parts(self, step: Any, model: Any, inputs: Any, num_items_in_batch: Any) -> Any:
        if self.most_rows is None or self._rows(inputs) <= self.most_rows:
            return step(model, inputs, num_items_in_batch)
        items = self.items_of_batch(inputs) if num_items_in_batch is None else num_items_in_batch
        total: Any = 0.0
        try:
            for part, share in self._parts(inputs):
                self.part_share = share
                total = total + step(model, part, items)
        finally:
            self.part_share = 1.0
        return total

    def _parts(self, inputs: Mapping[str, Any]) -> list[tuple[dict[str, Any], float]]:
        rows, together = self._rows(inputs), self.sequences_together
        most = min(rows, self.most_rows or rows)
        found: list[tuple[dict[str, Any], float]] = []
        for start in range(0, rows, most):
            part = {
                name: torch.cat([side[start : start + most] for side in values.chunk(together)])
                for name, values in inputs.items()
            }
            found.append((part, min(most, rows - start) / rows))
        return found

    def _rows(self, inputs: Mapping[str, Any]) -> int:
        return len(inputs["input_ids"]) // self.sequences_together
