"""`Server`: tuned models behind one address, for as long as a block lasts."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Self

from ftsdk._format import html_block, html_table
from ftsdk._numbers import exact_amount
from ftsdk._rich_text import rich_text
from ftsdk.deploy.servers.engine_parts import EngineParts
from ftsdk.deploy.servers.plan import ServerPlan
from ftsdk.deploy.servers.running import Running
from ftsdk.deploy.servers.served_models import Servable, ServedModels
from ftsdk.errors import BudgetExceededError, FtsdkError, RunNotReadyError, SpecError
from ftsdk.evals.endpoint import Endpoint
from ftsdk.protocol.serving import ServingStatus
from ftsdk.spec.amounts import check_amount

__all__ = ["Server"]


class Server:
    """Tuned models behind one address. `serve(...)` returns one; entering the block, or `start()`, starts it.

    The `model` of a request chooses: `server.names` has the names. Printing it shows the plan and starts nothing.
    """

    def __init__(
        self,
        models: ServedModels,
        parts: EngineParts,
        *,
        max_hours: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Wrap a decision; starts nothing.

        Args:
            models: What it has.
            parts: The engine.
            max_hours: Stop after so many hours; None: at the end of the block or of this process.
            clock: Seconds; only differences count.
        """
        if max_hours is not None:
            check_amount("max_hours", max_hours, above=0, at_most=1_000_000)
        self._models = models
        self._parts = parts
        self._max_s = None if max_hours is None else float(exact_amount(max_hours) * 3600)
        self._clock = clock
        self._running: Running | None = None
        self._was_started = False
        self._is_over = threading.Event()
        self._is_out_of_time = False
        self._stopping = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The names that requests may have as their `model`: each tuned model, and mostly the base."""
        return self._parts.names

    @property
    def log(self) -> Path | None:
        """The file with the server's log; None: it isn't started, or has none on this machine."""
        return None if self._running is None else self._running.log

    def plan(self) -> ServerPlan:
        """Return what runs, with which models, what it needs, what it can cost, and what is refused. Starts nothing.

        Raises:
            ModelError: The base isn't there, or isn't whole.
        """
        plan = self._parts.plan()
        return plan if self._max_s is None or plan.max_s is not None else plan.replace(max_s=round(self._max_s))

    def write_files(self, into: str | Path) -> list[Path]:
        """Write what starts such a server elsewhere: commands, a compose file, a Modal function, Modelfiles.

        Args:
            into: A folder, which is made if it isn't there. Files of the same names are replaced.

        Returns:
            The files.

        Raises:
            UnsupportedSpecError: A model can't be served as it is.
            SpecError: This engine is started from here and needs no files.
        """
        self.plan().check()
        return self._parts.write_files(Path(into).expanduser())

    def __repr__(self) -> str:
        return f"Server({', '.join(self.names)}: {self._state()})"

    def __str__(self) -> str:
        return str(self.plan())

    __rich__ = rich_text

    def _repr_html_(self) -> str:
        return html_block(html_table([("server", ", ".join(self.names)), ("state", self._state())]))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        self.stop()
        if not isinstance(error, BudgetExceededError):
            self._check_time()

    def start(self, *, timeout_s: float = 1800.0, on_message: Callable[[str], None] | None = None) -> Self:
        """Start it, and wait until it answers. `stop()` stops it, and so does the end of this process.

        Args:
            timeout_s: Seconds until it is given up and stopped.
            on_message: Called with one sentence before each slow step.

        Raises:
            UnsupportedSpecError: A model can't be served as it is; nothing was started.
            ModelError: The model can't be found, or has no form that the engine takes.
            MissingExtraError: The engine isn't installed.
            BackendError: It didn't come up; what was started is stopped.
            TimeoutError: `timeout_s` is over; it is stopped.
            SpecError: It was started before.
        """
        check_amount("timeout_s", timeout_s, above=0)
        if self._was_started:
            raise SpecError("this server was started before; make a new one with serve(...)")
        self.plan().check()
        self._was_started = True
        atexit.register(self._stop_at_exit)
        try:
            self._running = self._parts.start(timeout_s=timeout_s, on_message=on_message)
        except BaseException:
            self._is_over.set()
            atexit.unregister(self._stop_at_exit)
            raise
        if self._max_s is not None:
            threading.Thread(target=self._watch_time, args=(self._max_s,), name="ftsdk-server", daemon=True).start()
        return self

    def endpoint(self, what: Servable | None = None) -> Endpoint:
        """Return the endpoint of a model, for `run.evaluate(against=[...])`, evals and the router.

        Args:
            what: The run or the model, or its name; that of the base stands for the base. None: the only one.

        Raises:
            RunNotReadyError: It isn't started, or was stopped.
            BudgetExceededError: It reached its time limit, and was stopped.
            SpecError: It isn't served here, or there are several and none was named.
        """
        self._check_time()
        if what is None:
            tuned = [one.name for one in self._models.models]
            if len(tuned) != 1:
                raise SpecError(f"this server has several models; name one: {', '.join(self.names)}")
            what = tuned[0]
        name = self._models.find(what)
        if name not in self.names:
            raise SpecError(f"{name!r} isn't served here; there are {', '.join(map(repr, self.names))}")
        if self._running is None or self._is_over.is_set():
            raise RunNotReadyError("the server isn't running; use it as a block: with serve(...) as server")
        return self._running.endpoint(name)

    def status(self) -> ServingStatus:
        """Return its state: `starting`, `ready`, `gone`, ... Before the start, and after the end, it is `gone`."""
        if self._running is None:
            return ServingStatus(state="gone", native="not started")
        return self._running.status()

    def stop(self, *, wait_s: float = 60.0) -> None:
        """Stop it, and return once nothing is left of it. Stopping twice does nothing.

        Args:
            wait_s: Seconds to go on trying.

        Raises:
            SpecError: `wait_s` isn't a number of seconds.
            BackendError: It is still there.
        """
        check_amount("wait_s", wait_s, at_least=0)
        with self._stopping:
            self._is_over.set()
            if self._running is not None:
                self._running.stop(wait_s=wait_s)
            atexit.unregister(self._stop_at_exit)

    def _state(self) -> str:
        return "not started" if self._running is None else "stopped" if self._is_over.is_set() else "running"

    def _watch_time(self, max_s: float) -> None:
        stops_at = self._clock() + max_s
        while not self._is_over.wait(max(0.0, min(5.0, stops_at - self._clock()))):
            if self._clock() >= stops_at:
                self._is_out_of_time = True
                break
        if self._is_out_of_time:
            while True:
                try:
                    self.stop()
                except FtsdkError:  # the end of the block tries again, and raises
                    time.sleep(5.0)
                else:
                    return

    def _check_time(self) -> None:
        if self._is_out_of_time and self._max_s is not None:
            raise BudgetExceededError(f"the server was stopped after {self._max_s / 3600:.3g} h, its time limit")

    def _stop_at_exit(self) -> None:
        self.stop(wait_s=30.0)
