"""The order of the rows: shuffled each epoch, and sorted within an optimizer step, by length or by their tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch.utils.data import Sampler

from ftsdk.data.fair_shares import shared_out

__all__ = ["StepsSortedByBeginning", "StepsSortedByLength"]


class StepsSortedByLength(Sampler[int]):
    """Shuffle all rows, then sort those of each optimizer step by length.

    A step has the same rows as without sorting, and so the same gradient; but it goes through the model in smaller
    parts, and a part is padded to its own longest row. On 422 support mails, 16 a step and 4 at a time, padding adds
    14% to the tokens, where a shuffled order adds 44%, and 78% with 16 at a time (2026-11-24).

    Args:
        lengths_N: Tokens per row, shape (N rows,).
        step_rows: Rows per optimizer step, over all processes.
        seed: With the epoch, decides the order.
    """

    def __init__(self, lengths_N: Sequence[int], *, step_rows: int, seed: int) -> None:  # noqa: N803 - shape suffix
        self._lengths_N = lengths_N
        self._step_rows = step_rows
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next; the trainer calls it, also when it resumes from a checkpoint."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths_N)

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self._seed + self._epoch)
        order: list[int] = torch.randperm(len(self), generator=generator).tolist()
        for start in range(0, len(order), self._step_rows):
            yield from self._sorted(order[start : start + self._step_rows])

    def _sorted(self, rows: list[int]) -> list[int]:
        return sorted(rows, key=self._lengths_N.__getitem__, reverse=True)


class StepsSortedByBeginning(StepsSortedByLength):
    """The same steps, each sorted by its rows' tokens: neighbours share a beginning, and are the same process's share.

    Rows change places where one process would have more to compute than another, which would wait for it.

    Args:
        ids_N: Token ids per row, shape (N rows, tokens).
        step_rows: Rows per optimizer step, over all processes.
        processes: How many share a step out, as many rows each.
        seed: With the epoch, decides the order.
        besides_N: Tokens per row that come on top and are shared with no other row, shape (N rows,); None: none.
    """

    def __init__(
        self,
        ids_N: Sequence[list[int]],  # noqa: N803 - shape suffix
        *,
        step_rows: int,
        seed: int,
        processes: int = 1,
        besides_N: Sequence[int] | None = None,  # noqa: N803
    ) -> None:
        # Rows are sorted by their tokens, and may be in a file: their lengths aren't asked for.
        super().__init__(range(len(ids_N)), step_rows=step_rows, seed=seed)
        self._ids_N, self._processes = ids_N, processes
        self._besides_N = [0] * len(ids_N) if besides_N is None else besides_N

    def _sorted(self, rows: list[int]) -> list[int]:
        # The last step of an epoch may have fewer rows, and is filled up later.
        processes = self._processes if len(rows) == self._step_rows else 1
        besides = [self._besides_N[row] for row in rows]
        shares = shared_out([self._ids_N[row] for row in rows], processes, besides=besides)
        return [rows[n] for share in shares for n in share]
