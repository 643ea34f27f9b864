"""`backend="local"`: this machine."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.hosted.trainer import DEFAULT_TRAINER, Trainer, load_trainer
from ftsdk.backends.launchers.local import LocalLauncher
from ftsdk.spec.positional import by_name_only
from ftsdk.trackers import Tracker, TrackerRequest

__all__ = ["Local"]


@by_name_only
class Local(HostedBackend):
    """This machine. A run is a process of its own, which continues when yours ends.

    Args:
        processes: Worker processes, one for each device; None: one for each CUDA device, or one. Several run under
            torchrun, with nccl on GPUs and gloo on CPUs.
        device: `"cuda"`, `"mps"` or `"cpu"`; None: the best that is available.
        usd_per_hour: What an hour of this machine costs you, all devices together, in US dollars. Plans, estimates and
            `budget_usd` take it into account. None: nothing is billed.
        sharding: `"full"`: each process holds a share of the parameters, gradients and optimizer states (FSDP2), so
            that larger models fit. `"none"`: each holds the whole model.
        trainer: The training library: the name of an entry point in the group `ftsdk.trainers`, or an object of the
            class registered there.
        trackers: Where events go besides the run's log: `"trackio"`, `"tensorboard"`, `"wandb"`, `"mlflow"`
            or another entry point of the group `ftsdk.trackers`, or an object such as `Wandb(project="mails")`.
        env: Names of environment variables that the run's process receives in addition to what training needs. It
            inherits paths, locale, proxies and the settings of Python, torch, CUDA and Hugging Face (`HF_TOKEN` among
            them); of keys, only those that begin with the name of its trainer or a tracker (`WANDB_API_KEY` for
            `wandb`). Values are read from your environment when the run starts and are stored nowhere.

    Raises:
        SpecError: `usd_per_hour` isn't a valid price, no such trainer is installed, a worker couldn't build it, or
            `env` contains something other than names.
    """

    def __init__(
        self,
        *,
        processes: int | None = None,
        device: Literal["cuda", "mps", "cpu"] | None = None,
        usd_per_hour: Decimal | float | None = None,
        sharding: Literal["none", "full"] = "none",
        trainer: str | Trainer = DEFAULT_TRAINER,
        trackers: Sequence[TrackerRequest | Tracker] = (),
        env: Sequence[str] = (),
    ) -> None:
        launcher = LocalLauncher(processes=processes, device=device, usd_per_hour=usd_per_hour, env=env)
        super().__init__(
            name="local", launcher=launcher, trainer=load_trainer(trainer), trackers=trackers, sharding=sharding
        )
