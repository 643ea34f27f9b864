"""Batches of random size: each step takes every row with the same probability, whatever the others do."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch.utils.data import Sampler

from ftsdk.backends.trainers.trl.privacy.noise import KeyedRandomness

__all__ = ["PoissonBatches"]


class PoissonBatches(Sampler[list[int]]):
    """Batches as the accounting presumes them; one may be empty, and is a step all the same.

    Args:
        rows: How many there are.
        batch_size: Rows that a batch has on average.
        randomness: Decides which.
    """

    def __init__(self, rows: int, *, batch_size: int, randomness: KeyedRandomness) -> None:
        self._rows = rows
        self._randomness = randomness
        self._epoch = 0
        self.batch_size = batch_size
        self.drop_last = False
        self.sample_rate = min(1.0, batch_size / rows)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose batches come next; the trainer calls it, also when it resumes from a checkpoint."""
        self._epoch = epoch

    def __len__(self) -> int:
        return math.ceil(self._rows / self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for number in range(len(self)):
            step = self._epoch * len(self) + number
            drawn = self._randomness.uniform(self._rows, "rows", step)
            yield (drawn <= self.sample_rate).nonzero()[0].tolist()
