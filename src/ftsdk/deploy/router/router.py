"""`Router`: a tuned model in front of a fallback, in a program or as an address."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Self

from ftsdk.deploy.router.alias import Alias
from ftsdk.deploy.router.breaker import BreakerRule
from ftsdk.deploy.router.config import RouterConfig, router_config
from ftsdk.deploy.router.contract import Validator
from ftsdk.deploy.router.control import promote, roll_back, switch
from ftsdk.deploy.router.dispatch import Measure
from ftsdk.deploy.router.incoming import route_request
from ftsdk.deploy.router.recorded_status import recorded_status
from ftsdk.deploy.router.rollout_watch import Judge
from ftsdk.deploy.router.routed_answer import RoutedAnswer, answer_of
from ftsdk.deploy.router.service import RouterService
from ftsdk.deploy.router.status_text import RouterStatus
from ftsdk.errors import SpecError
from ftsdk.evals.endpoint import Endpoint
from ftsdk.evals.gate import Gate

__all__ = ["Router"]


class Router:
    """A tuned model in front of a fallback, with a breaker for each, one time budget, and rollback by measurement.

    ```python
    with Router(tuned, fallback=frontier) as router:
        print(router.complete("Where is my parcel?"))
    Router({"v3": v3, "v4": v4}, fallback=frontier, canary=0.05, gate=gate).serve(port=8080)
    ```

    Nothing runs until the first answer, `start` or `serve`. It may be used from any number of threads.
    """

    def __init__(
        self,
        target: Endpoint | Mapping[str, Endpoint],
        *,
        fallback: Endpoint | Mapping[str, Endpoint] | None = None,
        canary: float = 0.0,
        gate: Gate | None = None,
        name: str = "route",
        folder: str | Path | None = None,
        schema: Mapping[str, Any] | None = None,
        validator: Validator | None = None,
        judge: Judge | None = None,
        shadow: float = 0.2,
        timeout_s: float = 60.0,
        usd_per_day: Decimal | float | None = None,
        fallback_usd_per_hour: Decimal | float | None = None,
        accepts_cut: bool = False,
        uses_feedback: bool = False,
        promotes: bool = False,
        breaker: BreakerRule | None = None,
        observers: Sequence[object] = (),
        measure: Measure | None = None,
        lock_wait_s: float = 0.0,
    ) -> None:
        """Check a configuration; nothing is sent or written.

        Args:
            target: The tuned model; or two versions by name, of which the first is the champion.
            fallback: Who answers where the tuned model has no acceptable answer; several are asked in their order.
            canary: The share of conversations that the version on trial answers: the second version, or the only one,
                whose champion is then the fallback.
            gate: What turns back the version on trial; see `TrialRule`. None: it is turned back once it is shown to be
                worse at 0.95.
            name: Of the route; clients may ask for it as their model.
            folder: For the alias and the records; None: `routes/NAME` in ftsdk's home.
            schema: A JSON Schema that every answer must fit.
            validator: Gets messages and answer and returns whether the answer is acceptable; called before the client
                gets it, so it must be quick.
            judge: Gets messages and answer and returns whether the answer is good; called in a thread, for pairs only.
            shadow: The share of the canary's requests that the champion is asked, too. Each copy is billed.
            timeout_s: The time for a request, over all targets, in seconds.
            usd_per_day: The most that the router spends within any 24 hours, in US dollars.
            fallback_usd_per_hour: The most for fallbacks and shadow copies within any hour, in US dollars.
            accepts_cut: Deliver answers that ended at the limit of their tokens without asking the fallback.
            uses_feedback: Let the verdicts of users decide over the canary, too.
            promotes: Promote a canary that is shown to be better, without asking.
            breaker: When a target isn't asked any more.
            observers: Objects that hear of each answer; see `ftsdk.deploy.router.observers`.
            measure: Gets messages and answer and returns numbers that go into the record; must be quick.
            lock_wait_s: How long to wait for another router on the same folder to end, in seconds.

        Raises:
            SpecError: Something in it can't be, and what.
            MissingExtraError: A schema needs the extra `evals`.
        """
        self._config = router_config(
            target,
            fallback=fallback,
            canary=canary,
            gate=gate,
            name=name,
            folder=folder,
            schema=schema,
            validator=validator,
            judge=judge,
            shadow=shadow,
            timeout_s=timeout_s,
            usd_per_day=usd_per_day,
            fallback_usd_per_hour=fallback_usd_per_hour,
            accepts_cut=accepts_cut,
            uses_feedback=uses_feedback,
            promotes=promotes,
            breaker=breaker,
            observers=observers,
            measure=measure,
            lock_wait_s=lock_wait_s,
        )
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._service: RouterService | None = None
        self._server: Any = None

    @property
    def config(self) -> RouterConfig:
        """What it was told."""
        return self._config

    def __repr__(self) -> str:
        return f"Router({self._config.name!r}, targets={list(self._config.targets)})"

    def __enter__(self) -> Self:
        self._started()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def complete(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        conversation: str | None = None,
        slice_name: str | None = None,
        **parameters: Any,
    ) -> RoutedAnswer:
        """Answer a prompt.

        Args:
            prompt: A text, or messages with `role` and `content`.
            conversation: What keeps a conversation with one version; None: its first messages do.
            slice_name: A label for the record, of which there are few.
            parameters: Further parameters of a chat completion, such as `max_tokens` or `response_format`.

        Raises:
            BackendError: No target has an acceptable answer within the time; `retryable` tells whether it may work
                later.
            BudgetExceededError: The limit on money doesn't cover it.
            SpecError: The messages have no known form.
            CredentialsError: A key isn't set.
        """
        service, loop = self._started()
        waiting = self._answer(service, prompt, conversation, slice_name, parameters)
        return asyncio.run_coroutine_threadsafe(waiting, loop).result()

    async def acomplete(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        conversation: str | None = None,
        slice_name: str | None = None,
        **parameters: Any,
    ) -> RoutedAnswer:
        """Answer a prompt; see `complete`. Cancelling it cancels the request."""
        service, loop = await asyncio.to_thread(self._started)
        waiting = self._answer(service, prompt, conversation, slice_name, parameters)
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(waiting, loop))

    def feedback(self, request_id: str, *, accepted: bool, corrected: str | None = None) -> None:
        """Tell what a user thinks of an answer.

        Args:
            request_id: Of the request; or of the completion, as the target called it.
            accepted: Whether it was good.
            corrected: What would have been right; it goes to observers, and not into the records.

        Raises:
            SpecError: There is no answer of this id, or it is too old.
        """
        service, loop = self._started()

        async def take() -> str | None:
            return service.feedback(request_id, accepted=accepted, corrected=corrected)

        if asyncio.run_coroutine_threadsafe(take(), loop).result() is None:
            raise SpecError(f"no answer has the id {request_id!r}, or it is too old for feedback")

    def status(self) -> RouterStatus:
        """Return how things stand; prints well."""
        service, loop = self._started()

        async def look() -> dict[str, Any]:
            return service.status()

        return RouterStatus(asyncio.run_coroutine_threadsafe(look(), loop).result())

    def recorded_status(self) -> RouterStatus:
        """Return what the records say, from any process, also while no router runs."""
        return RouterStatus(recorded_status(self._config))

    def switch(
        self, champion: str | None = None, *, canary: str | None = None, share: float = 0.0, reason: str = "by hand"
    ) -> Alias:
        """Change who answers, in one write; requests in flight are not touched.

        Args:
            champion: The target to be asked first; None: as it is.
            canary: The target on trial; None: none.
            share: The share of conversations that it answers.
            reason: For the record.

        Raises:
            SpecError: No such target, or a share without a canary.
        """
        return switch(self._config, champion, canary=canary, share=share, reason=reason)

    def promote(self, *, reason: str = "by hand") -> Alias:
        """Make the canary the champion.

        Raises:
            SpecError: There is none.
        """
        return promote(self._config, reason=reason)

    def rollback(self, *, reason: str = "by hand") -> Alias:
        """Turn back the canary: the champion answers everything.

        Raises:
            SpecError: There is none.
        """
        return roll_back(self._config, reason=reason)

    def start(self, *, host: str = "127.0.0.1", port: int = 0) -> str:
        """Serve an OpenAI-compatible address in the background, and return it, such as `http://127.0.0.1:8080/v1`.

        Args:
            host: The address to listen at. There is no login: anybody who reaches it spends your money.
            port: 0 takes a free one.

        Raises:
            SpecError: The port is taken, or it serves already.
        """
        from ftsdk.deploy.router.server import RouterServer

        service, loop = self._started()
        if self._server is not None:
            raise SpecError(f"{self!r} serves already, at {self._server.address}")
        server = RouterServer(service)
        asyncio.run_coroutine_threadsafe(server.start(host, port), loop).result()
        self._server = server
        return server.address

    def serve(
        self, *, host: str = "127.0.0.1", port: int = 8080, on_ready: Callable[[str], None] | None = None
    ) -> None:
        """Serve an OpenAI-compatible address until SIGINT or SIGTERM; requests in flight are finished first.

        Args:
            host: See `start`.
            port: 0 takes a free one.
            on_ready: Called with the address once it can be used. None: it is printed to standard error.

        Raises:
            SpecError: The port is taken, or the router is in use in this program.
        """
        from ftsdk.deploy.router.server import serve_until_signal

        if self._thread is not None:
            raise SpecError(
                "this router is in use already; serve it in the background with start(), or close() it first"
            )
        serve_until_signal(RouterService(self._config), host=host, port=port, on_ready=on_ready or self._say_address)

    def _say_address(self, address: str) -> None:
        print(f"{self._config.name} answers at {address}; Ctrl-C stops it", file=sys.stderr, flush=True)  # noqa: T201

    def close(self) -> None:
        """Finish requests in flight and stop."""
        with self._lock:
            loop, thread, service, server = self._loop, self._thread, self._service, self._server
            self._loop = self._thread = self._service = self._server = None
        if loop is None or thread is None or service is None:
            return

        async def stop() -> None:
            if server is not None:
                await server.stop()
            await service.close()

        asyncio.run_coroutine_threadsafe(stop(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()

    def _started(self) -> tuple[RouterService, asyncio.AbstractEventLoop]:
        with self._lock:
            if self._loop is None or self._service is None:
                service = RouterService(self._config)
                loop = asyncio.new_event_loop()
                thread = threading.Thread(
                    target=loop.run_forever, name=f"ftsdk-router-{self._config.name}", daemon=True
                )
                thread.start()
                try:
                    asyncio.run_coroutine_threadsafe(service.start(), loop).result()
                except BaseException:
                    loop.call_soon_threadsafe(loop.stop)
                    thread.join()
                    loop.close()
                    raise
                self._loop, self._thread, self._service = loop, thread, service
            return self._service, self._loop

    async def _answer(
        self,
        service: RouterService,
        prompt: str | Sequence[Mapping[str, Any]],
        conversation: str | None,
        slice_name: str | None,
        parameters: Mapping[str, Any],
    ) -> RoutedAnswer:
        if parameters.get("stream"):
            raise SpecError("complete() returns whole answers; for a stream, start() the router and ask its address")
        messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        body = {"model": self._config.name, **parameters, "messages": messages}
        routed = await service.answer(route_request(body, conversation=conversation, slice_name=slice_name))
        return answer_of(routed)
