"""`backend="ssh"`: a machine that you own, with the same worker and trainer as on this one."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.hosted.trainer import DEFAULT_TRAINER, Trainer, load_trainer
from ftsdk.backends.launchers.hourly import hourly_price
from ftsdk.backends.launchers.lines import as_lines
from ftsdk.backends.launchers.owned_machine import OwnedMachine
from ftsdk.backends.launchers.remote.launcher import RemoteLauncher
from ftsdk.spec.positional import by_name_only
from ftsdk.trackers import Tracker, TrackerRequest

__all__ = ["SSH"]


@by_name_only
class SSH(HostedBackend):
    """Another machine, reached through ssh. A run is a process there, which continues when yours ends.

    Args:
        host: The machine, as ssh knows it: `"gpu-box"`, `"user@10.0.0.7"`. Your own ssh configuration applies.
            Plans without one are refused.
        gpus: How many of its GPUs are used, with a process for each; 0: train on its CPU.
        gpu: What they are, such as `"A100-80GB"`, for estimates and batch sizes. None: not known.
        usd_per_hour: What an hour of the machine costs you, all devices together, in US dollars. None: nothing is
            billed.
        python: The interpreter there, which has `ftsdk[local]` in the version of this machine: `"~/venv/bin/python"`.
            None: `python3`.
        folder: Where ftsdk keeps its runs there. None: ftsdk's folder in your home.
        ssh: Arguments for ssh, such as `("-J", "jump.example.org")`.
        sharding: `"full"`: each process holds a share of the parameters, gradients and optimizer states (FSDP2), so
            that larger models fit. `"none"`: each holds the whole model.
        trainer: The training library: the name of an entry point in the group `ftsdk.trainers`, or an object of the
            class registered there.
        trackers: Where events are sent in addition to the run's log, as for `Local`.

    Raises:
        SpecError: An argument isn't valid, or no such trainer or tracker is installed.
    """

    def __init__(
        self,
        *,
        host: str | None = None,
        gpus: int = 1,
        gpu: str | None = None,
        usd_per_hour: Decimal | float | None = None,
        python: str | None = None,
        folder: str | None = None,
        ssh: Sequence[str] = (),
        sharding: Literal["none", "full"] = "none",
        trainer: str | Trainer = DEFAULT_TRAINER,
        trackers: Sequence[TrackerRequest | Tracker] = (),
    ) -> None:
        machine = OwnedMachine(
            gpus=gpus,
            gpu=gpu,
            usd_per_hour=None if usd_per_hour is None else hourly_price(usd_per_hour),
            python=python,
            folder=folder,
        )
        launcher = RemoteLauncher(machine, host=host, ssh=as_lines("ssh", ssh), kind="local", agent_options={})
        super().__init__(
            name="ssh", launcher=launcher, trainer=load_trainer(trainer), trackers=trackers, sharding=sharding
        )
