"""`backend="skypilot"`: machines of many clouds, rented by SkyPilot, with the same worker and trainer as here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.hosted.trainer import DEFAULT_TRAINER, Trainer, load_trainer
from ftsdk.backends.launchers.hourly import hourly_price
from ftsdk.backends.launchers.lines import as_lines
from ftsdk.backends.launchers.skypilot.launcher import SkyPilotLauncher
from ftsdk.backends.launchers.skypilot.options import Options
from ftsdk.errors import SpecError
from ftsdk.protocol import Orphan
from ftsdk.spec.positional import by_name_only
from ftsdk.trackers import Tracker, TrackerRequest

__all__ = ["SkyPilot"]


@by_name_only
class SkyPilot(HostedBackend):
    """A machine that SkyPilot rents: at RunPod, Vast.ai, Lambda, AWS, GCP, Azure, or on Kubernetes, Slurm or by ssh.

    Each run is a managed job. If its machine is taken away, SkyPilot rents another one, and the run goes on from its
    newest whole checkpoint; when the job is over, the machine is given back. SkyPilot itself is installed apart from
    ftsdk, which calls its API server.

    Args:
        cloud: Where, in SkyPilot's words, with a region if it matters: `"runpod"`, `"aws/us-east-1"`, `"kubernetes"`.
            None: the cheapest that it may use.
        gpu: Which GPU, as SkyPilot calls it, such as `"A100-80GB"`. Plans without one are refused.
        gpus: How many, all on one machine, with a process for each; 0: train on the CPU.
        use_spot: Rent machines that can be taken away, for less.
        storage: Where runs are kept: an object store, such as `"s3://bucket/ftsdk"`, through fsspec, or a folder that
            this machine and those of the jobs see under the same path. Plans without one are refused.
        server: SkyPilot's API server. None: SKYPILOT_API_SERVER_ENDPOINT, or `http://127.0.0.1:46580`. A token comes
            from SKYPILOT_SERVICE_ACCOUNT_TOKEN in the environment.
        cpus: Cores that the machine has at least. None: what comes with the GPU.
        disk_gib: Its disk in GiB. None: SkyPilot's default.
        image: A machine image, or a container: `"docker:pytorch/pytorch:2.9.0-cuda12.8-cudnn9-runtime"`.
        setup: Lines of shell that prepare the machine. None: install `ftsdk[local,s3]` in this version.
        secrets: Names of environment variables of this process whose values the job gets, such as
            `["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]`. They are stored by the API server, and not with the run.
        usd_per_hour: What an hour costs at most, in US dollars; SkyPilot rents nothing dearer. None: the price book's.
        python: The interpreter on the machine.
        look_s: Seconds for which an answer about a running job is used again: each question costs the API server
            seconds.
        trainer: The training library: the name of an entry point in the group `ftsdk.trainers`, or an object of the
            class registered there.
        trackers: Where events are sent in addition to the run's log, as for `Local`.

    Raises:
        SpecError: An argument isn't valid, or no such trainer or tracker is installed.
    """

    def __init__(
        self,
        *,
        cloud: str | None = None,
        gpu: str | None = None,
        gpus: int = 1,
        use_spot: bool = False,
        storage: str | None = None,
        server: str | None = None,
        cpus: int | None = None,
        disk_gib: int | None = None,
        image: str | None = None,
        setup: Sequence[str] | None = None,
        secrets: Sequence[str] = (),
        usd_per_hour: Decimal | float | None = None,
        python: str = "python3",
        look_s: float = 20.0,
        trainer: str | Trainer = DEFAULT_TRAINER,
        trackers: Sequence[TrackerRequest | Tracker] = (),
    ) -> None:
        if isinstance(secrets, str):
            # Not shown: it may be the secret itself.
            raise SpecError("secrets is one text: write a list of names, secrets=['HF_TOKEN']")
        options = Options(
            cloud=cloud,
            gpu=gpu,
            gpus=gpus,
            use_spot=use_spot,
            storage=storage,
            server=server,
            cpus=cpus,
            disk_gib=disk_gib,
            image=image,
            setup=None if setup is None else as_lines("setup", setup),
            secrets=tuple(secrets),
            usd_per_hour=None if usd_per_hour is None else hourly_price(usd_per_hour),
            python=python,
            look_s=look_s,
        )
        self._skypilot = SkyPilotLauncher(options)
        super().__init__(name="skypilot", launcher=self._skypilot, trainer=load_trainer(trainer), trackers=trackers)

    def list_orphans(self, states: Mapping[str, str]) -> list[Orphan]:
        """Return jobs and machines that no run needs, and runs that have no job. Changes nothing.

        Args:
            states: State by run id, of all runs in the ledger.
        """
        return self._skypilot.list_orphans(states)
