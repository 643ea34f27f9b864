"""When a training is sharded, and with which options."""

from __future__ import annotations

import os
from typing import Any

from ftsdk.backends.hosted.micro_batch import share_at_most
from ftsdk.backends.hosted.trainer import TrainingStopped
from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.errors import Diagnosis

__all__ = ["for_processes", "is_sharded", "sharding_options", "start_sharding"]


def for_processes(request: TrainingRequest) -> TrainingRequest:
    """Return the request for as many processes as there are: a step has the same rows, in micro-batches of its own.

    Raises:
        TrainingStopped: They can't share a step.
    """
    processes, batch = int(os.environ.get("WORLD_SIZE", "1")), request.batch_size
    if processes == request.processes or request.sharding == "none":
        return request
    if batch % processes:
        raise TrainingStopped(
            Diagnosis(
                "sharding",
                f"{processes} processes can't share a step of {batch} sequences",
                None,
                (f"resume with a number of processes that {batch} can be divided by",),
            )
        )
    share = batch // processes
    micro = share_at_most(share, request.micro_batch_size)
    return request.replace(processes=processes, micro_batch_size=micro, accumulation_steps=share // micro)


def is_sharded(request: TrainingRequest) -> bool:
    """Return whether this process trains with a share of the model.

    A process that is alone has all of it: so a checkpoint of several resumes in one.
    """
    return request.sharding == "full" and int(os.environ.get("WORLD_SIZE", "1")) > 1


def start_sharding(request: TrainingRequest) -> None:
    """Connect the processes before the model is loaded."""
    if not is_sharded(request):
        return
    import torch
    from accelerate import PartialState

    is_on_cpu = request.device == "cpu"
    if not is_on_cpu:
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    PartialState(cpu=is_on_cpu, backend="gloo" if is_on_cpu else "nccl")


def sharding_options(request: TrainingRequest) -> dict[str, Any]:
    """Return the options of transformers' trainers for a sharded training; none for any other."""
    if not is_sharded(request):
        return {}
    options: dict[str, Any] = {
        "fsdp": True,
        "fsdp_config": {
            "version": 2,
            "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            # Weights that were gathered for a layer are freed after its forward pass, and gathered again for the
            # backward pass.
            "reshard_after_forward": True,
            "cpu_ram_efficient_loading": True,
            # Not "activation_checkpointing": accelerate's (1.15, `fsdp2_apply_ac`) recomputes with other random numbers
            # than the forward pass had, so that with dropout the gradients would be wrong. That of transformers keeps
            # them.
            "state_dict_type": "SHARDED_STATE_DICT",
        },
        "ddp_find_unused_parameters": None,
    }
    if not request.tuning.adapts:
        # Without it each process would keep the whole model's gradients until the last micro-batch of a step.
        options["accelerator_config"] = {"gradient_accumulation_kwargs": {"sync_each_batch": True}}
    return options
