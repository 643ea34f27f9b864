"""`backend="slurm"`: a cluster's scheduler, with the same worker and trainer as on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.hosted.trainer import DEFAULT_TRAINER, Trainer, load_trainer
from ftsdk.backends.launchers.hourly import hourly_price
from ftsdk.backends.launchers.lines import as_lines
from ftsdk.backends.launchers.remote.launcher import RemoteLauncher
from ftsdk.backends.launchers.slurm.launcher import SlurmLauncher
from ftsdk.backends.launchers.slurm.options import Options
from ftsdk.spec.positional import by_name_only
from ftsdk.trackers import Tracker, TrackerRequest

__all__ = ["Slurm"]


@by_name_only
class Slurm(HostedBackend):
    """A Slurm cluster. Each run is a batch job, which continues when this process ends.

    A job that nears its time limit, or is preempted, saves a checkpoint and is requeued; it resumes from there.

    Args:
        partition: The partition; several in order of preference are separated by commas. None: the cluster's default.
        account: The account to charge. None: your default one.
        gpus: GPUs of each node: `4`, or `"a100:4"` with the cluster's word for their type; 0: train on the CPU.
        gpu: What these GPUs are, such as `"A100-80GB"`, for estimates. None: what `gpus` says, if anything.
        cpus: Cores of each node. None: the cluster's default, which is often one.
        nodes: Hosts that train together, under torchrun.
        time: The time limit of one attempt, as Slurm writes it: `"2:00:00"`, `"1-12:00:00"`. None: the partition's. If
            the job has a `budget_usd` and an hour has a price, what the budget pays for, if that is less.
        host: A login node to submit from, as ssh knows it: `"user@login.example.org"`. None: this machine.
        usd_per_hour: What an hour of the whole allocation costs you, all nodes together, in US dollars. None: nothing
            is billed.
        python: The interpreter on the nodes, which has `ftsdk[local]`. None: the one that submits; with `host`,
            `python3`.
        folder: Where ftsdk keeps its runs, on a file system that all nodes see. None: `FTSDK_HOME`, or ftsdk's
            folder in your home.
        setup: Lines of shell that run before the worker, such as `"module load cuda/12.4"`. They are stored with the
            run, so no keys.
        sbatch: Further options for sbatch, such as `"--qos=long"`.
        ssh: Arguments for ssh, such as `("-J", "jump.example.org")`. Your own ssh configuration applies, too.
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
        partition: str | None = None,
        account: str | None = None,
        gpus: int | str = 1,
        gpu: str | None = None,
        cpus: int | None = None,
        nodes: int = 1,
        time: str | None = None,
        host: str | None = None,
        usd_per_hour: Decimal | float | None = None,
        python: str | None = None,
        folder: str | None = None,
        setup: Sequence[str] = (),
        sbatch: Sequence[str] = (),
        ssh: Sequence[str] = (),
        sharding: Literal["none", "full"] = "none",
        trainer: str | Trainer = DEFAULT_TRAINER,
        trackers: Sequence[TrackerRequest | Tracker] = (),
    ) -> None:
        options = Options(
            partition=partition,
            account=account,
            gpus=gpus,
            gpu=gpu,
            cpus=cpus,
            nodes=nodes,
            time=time,
            usd_per_hour=None if usd_per_hour is None else hourly_price(usd_per_hour),
            python=python,
            folder=folder,
            setup=as_lines("setup", setup),
            sbatch=as_lines("sbatch", sbatch),
        )
        launcher = SlurmLauncher(options)
        super().__init__(
            name="slurm",
            launcher=launcher if host is None else RemoteLauncher(launcher, host=host, ssh=as_lines("ssh", ssh)),
            trainer=load_trainer(trainer),
            trackers=trackers,
            sharding=sharding,
        )
