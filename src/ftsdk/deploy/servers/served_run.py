"""`ServedRun`: one run behind an endpoint, by an engine of `serve`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from ftsdk._rich_text import rich_text
from ftsdk.deploy.deployments import Deployment
from ftsdk.deploy.servers.engines import Engine, EngineName, ModalServer
from ftsdk.deploy.servers.modal_engine import ModalEngine
from ftsdk.deploy.servers.plan import ServerPlan
from ftsdk.deploy.servers.serve import serve
from ftsdk.deploy.servers.served_models import ServableRun, name_models
from ftsdk.deploy.servers.server import Server
from ftsdk.errors import SpecError
from ftsdk.evals.endpoint import Endpoint
from ftsdk.protocol.serving import ServingStatus

__all__ = ["ServedRun", "rent_server", "serve_run"]


class ServedRun:
    """A run that is served for the duration of a `with` block, with the words of `Deployment`.

    `run.serve(engine=...)` returns one. Printing it shows the plan and starts nothing.
    """

    def __init__(self, server: Server) -> None:
        self.server = server
        """The server, of this run alone."""

    @property
    def plan(self) -> ServerPlan:
        """What runs, what it needs, and what is refused."""
        return self.server.plan()

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint of the tuned model.

        Raises:
            RunNotReadyError: It isn't started, or was stopped.
            BudgetExceededError: It reached its time limit, and was stopped.
        """
        return self.server.endpoint()

    @property
    def log(self) -> Path | None:
        """The file with the server's log, if it has one here."""
        return self.server.log

    def __repr__(self) -> str:
        return f"ServedRun({self.server!r})"

    def __str__(self) -> str:
        return str(self.server)

    __rich__ = rich_text

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *of: Any) -> None:
        self.server.__exit__(*of)

    def start(self, *, timeout_s: float = 1800.0) -> Self:
        """Start it and wait until it answers; see `Server.start`."""
        self.server.start(timeout_s=timeout_s)
        return self

    def status(self) -> ServingStatus:
        """Return its state."""
        return self.server.status()

    def stop(self, *, wait_s: float = 60.0) -> None:
        """Stop it, and return once nothing is left of it. Stopping twice does nothing."""
        self.server.stop(wait_s=wait_s)


def rent_server(
    run: ServableRun,
    *,
    gpu: str | None,
    idle_stop_s: int | None,
    budget_usd: float | None,
    max_hours: float | None,
    poll_s: float,
) -> Deployment:
    """Return a deployment of a run at a backend that runs servers of ours beside it; see `Run.serve`.

    Raises:
        UnsupportedSpecError: The model can't be served as it is.
        BudgetExceededError: The budget doesn't pay for it.
        SpecError: There is no limit.
    """
    settings = ModalServer(gpu=gpu) if idle_stop_s is None else ModalServer(gpu=gpu, idle_stop_s=idle_stop_s)
    engine = ModalEngine(settings, name_models([run]), max_hours=max_hours, budget_usd=budget_usd)
    engine.plan().check()
    return engine.deployment(poll_s=poll_s)


def serve_run(
    run: ServableRun, engine: Engine | EngineName, *, max_hours: float | None, options: Mapping[str, object]
) -> ServedRun:
    """Return a run as something to serve by an engine; see `Run.serve`.

    Args:
        run: The run.
        engine: What serves.
        max_hours: Stop after so many hours.
        options: Those of deployments at a provider, which engines don't take.

    Raises:
        SpecError: One of the options is set.
    """
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise SpecError(
            f"{given[0]} is for backends that rent out servers; with an engine, leave it out, and see the settings of "
            "the engine, such as LlamaCpp(threads=4)"
        )
    return ServedRun(serve(run, engine=engine, max_hours=max_hours))
