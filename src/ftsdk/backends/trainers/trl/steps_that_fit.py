"""A part of an optimizer step tried until it fits into the memory of every process that trains."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from enum import IntEnum
from typing import Any

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ftsdk.models.packed_attention import is_out_of_memory

__all__ = ["can_start_again_alone", "gradients_of_step", "release_memory"]

_BUCKET_BYTES = 25 << 20


class _Outcome(IntEnum):
    FITS = 0
    TOO_LARGE = 1
    SMALLEST = 2
    """One row, or one pair, was too large."""


def can_start_again_alone(trainer: Any, model: Any) -> bool:
    """Return whether a process can repeat a pass without the others: not if parts of the model are theirs."""
    return trainer.accelerator.num_processes == 1 or isinstance(model, DistributedDataParallel)


def gradients_of_step(
    trainer: Any,
    model: Any,
    attempt: Callable[[], Any],
    *,
    is_smallest: Callable[[], bool],
    take_less: Callable[[], object],
) -> Any:
    """Add up gradients in pieces that are made smaller each time the memory runs out, and return the loss.

    Gradients that were added before the memory ran out aren't whole, so that the attempt is made again. Several
    processes go through their pieces alone, and exchange gradients once all of them have theirs: one that starts again
    keeps nobody waiting in the middle of an exchange. All take less from then on; only those that ran out repeat
    anything.

    Args:
        trainer: A trainer of transformers.
        model: As the trainer wraps it.
        attempt: Adds the gradients of all pieces, without what an earlier attempt has left, and returns the loss.
        is_smallest: Returns whether pieces can't be smaller.
        take_less: Makes them smaller.

    Raises:
        RuntimeError: The memory ran out, here or in another process, and pieces can't be smaller, or parts of the
            model are on other devices, so that a process can't start again alone.
    """
    if not can_start_again_alone(trainer, model):
        return attempt()
    is_replicated = isinstance(model, DistributedDataParallel)
    has_gradients = False
    loss: Any = None
    while True:
        failure: Exception | None = None
        if not has_gradients:
            try:
                with _alone(trainer, model) if is_replicated else contextlib.nullcontext():
                    loss = attempt()
                has_gradients = True
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                failure = error
        outcome = _Outcome.FITS if failure is None else _Outcome.SMALLEST if is_smallest() else _Outcome.TOO_LARGE
        worst = _worst_of_all(outcome, trainer.args.device) if is_replicated else outcome
        if worst == _Outcome.SMALLEST:
            raise failure or torch.OutOfMemoryError("another process is out of memory")
        if worst == _Outcome.FITS:
            break
        # What the failed pass holds hangs on the error.
        is_ours, failure = failure is not None, None
        if is_ours:
            model.zero_grad()
        release_memory()
        take_less()
    if is_replicated and trainer.accelerator.sync_gradients:
        _average_gradients(model)
    return loss


def release_memory() -> None:
    """Give memory that no tensor uses back to the device."""
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


@contextlib.contextmanager
def _alone(trainer: Any, model: Any) -> Generator[None]:
    """Compute without the other processes: no exchange of gradients, nor of the numbers that TRL logs on the way."""
    accelerator = trainer.accelerator
    accelerator.gather_for_metrics = accelerator.gather = _as_it_is
    # DDP would broadcast buffers, such as rotary frequencies, before a pass; every process has loaded the same ones.
    model.require_forward_param_sync = False
    try:
        with accelerator.no_sync(model=model):
            yield
    finally:
        del accelerator.gather_for_metrics, accelerator.gather


def _as_it_is(values: Any, *_: Any, **__: Any) -> Any:
    return values


def _worst_of_all(outcome: _Outcome, device: torch.device) -> _Outcome:
    numbers = torch.tensor(float(outcome), device=device)
    dist.all_reduce(numbers, op=dist.ReduceOp.MAX)
    return _Outcome(int(numbers.item()))


def _average_gradients(model: Any) -> None:
    """Replace gradients by their mean over the processes, as DDP would have, some megabytes at a time."""
    waiting: dict[torch.dtype, list[torch.Tensor]] = {}
    for parameter in model.parameters():
        if not parameter.requires_grad:
            continue
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
        bucket = waiting.setdefault(parameter.grad.dtype, [])
        bucket.append(parameter.grad)
        if sum(gradient.nbytes for gradient in bucket) >= _BUCKET_BYTES:
            _average(waiting.pop(parameter.grad.dtype))
    for bucket in waiting.values():
        _average(bucket)


def _average(gradients: list[torch.Tensor]) -> None:
    if len(gradients) == 1 and gradients[0].is_contiguous():
        dist.all_reduce(gradients[0].div_(dist.get_world_size()))
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients]).div_(dist.get_world_size())
    dist.all_reduce(flat)
    parts = flat.split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
