"""`backend="modal"`: serverless GPUs, with the same worker and trainer as on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.hosted.trainer import DEFAULT_TRAINER, load_trainer, package_of
from ftsdk.backends.launchers.modal.launcher import ModalLauncher
from ftsdk.backends.launchers.modal.plan_launch import Options
from ftsdk.protocol import Orphan
from ftsdk.trackers import package_of_tracker

__all__ = ["Modal"]


class Modal(HostedBackend):
    """Modal: each run is a detached app that outlives this process, with its files on a Volume.

    Impossible values are refused by `plan()`, which names what there is.

    Args:
        gpu: `"H100"`; several in a container, `"H100:8"`; alternatives in the order of preference, `["H100",
            "A100-80GB"]`; or `"cpu"` for none. None: the cheapest that holds the job, unless a dearer one is so fast
            that the run costs much less.
        cpu: Physical cores, each of two threads.
        memory_gib: Of the container.
        region: `"us"`, `"eu-west"`, ...; naming one costs more. None: wherever there is room.
        timeout_s: Of one attempt, 1 to 86,400. None: from the budget or the estimate.
        max_attempts: How often the run may start again by itself after a crash or a timeout, 1 to 11; preemptions don't
            count, their time does.
        nodes: Whole hosts that train together.
        environment: Of Modal. None: the one of the active profile.
        volume: Name of the Volume for runs; it is made if it isn't there.
        secret: Name of a Modal Secret that the container gets, such as one with HF_TOKEN for gated models.
        trainer: The training library, by the name of its entry point in the group `ftsdk.trainers`.
        trackers: Where events go beside the run's own log, by the names of entry points in the group `ftsdk.trackers`.
    """

    def __init__(
        self,
        *,
        gpu: str | Sequence[str] | None = None,
        cpu: float | None = None,
        memory_gib: float | None = None,
        region: str | None = None,
        timeout_s: int | None = None,
        max_attempts: int | None = None,
        nodes: int = 1,
        environment: str | None = None,
        volume: str = "ftsdk",
        secret: str | None = None,
        trainer: str = DEFAULT_TRAINER,
        trackers: Sequence[str] = (),
    ) -> None:
        options = Options(
            gpu=gpu if gpu is None or isinstance(gpu, str) else tuple(gpu),
            cpu=cpu,
            memory_gib=memory_gib,
            region=region,
            timeout_s=timeout_s,
            max_attempts=max_attempts,
            nodes=nodes,
            environment=environment,
            volume=volume,
            secret=secret,
        )
        # A container doesn't see what is written to its Volume from outside, so asking it politely would be waiting in
        # vain.
        chosen = load_trainer(trainer)
        self._place = ModalLauncher(
            options,
            extra=chosen.extra,
            packages=(package_of(trainer), *(package_of_tracker(name) for name in trackers)),
        )
        super().__init__(name="modal", launcher=self._place, trainer=chosen, trackers=trackers, cancel_grace_s=0.0)

    def list_orphans(self, states: Mapping[str, str]) -> list[Orphan]:
        """Find apps that no run needs, and runs that have no app. Changes nothing.

        Args:
            states: Of the runs that are known here, by run id.
        """
        return self._place.list_orphans(states)
