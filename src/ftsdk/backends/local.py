"""`backend="local"`: this machine, with TRL."""

from __future__ import annotations

from typing import Literal

from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.launchers.local import LocalLauncher
from ftsdk.backends.trainers.trl import TRLTrainer

__all__ = ["Local"]


class Local(HostedBackend):
    """This machine: the run is a process of its own that outlives yours.

    Args:
        processes: Worker processes, one for each device; None takes all CUDA devices, or one process. More than one runs
            under torchrun: nccl on GPUs, gloo on CPUs.
        device: `"cuda"`, `"mps"` or `"cpu"`; None takes the best that is there.
    """

    def __init__(self, *, processes: int | None = None, device: Literal["cuda", "mps", "cpu"] | None = None) -> None:
        super().__init__(name="local", launcher=LocalLauncher(processes=processes, device=device), trainer=TRLTrainer())
