"""`backend="local"`: this machine."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.hosted.trainer import DEFAULT_TRAINER, Trainer, load_trainer
from ftsdk.backends.launchers.local import LocalLauncher

__all__ = ["Local"]


class Local(HostedBackend):
    """This machine. A run is a process of its own, which continues when yours ends.

    Args:
        processes: Worker processes, one for each device; None: one for each CUDA device, or one. Several run under
            torchrun, with nccl on GPUs and gloo on CPUs.
        device: `"cuda"`, `"mps"` or `"cpu"`; None: the best that is available.
        usd_per_hour: What an hour of this machine costs you, all devices together, in US dollars. Plans, estimates and
            `budget_usd` take it into account. None: nothing is billed.
        trainer: The training library: the name of an entry point in the group `ftsdk.trainers`, or an object of the
            class registered there.
        trackers: Where events are sent in addition to the run's log: names of entry points in the group
            `ftsdk.trackers`.

    Raises:
        SpecError: `usd_per_hour` isn't a valid price, no such trainer is installed, or a worker couldn't build it.
    """

    def __init__(
        self,
        *,
        processes: int | None = None,
        device: Literal["cuda", "mps", "cpu"] | None = None,
        usd_per_hour: Decimal | float | None = None,
        trainer: str | Trainer = DEFAULT_TRAINER,
        trackers: Sequence[str] = (),
    ) -> None:
        launcher = LocalLauncher(processes=processes, device=device, usd_per_hour=usd_per_hour)
        super().__init__(name="local", launcher=launcher, trainer=load_trainer(trainer), trackers=trackers)
