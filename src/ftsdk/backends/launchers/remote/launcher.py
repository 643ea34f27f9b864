"""A launcher whose runs are on another machine, which is reached through ssh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from ftsdk._files import is_run_id
from ftsdk.backends.hosted.launcher import Hardware, LaunchPlan, QueuedJob
from ftsdk.backends.launchers.inputs import inputs_of
from ftsdk.backends.launchers.remote.channel import Channel, channel_to, check_host, ssh_command
from ftsdk.backends.launchers.remote.files import RemoteFiles
from ftsdk.errors import Gap, RunNotFoundError, SpecError
from ftsdk.protocol import StateEvent
from ftsdk.spec import JobSpec

__all__ = ["Planner", "RemoteLauncher"]


_WHICH = "say which machine, as ssh knows it: SSH(host='gpu-box')"


class Planner(Protocol):
    """The part of a launcher that is offline, and so runs here."""

    @property
    def name(self) -> str:
        """Its name in plans and manifests."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that rebuild it, as JSON."""
        ...

    def options_of(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments, as far as a run's launch request says."""
        ...

    def hardware(self, spec: JobSpec) -> Hardware:
        """Return what a worker for this spec will run on."""
        ...

    def launch(self, spec: JobSpec) -> LaunchPlan:
        """Plan how the worker will be started."""
        ...


class RemoteLauncher:
    """Plans here, and acts there.

    Args:
        planner: Plans.
        host: The machine, as ssh knows it; None: not said yet, and refused by plans.
        ssh: Further arguments for ssh.
        kind: The launcher that acts there, as the agent knows it; None: the planner's name.
        python: The interpreter that runs the agent; None: the planner's option, or `python3`.
    """

    def __init__(
        self,
        planner: Planner,
        *,
        host: str | None,
        ssh: Sequence[str] = (),
        kind: str | None = None,
        agent_options: Mapping[str, Any] | None = None,
    ) -> None:
        self._planner = planner
        self._host = "" if host is None else check_host(host)
        self._ssh = tuple(ssh)
        given = dict(planner.options)
        python, folder = str(given.get("python") or "python3"), given.pop("folder", None)
        if any("\n" in part or "\0" in part for part in self._ssh):
            raise SpecError("ssh takes a list of arguments without line breaks, such as ['-J', 'jump.example.org']")
        given.pop("usd_per_hour", None)
        # There, it is the interpreter that runs the agent, with its "~" expanded.
        given.pop("python", None)
        self._command = ssh_command(self._host, python, self._ssh)
        self._opening = {
            "kind": kind or planner.name,
            "options": given if agent_options is None else dict(agent_options),
            "folder": folder,
        }
        self._to_host = channel_to(self._command, host=self._host, opening=self._opening)

    @property
    def name(self) -> str:
        """Its name in plans and manifests."""
        return self._planner.name

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that rebuild it."""
        return {**self._planner.options, **self._route}

    def options_of(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments that a run's launch request was made of."""
        return {**self._planner.options_of(request), **self._route}

    def hardware(self, spec: JobSpec) -> Hardware:
        """Return what the machine has, as far as the options say."""
        return self._planner.hardware(spec)

    def launch(self, spec: JobSpec) -> LaunchPlan:
        """Plan how the worker will be started, and what has to be uploaded. Offline."""
        plan = self._planner.launch(spec)
        # The interpreter there is known by the agent, which is run by it.
        request = {**{k: v for k, v in plan.request.items() if k != "python"}, "host": self._host}
        gaps = plan.gaps if self._host else (*plan.gaps, Gap("backend.host", None, (), _WHICH))
        return replace(plan, request=request, inputs=inputs_of(spec), gaps=gaps)

    def answer(self, *, timeout_s: float) -> str:
        """Return what is there, over a connection of its own.

        Raises:
            SpecError: It isn't said which machine.
            CredentialsError: ssh wasn't let in.
            BackendError: The machine doesn't answer, or can't run a worker.
        """
        if not self._host:
            raise SpecError(_WHICH)
        asked = Channel(
            self._command, host=self._host, opening=self._opening, hello_s=timeout_s, answer_s=max(timeout_s, 1.0)
        )
        try:
            return str(asked.call("answer", timeout_s=timeout_s))
        finally:
            asked.close()

    def files(self, run_id: str) -> RemoteFiles:
        """Return the run's files."""
        return RemoteFiles(self._channel, self._checked(run_id))

    def start(self, run_id: str, request: Mapping[str, Any]) -> bool:
        """Start a worker there, or submit its job."""
        return bool(self._channel.call("start", run_id=self._checked(run_id), request=dict(request)))

    def native(self, run_id: str) -> Mapping[str, str]:
        """Return the machine, and its own ids for the run."""
        found: object = self._channel.call("native", run_id=self._checked(run_id))
        ids = {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        return {**ids, "host": self._host}

    def is_running(self, run_id: str) -> bool:
        """Return whether a worker is running there, or waits in its queue."""
        return bool(self._channel.call("is_running", run_id=self._checked(run_id)))

    def queued(self, run_id: str) -> QueuedJob | None:
        """Return why the worker hasn't started yet; None if it has, or if there is none."""
        found: Any = self._channel.call("queued", run_id=self._checked(run_id))
        if not found:
            return None
        return QueuedJob(
            native=str(found["native"]), reason=str(found["reason"]), is_blocked=found["is_blocked"] is True
        )

    def stop(self, run_id: str) -> None:
        """Kill the worker with all its processes."""
        self._channel.call("stop", run_id=self._checked(run_id))

    def record_end(self, run_id: str, end: StateEvent) -> bool:
        """Append the last event of a run whose worker is gone. Return False if a worker is running."""
        given = end.to_dict()
        return bool(self._channel.call("record_end", run_id=self._checked(run_id), end=given))

    @property
    def _route(self) -> dict[str, Any]:
        """The arguments that say where the machine is."""
        host = {"host": self._host} if self._host else {}
        return {**host, **({"ssh": list(self._ssh)} if self._ssh else {})}

    @property
    def _channel(self) -> Channel:
        if not self._host:
            raise SpecError(_WHICH)
        return self._to_host

    def _checked(self, run_id: str) -> str:
        if not is_run_id(run_id):
            raise RunNotFoundError(f"{self.name} has no run {run_id!r}: that can't be the name of its folder")
        return run_id
