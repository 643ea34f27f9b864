"""Tests of what a resumed training sees."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from accelerate.data_loader import BatchSamplerShard, DataLoaderShard, skip_first_batches
from torch.utils.data import BatchSampler

from ftsdk.backends.trainers.trl.order import StepsSortedByLength
from ftsdk.backends.trainers.trl.resuming import tell_samplers

ROWS, BATCH, PROCESSES = 32, 4, 2


def batches(*, process: int) -> Any:
    """Return the batches of one of two processes, as accelerate makes them."""
    sampler = StepsSortedByLength([1] * ROWS, step_rows=BATCH * PROCESSES, seed=7)
    shard = BatchSamplerShard(BatchSampler(sampler, BATCH, drop_last=False), PROCESSES, process)
    return DataLoaderShard(torch.arange(ROWS), batch_sampler=shard)  # type: ignore[arg-type]


@pytest.mark.parametrize("process", range(PROCESSES))
def test_a_process_that_resumes_in_a_later_epoch_sees_its_rows_in_that_epochs_order(process: int) -> None:
    whole = batches(process=process)
    tell_samplers(whole, 3)
    resumed = batches(process=process)
    tell_samplers(resumed, 3)
    skipped: Any = skip_first_batches(resumed, 2)
    skipped.set_epoch(3)
    assert [rows.tolist() for rows in skipped] == [rows.tolist() for rows in whole][2:]
    first = batches(process=process)
    assert [rows.tolist() for rows in first] != [rows.tolist() for rows in whole]
