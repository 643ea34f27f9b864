"""Optimizer steps and validation in which tokens that rows share go through the model once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from itertools import islice
from typing import Any, ClassVar, cast

import torch

from ftsdk.backends.trainers.trl.forest_pass import losses_of
from ftsdk.backends.trainers.trl.head_loss import can_skip_head, head_of
from ftsdk.backends.trainers.trl.steps_that_fit import can_start_again_alone, gradients_of_step
from ftsdk.data.forest import Forest, TrainedRow, computed_tokens, cut, plant
from ftsdk.models.packed_attention import is_out_of_memory

__all__ = ["FOREST", "PLACES", "ComputesSharedTokensOnce"]

FOREST = "forest"
"""The key of a piece of a step among the inputs of `compute_loss`."""
PLACES = "forest_places"
"""The key of where the sequences of the piece are among those of the step."""
_COUNTED_STEPS = 20


class ComputesSharedTokensOnce:
    """A mixin for transformers' trainers whose batches are a process's whole share of an optimizer step.

    A method says which sequences it reads: `sequences_together` of them for each row of its data, which are never
    parted, so that a loss may compare them.
    """

    sequences_together: ClassVar[int] = 1
    """Sequences that a row of the data has."""
    most_tokens: int | None = None
    """Tokens that go through the model at once, about; None: batches go as they are."""
    has_uniform_gradients: ClassVar[bool] = True
    """Whether the loss of a step is a sum over tokens, all with the same weight."""
    _on_message: Callable[[str], None]
    _heads: dict[int, Any]
    """Of each model that is called, by its id: the head whose products are made in chunks, or None."""

    def sequences_of_batch(self, inputs: Mapping[str, Any]) -> list[TrainedRow]:
        """Return the sequences of a batch, those of each row one after the other."""
        raise NotImplementedError

    def sequences_of_rows(self, dataset: Any, rows: Sequence[int]) -> list[TrainedRow]:
        """Return the sequences of some rows of the data."""
        raise NotImplementedError

    def items_of(self, sequences: Sequence[TrainedRow]) -> int:
        """Return what the loss of a whole step is divided by, if the trainer hasn't counted it."""
        raise NotImplementedError

    def loss_of_piece(self, model: Any, inputs: Mapping[str, Any], num_items_in_batch: Any) -> torch.Tensor:
        """Return a piece's share of the loss of the step; `inputs` has `FOREST` and `PLACES`."""
        raise NotImplementedError

    def before_pieces(self, model: Any, inputs: Mapping[str, Any], sequences: Sequence[TrainedRow]) -> None:
        """Compute what the losses of all pieces of a step depend on."""
        del model, inputs, sequences

    def compute_shared_tokens_once(self, most_tokens: int, on_message: Callable[[str], None]) -> None:
        """Cut batches into pieces of a forest from now on.

        Args:
            most_tokens: Tokens that go through the model at once, besides a beginning that all their rows share; a
                longer row is a piece of its own.
            on_message: Called with a sentence about what that saves, and if memory runs out.
        """
        trainer = cast("Any", self)
        self.most_tokens, self._on_message, self._heads = most_tokens, on_message, {}
        share, together = trainer.args.per_device_train_batch_size, self.sequences_together
        with torch.random.fork_rng(devices=[]):
            order = list(islice(trainer._get_train_sampler(trainer.train_dataset), share * _COUNTED_STEPS))
        computed = read = 0
        for n in range(0, len(order), share):
            sequences = self.sequences_of_rows(trainer.train_dataset, order[n : n + share])
            computed += computed_tokens(sequences, most_tokens, together=together)
            read += sum(row.length for row in sequences)
        on_message(
            f"rows are packed without padding, up to {most_tokens:,} tokens at once besides a beginning that they "
            f"share, and what rows of a step share is computed once: {computed:,} of {read:,} tokens in the first "
            f"steps ({computed / read:.0%})"
        )

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        """Add up the gradients of the pieces of a step, and return its loss."""
        trainer = cast("Any", self)
        step = cast("Any", super()).training_step
        if self.most_tokens is None:
            return step(model, inputs, num_items_in_batch)
        sequences = self.sequences_of_batch(inputs)
        if num_items_in_batch is None:
            num_items_in_batch = self.items_of(sequences)
        self.before_pieces(model, inputs, sequences)
        return gradients_of_step(
            trainer,
            model,
            lambda: self._sum_of_pieces(step, model, sequences, num_items_in_batch),
            is_smallest=lambda: self._is_smallest(sequences),
            take_less=self._take_fewer_tokens,
        )

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the loss of a piece of a step; of a padded batch, the one that the trainer computes."""
        if FOREST in inputs:
            return self.loss_of_piece(model, inputs, num_items_in_batch)
        return cast("Any", super()).compute_loss(
            model, inputs, return_outputs=return_outputs, num_items_in_batch=num_items_in_batch
        )

    def _is_smallest(self, sequences: Sequence[TrainedRow]) -> bool:
        assert self.most_tokens is not None
        pieces = list(cut(sequences, self.most_tokens, together=self.sequences_together))
        return all(len(piece) == self.sequences_together for piece in pieces)

    def _take_fewer_tokens(self) -> None:
        assert self.most_tokens is not None
        self.most_tokens = max(1, self.most_tokens // 2)
        self._on_message(
            f"memory ran out; from here on at most {self.most_tokens:,} tokens go through the model at once"
        )

    def _sum_of_pieces(self, step: Any, model: Any, sequences: list[TrainedRow], num_items_in_batch: Any) -> Any:
        forests = list(self._forests(sequences))
        total: Any = 0.0
        for n, (piece, forest) in enumerate(forests):
            # Processes exchange their gradients once a step.
            is_last = n == len(forests) - 1
            with nullcontext() if is_last else cast("Any", self).accelerator.no_sync(model=model):
                total = total + step(model, {FOREST: forest, PLACES: piece}, num_items_in_batch)
        return total

    def losses_of_forest(self, model: Any, forest: Forest) -> torch.Tensor:
        """Return the cross-entropy of each trained token."""
        inner = cast("Any", self).accelerator.unwrap_model(model)
        if id(inner) not in self._heads:
            self._heads[id(inner)] = head_of(inner) if can_skip_head(inner) else None
        return losses_of(model, forest, inner=inner, head=self._heads[id(inner)], is_uniform=self.has_uniform_gradients)

    def sums_of_forest(self, model: Any, forest: Forest) -> torch.Tensor:
        """Return the sum of the cross-entropy of each sequence's trained tokens, shape (sequences,)."""
        return self.sums_by_sequence(self.losses_of_forest(model, forest), forest)

    @staticmethod
    def sums_by_sequence(losses_N: torch.Tensor, forest: Forest) -> torch.Tensor:  # noqa: N803 - shape suffix
        """Sum up the losses of each sequence's trained tokens, shape (sequences,)."""
        owners_N = torch.tensor(forest.owners, dtype=torch.long)  # noqa: N806
        return losses_N.new_zeros(len(forest.paths)).index_add(0, owners_N, losses_N)

    @staticmethod
    def targets_by_sequence(forest: Forest) -> torch.Tensor:
        """Count the trained tokens of each sequence, shape (sequences,)."""
        return torch.bincount(torch.tensor(forest.owners, dtype=torch.long), minlength=len(forest.paths))

    def sequence_sums(self, sequences: Sequence[TrainedRow], sums: Callable[[Forest], torch.Tensor]) -> torch.Tensor:
        """Return numbers of sequences that go through the model without gradients, piece by piece.

        Args:
            sequences: S of them.
            sums: Returns a number for each sequence of a piece, shape (its sequences,) or (its sequences, numbers).

        Returns:
            Shape (S,) or (S, numbers).
        """
        while True:
            try:
                found = [(piece, sums(forest)) for piece, forest in self._forests(sequences)]
            except (RuntimeError, MemoryError) as error:
                trainer = cast("Any", self)
                if (
                    not is_out_of_memory(error)
                    or self._is_smallest(sequences)
                    or not can_start_again_alone(trainer, trainer.model_wrapped)
                ):
                    raise
            else:
                order = torch.tensor([n for piece, _ in found for n in piece], dtype=torch.long)
                return torch.cat([numbers for _, numbers in found])[order.argsort()]
            self._take_fewer_tokens()

    def _forests(self, sequences: Sequence[TrainedRow]) -> Iterator[tuple[list[int], Forest]]:
        """Yield the sequences of each piece, and the piece."""
        assert self.most_tokens is not None
        for piece in cut(sequences, self.most_tokens, together=self.sequences_together):
            yield piece, plant([sequences[n] for n in piece])
