"""`backend="local"`: this machine."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.hosted.trainer import DEFAULT_TRAINER, load_trainer
from ftsdk.backends.launchers.local import LocalLauncher

__all__ = ["Local"]


class Local(HostedBackend):
    """This machine: the run is a process of its own that outlives yours.

    Args:
        processes: Worker processes, one for each device; None takes all CUDA devices, or one process. More than one
            runs under torchrun: nccl on GPUs, gloo on CPUs.
        device: `"cuda"`, `"mps"` or `"cpu"`; None takes the best that is there.
        usd_per_hour: What an hour of this machine, all its devices together, costs you, in US dollars: plans, estimates
            and `budget_usd` count it. None: nothing is billed.
        trainer: The training library, by the name of its entry point in the group `ftsdk.trainers`.
        trackers: Where events go beside the run's own log, by the names of entry points in the group `ftsdk.trackers`.
        env: Names of environment variables that the run's process gets, beside what training needs. It inherits paths,
            locale, proxies and the settings of Python, torch, CUDA and Hugging Face (`HF_TOKEN` among them); of keys,
            only those that begin with the name of its trainer or a tracker (`WANDB_API_KEY` for `wandb`). Values are
            read from your environment when the run starts and are kept nowhere.

    Raises:
        SpecError: `usd_per_hour` isn't a price, no such trainer is installed, or `env` holds something else than names.
    """

    def __init__(
        self,
        *,
        processes: int | None = None,
        device: Literal["cuda", "mps", "cpu"] | None = None,
        usd_per_hour: Decimal | float | None = None,
        trainer: str = DEFAULT_TRAINER,
        trackers: Sequence[str] = (),
        env: Sequence[str] = (),
    ) -> None:
        launcher = LocalLauncher(processes=processes, device=device, usd_per_hour=usd_per_hour, env=env)
        super().__init__(name="local", launcher=launcher, trainer=load_trainer(trainer), trackers=trackers)
