"""Apps and the calls in them: finding, launching and stopping."""

from __future__ import annotations

import builtins
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from ftsdk.backends.launchers.modal.client import import_modal, modal_call, modal_client
from ftsdk.backends.launchers.modal.function import FUNCTION, register_function
from ftsdk.errors import BackendError

__all__ = ["AppInfo", "Apps", "CallState"]


@dataclass(frozen=True, kw_only=True)
class AppInfo:
    """An app that isn't stopped."""

    app_id: str
    name: str
    has_function: bool = False
    """Whether the runner is registered in it, so that a call can be spawned."""
    has_work: bool = False
    """Whether a call is waiting or running in it."""


@dataclass(frozen=True, kw_only=True)
class CallState:
    """What is known of a call. Until it is over, waiting and running look the same."""

    state: Literal["going", "over"]
    word: str
    """Modal's own word for the end."""
    message: str = ""


class Apps:
    """The apps of one environment.

    Args:
        environment: Modal's environment; None means the one of the active profile.
    """

    def __init__(self, *, environment: str | None) -> None:
        self._environment = environment

    def find(self, name: str) -> AppInfo | None:
        """Return the app with this name, and whether there is work in it; None if there is none or it is stopped."""
        found = [app for app in self.live() if app.name == name]
        return None if not found else self._with_work(found[0])

    @modal_call("listing apps")
    def live(self) -> list[AppInfo]:
        """Return the apps of the environment that aren't stopped. Detached apps can't be looked up by name."""
        environments, client = import_modal().Environment, modal_client()
        environment = (
            environments.from_name(self._environment, client=client)
            if self._environment
            else environments.from_context(client=client)
        )
        return [
            AppInfo(app_id=app.app_id or "", name=app.description or app.name or "") for app in environment.apps.list()
        ]

    @modal_call("looking at app {app_id}")
    def look_at(self, app_id: str) -> AppInfo | None:
        """Return the app with this id, and whether there is work in it; None if there is none or it is stopped."""
        modal = import_modal()
        try:
            info = modal.App.lookup(app_id, client=modal_client()).info(refresh=True)
        except modal.exception.NotFoundError:
            return None
        if info.lifecycle.state.value in ("stopped", "stopping", "disabled"):
            return None
        return self._with_work(AppInfo(app_id=app_id, name=info.description))

    @modal_call("launching app {name}")
    def launch(
        self, request: Mapping[str, Any], *, name: str, run_id: str, order: str, on_app: Callable[[str], None]
    ) -> tuple[str, str]:
        """Create a detached app and spawn the one call in it.

        Args:
            request: The launch request of a plan.
            name: The app's name.
            run_id: The run's id, for the app's tags.
            order: JSON for the runner.
            on_app: Called with the app's id once the app exists and before anything is spawned.

        Returns:
            The ids of app and call.
        """
        modal = import_modal()
        app = modal.App(name, tags={"ftsdk-run": run_id[:63]}, include_source=False)
        function = register_function(modal, app, request, environment=self._environment)
        spawned: Any = None
        with app.run(detach=True, name=name, client=modal_client(), environment_name=self._environment):
            on_app(app.app_id or "")
            spawned = function.spawn(order)
        # The client swallows some exceptions of the block.
        if spawned is None or not app.app_id:
            raise BackendError(
                f"app {app.app_id} was created, but the call wasn't spawned in it; submit again", retryable=True
            )
        return app.app_id, spawned.object_id

    @modal_call("spawning in app {app_id}")
    def spawn_in(self, app_id: str, order: str) -> str:
        """Spawn the call in an existing app, and return the call's id."""
        modal = import_modal()
        functions = modal.App.lookup(app_id, client=modal_client()).info(refresh=True).functions
        return modal.Function.from_id(functions[FUNCTION], client=modal_client()).spawn(order).object_id

    @modal_call("asking for call {call_id}")
    def call_state(self, call_id: str, *, wait_s: float = 0.0) -> CallState:
        """Return whether a call is over.

        Args:
            call_id: The call.
            wait_s: Seconds to wait for its end. 0 makes it one quick request: a longer one waits the whole time on an
                expired result.
        """
        modal = import_modal()
        known = modal.exception
        try:
            result = modal.FunctionCall.from_id(call_id, client=modal_client()).get(timeout=wait_s)
        except builtins.TimeoutError:
            return CallState(state="going", word="pending")
        except known.FunctionTimeoutError as error:
            return CallState(state="over", word="timeout", message=str(error))
        except known.OutputExpiredError as error:
            return CallState(state="over", word="expired", message=str(error))
        except (
            known.RemoteError,
            known.InternalFailure,
            known.NotFoundError,
            known.ExecutionError,
            known.DeserializationError,
        ) as error:
            return CallState(state="over", word=type(error).__name__, message=str(error)[:500])
        except RuntimeError as error:  # the runner's only one: every attempt exited without reporting
            return CallState(state="over", word="raised", message=str(error)[:500])
        return CallState(state="over", word="returned", message=str(result)[:500])

    @modal_call("cancelling call {call_id}")
    def cancel(self, call_id: str) -> None:
        """Cancel a call and kill its containers. Does nothing if it is over or unknown."""
        modal = import_modal()
        with contextlib.suppress(modal.exception.NotFoundError):
            modal.FunctionCall.from_id(call_id, client=modal_client()).cancel(terminate_containers=True)

    @modal_call("stopping app {app_id}")
    def stop(self, app_id: str) -> None:
        """Stop an app and everything that runs in it. Does nothing if it is stopped or unknown."""
        modal = import_modal()
        with contextlib.suppress(modal.exception.NotFoundError, modal.exception.ConflictError):
            modal.App.lookup(app_id, client=modal_client()).stop()

    @modal_call("looking at app {app.app_id}")
    def _with_work(self, app: AppInfo) -> AppInfo:
        modal = import_modal()
        function_id = modal.App.lookup(app.app_id, client=modal_client()).info(refresh=True).functions.get(FUNCTION)
        if function_id is None:
            return app
        stats = modal.Function.from_id(function_id, client=modal_client()).get_current_stats()
        return replace(
            app, has_function=True, has_work=stats.backlog + stats.num_running_inputs + stats.num_total_runners > 0
        )
