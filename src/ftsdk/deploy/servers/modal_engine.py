"""Modal as an engine of `serve`: vLLM in a container beside the runs' Volume, priced before it starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ftsdk.cost.facts.formats import bytes_per_weight
from ftsdk.cost.facts.shapes import shape_of
from ftsdk.deploy.deployments import Deployment, deploy_plan
from ftsdk.deploy.servers.engines import VLLM, ModalServer
from ftsdk.deploy.servers.plan import RefusedPart, ServerPlan
from ftsdk.deploy.servers.served_models import ServableRun, ServedModels, planned_model
from ftsdk.deploy.servers.vllm.command import Paths, vllm_command, vllm_refusals
from ftsdk.errors import SpecError
from ftsdk.evals.endpoint import Endpoint
from ftsdk.models import inspect_model
from ftsdk.protocol import RunRef
from ftsdk.protocol.serving import (
    TEMPLATE_FILE,
    CanRentServers,
    RentedServer,
    ServingPlan,
    ServingStatus,
    plan_serving,
)

if TYPE_CHECKING:
    from ftsdk.protocol import Backend

__all__ = ["ModalEngine"]

_PORT = 8000
_ROOM = 1.3
"""GPU memory over that of the weights: vLLM's own needs, and a cache of keys and values that is worth a server."""


@runtime_checkable
class _RunOfBackend(ServableRun, Protocol):
    @property
    def backend(self) -> Backend: ...


class ModalEngine:
    """Serves runs of Modal on Modal."""

    def __init__(
        self, engine: ModalServer, models: ServedModels, *, max_hours: float | None, budget_usd: float | None
    ) -> None:
        self._engine = engine
        self._models = models
        self._max_hours = max_hours
        self._budget_usd = budget_usd

    @property
    def names(self) -> tuple[str, ...]:
        """The base and its adapters."""
        return self._models.names

    def plan(self) -> ServerPlan:
        """Return what will run, and what it costs at most.

        Raises:
            SpecError: There is no limit, or a run isn't one of Modal's.
            BudgetExceededError: The budget doesn't pay for a start, five minutes and the idle time.
        """
        refused = self._refused()
        notes = (
            "the address is public: a request without the key gets no answer, and wakes a container all the same",
            "ftsdk's tests start this against a stand-in on loopback; it was never run on a GPU of Modal's",
        )
        models = tuple(planned_model(one) for one in self._models.models)
        base = str(self._models.base)
        if refused:
            return ServerPlan(engine="Modal", runs="nothing", base=base, models=models, refused=refused, notes=notes)
        _, planned = self._planned()
        server = RentedServer.from_json(planned.offer.native["server"])
        starts = (
            f"{planned.offer.start_s // 60} min for a start at most, {planned.idle_stop_s // 60} min without a request "
            "until it stops"
        )
        return ServerPlan(
            engine="Modal",
            runs=f"vLLM on {planned.offer.hardware}, one container, none without requests; billed: {starts}",
            base=base,
            models=models,
            memory_bytes=self._weights_bytes(),
            price_usd_per_hour=planned.offer.price_usd_per_hour,
            at_most_usd=planned.at_most_usd,
            max_s=planned.max_s,
            command=server.command,
            notes=notes,
        )

    def write_files(self, into: Path) -> list[Path]:
        """Refuse: the app is deployed by `start`."""
        raise SpecError(
            f"a server at Modal is started from here and needs no files in {into}; for an app of your own: "
            "serve(..., engine='vllm').write_files('folder')"
        )

    def start(self, *, timeout_s: float, on_message: Callable[[str], None] | None) -> _RunningDeployment:
        """Deploy it, and wait until it answers."""
        deployment = self.deployment()
        if on_message is not None:
            on_message(f"starting {deployment.record.name}")
        return _RunningDeployment(deployment.start(timeout_s=timeout_s))

    def deployment(self, *, poll_s: float = 5.0) -> Deployment:
        """Return the deployment, which is on record with the first run. Starts nothing."""
        backend, planned = self._planned()
        ref = next(one.ref for one in self._models.models if one.ref is not None)
        return deploy_plan(backend, RunRef.parse(ref), planned, poll_s=poll_s)

    def _planned(self) -> tuple[CanRentServers, ServingPlan]:
        engine, backend = self._engine, self._backend()
        if engine.min_containers and self._budget_usd is not None:
            raise SpecError(
                "min_containers=1 bills until it is stopped, also if this process dies, so no budget can be kept; pass "
                "max_hours, or leave min_containers out"
            )
        weights = self._weights_bytes() or 0
        folders = {one.name: backend.adapter_folder(RunRef.parse(str(one.ref))) for one in self._models.adapted}
        template = None if self._models.base.chat_template is None else TEMPLATE_FILE
        command = vllm_command(
            VLLM(context_tokens=engine.context_tokens, gpus=_count(engine.gpu)),
            self._models,
            Paths(base=self._models.base.id, adapters=folders, template=template),
            host="0.0.0.0",  # of the container, whose port only Modal's proxy reaches
            port=_PORT,
        )
        server = RentedServer(
            command=command,
            port=_PORT,
            models=self.names,
            memory_gib=_ROOM * weights / 2**30 + 2,
            gpu=engine.gpu,
            api_key_env=engine.api_key_env,
            min_containers=engine.min_containers,
            chat_template=self._models.base.chat_template,
        )
        offers = backend.server_offers(server)
        if not offers:
            raise SpecError(
                f"no GPU has the {server.memory_gib:.0f} GiB that the model needs; name several: gpu='H100:2'"
            )
        planned = plan_serving(
            offers, budget_usd=self._budget_usd, max_hours=self._max_hours, idle_stop_s=engine.idle_stop_s
        )
        return backend, planned

    def _backend(self) -> CanRentServers:
        for one in self._models.models:
            backend = one.run.backend if isinstance(one.run, _RunOfBackend) else None
            if not isinstance(backend, CanRentServers):
                what = one.ref or one.model
                raise SpecError(
                    f"{what} isn't a run of Modal's, so its adapter is on no Volume there; serve it here "
                    "(engine='llama.cpp'), or write files: serve(..., engine='vllm').write_files('folder')"
                )
            return backend
        raise SpecError("nothing to serve")

    def _weights_bytes(self) -> int | None:
        shape = shape_of(inspect_model(self._models.base))
        adapters = sum(one.adapter.size_bytes for one in self._models.adapted if one.adapter)
        return None if shape is None else round(shape.parameters * bytes_per_weight("bf16")) + adapters

    def _refused(self) -> tuple[RefusedPart, ...]:
        found = [part for one in self._models.models for part in vllm_refusals(one)]
        for one in self._models.models:
            if one.model.source == "folder":
                advice = "tune a model of the hub, or merge and serve it elsewhere"
                found.append(RefusedPart(model=one.name, what="a base that is a folder of this machine", advice=advice))
        return tuple(found)


class _RunningDeployment:
    """A deployment as something that runs."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    @property
    def log(self) -> Path | None:
        """None: its log is at Modal."""
        return None

    def endpoint(self, name: str) -> Endpoint:
        """Return the endpoint of a model."""
        return self._deployment.endpoint.replace(model=name)

    def status(self) -> ServingStatus:
        """Return its state, from Modal."""
        return self._deployment.status()

    def stop(self, *, wait_s: float) -> None:
        """Stop it, and return once nothing is left of it."""
        self._deployment.stop(wait_s=wait_s)


def _count(gpu: str | None) -> int:
    number = "" if gpu is None else gpu.partition(":")[2]
    return int(number) if number.isdecimal() and number != "0" else 1
