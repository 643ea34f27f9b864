"""`backend="local"`: this machine, with TRL."""

from __future__ import annotations

from decimal import Decimal
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
        usd_per_hour: What an hour of this machine, all its devices together, costs you, in US dollars: plans, estimates and `budget_usd`
            count it. None: nothing is billed.

    Raises:
        SpecError: `usd_per_hour` isn't a price.
    """

    def __init__(
        self,
        *,
        processes: int | None = None,
        device: Literal["cuda", "mps", "cpu"] | None = None,
        usd_per_hour: Decimal | float | None = None,
    ) -> None:
        launcher = LocalLauncher(processes=processes, device=device, usd_per_hour=usd_per_hour)
        super().__init__(name="local", launcher=launcher, trainer=TRLTrainer())
