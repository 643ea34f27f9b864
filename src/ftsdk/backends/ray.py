"""`backend="ray"`: jobs of an existing Ray cluster, with the same worker and trainer as on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.hosted.trainer import DEFAULT_TRAINER, Trainer, load_trainer
from ftsdk.backends.launchers.hourly import hourly_price
from ftsdk.backends.launchers.ray.launcher import RayLauncher
from ftsdk.backends.launchers.ray.options import Options
from ftsdk.protocol import Orphan
from ftsdk.spec.positional import by_name_only
from ftsdk.trackers import Tracker, TrackerRequest

__all__ = ["Ray"]


@by_name_only
class Ray(HostedBackend):
    """An existing Ray cluster, through its Jobs API. Each run is a job, which continues when this process ends.

    If a node dies, the job reserves another one and resumes the run from its newest whole checkpoint.

    Args:
        address: The cluster's dashboard: `"http://head:8265"`. Plans without one are refused. Tokens come from
            RAY_AUTH_TOKEN or RAY_JOB_HEADERS in the environment.
        storage: Where runs are kept: a folder that this machine and all nodes see under the same path, or an object
            store, such as `"s3://bucket/ftsdk"`, through fsspec. Plans without one are refused.
        gpus: GPUs of each node, with a process for each; 0: train on the CPU.
        gpu: What these GPUs are, such as `"A100-80GB"`, for estimates. None: not known.
        cpus: Cores of each node. None: one for each of its processes.
        nodes: Hosts that train together, under torchrun.
        resources: What else each node must have, in Ray's words: `{"accelerator_type:A100": 0.001}`.
        autoscaling: Whether the cluster grows on demand. False: what its nodes don't have is refused at once.
        usd_per_hour: What an hour of all nodes together costs you, in US dollars. None: nothing is billed.
        runtime_env: Ray's runtime environment of the job: `{"pip": ["ftsdk[local]"]}`. It is stored with the run and
            shown by the dashboard, so no keys.
        python: The interpreter on the cluster, which has `ftsdk[local]`.
        trainer: The training library: the name of an entry point in the group `ftsdk.trainers`, or an object of the
            class registered there.
        trackers: Where events are sent in addition to the run's log, as for `Local`. Keys come from the environment of
            the nodes.

    Raises:
        SpecError: An argument isn't valid, or no such trainer or tracker is installed.
    """

    def __init__(
        self,
        *,
        address: str | None = None,
        storage: str | None = None,
        gpus: int = 1,
        gpu: str | None = None,
        cpus: int | None = None,
        nodes: int = 1,
        resources: Mapping[str, float] | None = None,
        autoscaling: bool = False,
        usd_per_hour: Decimal | float | None = None,
        runtime_env: Mapping[str, Any] | None = None,
        python: str = "python",
        trainer: str | Trainer = DEFAULT_TRAINER,
        trackers: Sequence[TrackerRequest | Tracker] = (),
    ) -> None:
        options = Options(
            address=address,
            storage=storage,
            gpus=gpus,
            gpu=gpu,
            cpus=cpus,
            nodes=nodes,
            resources={} if resources is None else resources,
            autoscaling=autoscaling,
            usd_per_hour=None if usd_per_hour is None else hourly_price(usd_per_hour),
            runtime_env={} if runtime_env is None else runtime_env,
            python=python,
        )
        self._ray = RayLauncher(options)
        super().__init__(name="ray", launcher=self._ray, trainer=load_trainer(trainer), trackers=trackers)

    def list_orphans(self, states: Mapping[str, str]) -> list[Orphan]:
        """Return jobs that no run needs, and runs that have no job. Changes nothing.

        Args:
            states: State by run id, of all runs in the ledger.
        """
        return self._ray.list_orphans(states)
