"""`backend="modal"`: serverless GPUs, with the same worker and trainer as on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.hosted.trainer import DEFAULT_TRAINER, Trainer, load_trainer, package_of
from ftsdk.backends.launchers.modal.launcher import ModalLauncher
from ftsdk.backends.launchers.modal.options import Options
from ftsdk.backends.launchers.modal.serving import ModalServing
from ftsdk.protocol import Orphan, RunRef
from ftsdk.protocol.serving import RentedServer, ServingOffer, ServingPlan, ServingStatus
from ftsdk.spec.positional import by_name_only
from ftsdk.trackers import Tracker, TrackerRequest, check_trackers, extras_of_trackers, name_of, package_of_tracker

__all__ = ["Modal"]


@by_name_only
class Modal(HostedBackend):
    """Modal. Each run is a detached app, which continues when this process ends, with its files on a Volume.

    Impossible values are refused by `plan()`, which lists the possible ones.

    Args:
        gpu: `"H100"`; several in one container, `"H100:8"`; alternatives in order of preference, `["H100",
            "A100-80GB"]`; or `"cpu"` for none. None: the cheapest with enough memory for the job, unless a more
            expensive one is so fast that the run costs much less.
        cpu: Physical cores of the container, each with two threads.
        memory_gib: Memory of the container, in GiB.
        region: `"us"`, `"eu-west"`, ...; a fixed region costs more. None: any region.
        timeout_s: The limit of one attempt in seconds, 1 to 86,400. None: derived from the budget or the estimate.
        max_attempts: How many attempts a run may have after crashes and timeouts, 1 to 11. An attempt that Modal
            preempts doesn't count; its time does.
        nodes: Whole hosts that train together.
        environment: Modal's environment. None: that of the active profile.
        volume: Name of the Volume for runs, which is created if it doesn't exist.
        secret: Name of a Modal Secret for the container, such as one with HF_TOKEN for gated models.
        sharding: `"full"`: each process holds a share of the parameters, gradients and optimizer states (FSDP2), so
            that larger models fit. `"none"`: each holds the whole model.
        trainer: The training library: the name of an entry point in the group `ftsdk.trainers`, or an object of the
            class registered there.
        trackers: Where events are sent in addition to the run's log, as for `Local`. Keys come from `secret`.
            What writes files, such as TensorBoard, does so in the container: use `run.log_to("tensorboard")` instead.

    Raises:
        SpecError: No such trainer or tracker is installed, or a worker couldn't build it.
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
        sharding: Literal["none", "full"] = "none",
        trainer: str | Trainer = DEFAULT_TRAINER,
        trackers: Sequence[TrackerRequest | Tracker] = (),
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
        # No grace when cancelling: a container doesn't see the cancel file, since it isn't shown outside writes.
        chosen = load_trainer(trainer)
        self._serving = ModalServing(options)
        checked = check_trackers(trackers)
        self._modal = ModalLauncher(
            options,
            extra=chosen.extra,
            packages=(package_of(chosen.name), *(package_of_tracker(name_of(one)) for one in checked)),
            tracker_extras=extras_of_trackers(checked),
        )
        super().__init__(
            name="modal",
            launcher=self._modal,
            trainer=chosen,
            trackers=checked,
            sharding=sharding,
            cancel_grace_s=0.0,
        )

    def adapter_folder(self, ref: RunRef) -> str:
        """Return the folder of a run's adapter, as a container of a server sees it."""
        return self._serving.adapter_folder(ref.id)

    def server_offers(self, server: RentedServer) -> Sequence[ServingOffer]:
        """List the GPUs that a server fits on, with prices: at most what Modal may bill for a container an hour."""
        return self._serving.offers(server)

    def serving_offers(self, ref: RunRef) -> Sequence[ServingOffer]:
        """List the GPUs that Modal rents, with prices. Whether a model fits is decided when it is planned."""
        del ref
        return self._serving.offers(None)

    def start_serving(
        self, ref: RunRef, plan: ServingPlan, *, name: str, note: Callable[[Mapping[str, str]], None]
    ) -> None:
        """Deploy an app of that name, with the server of the plan in it."""
        del ref
        self._serving.start(plan, name=name, note=note)

    def poll_serving(self, name: str, native: Mapping[str, str]) -> ServingStatus:
        """Return the state of a server."""
        return self._serving.poll(name, native)

    def stop_serving(self, name: str, native: Mapping[str, str]) -> ServingStatus:
        """Stop the app of a server, and return whether it is gone."""
        del native
        return self._serving.stop(name)

    def list_orphans(self, states: Mapping[str, str]) -> list[Orphan]:
        """Return apps that no run needs, and runs that have no app. Changes nothing.

        Args:
            states: State by run id, of all runs in the ledger.
        """
        return self._modal.list_orphans(states)
