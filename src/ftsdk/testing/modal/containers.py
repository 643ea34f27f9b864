"""Containers: each is the client's own entry point, in a process of this machine, and works on one input."""

from __future__ import annotations

import asyncio
import contextlib
import fnmatch
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from modal_proto import api_pb2 as pb

from ftsdk.testing.modal.apps import ENVIRONMENT
from ftsdk.testing.modal.faults import FileLines, InputTaken, Interruption, LogLine, Moment, ProcessStarted
from ftsdk.testing.modal.functions import Function, Functions
from ftsdk.testing.modal.logs import LogKey, Logs
from ftsdk.testing.modal.processes import Reaper, end_container
from ftsdk.testing.modal.sources import Images, Mounts, Secrets
from ftsdk.testing.modal.verdicts import How
from ftsdk.testing.modal.volumes import Volumes
from ftsdk.testing.modal.world import FaultScript, HostSettings

__all__ = ["TASK_HEADER", "Container", "Containers", "translated"]

TASK_HEADER = "x-loopback-task"
"""Identifies the container that sends a request: the client's own requests don't."""
_LOOK_EVERY_S = 0.03
_ROOT = "root"
# A process started by nohup, or by a shell in the background, ignores SIGINT, and so would all that it starts; in a
# real container nobody ignores it, and a preemption is told by it.
_ENTRY = (
    "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    " runpy.run_module('modal._container_entrypoint', run_name='__main__', alter_sys=True)"
)


@dataclass(eq=False)
class Container:
    """One container."""

    task_id: str
    function: Function
    key: LogKey
    folder: Path
    process: asyncio.subprocess.Process | None = None
    taken: float | None = None
    """When it was given its input."""
    interrupted: How | None = None
    """What was done to it from outside."""
    cancel_ids: list[str] = field(default_factory=list[str])
    """Inputs that the next heartbeat will cancel."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    volumes: dict[str, Path] = field(default_factory=dict[str, Path])
    """Mount path -> folder of the host."""

    def interrupt(self, how: How, grace_s: float) -> None:
        """End it: gently at first if it is preempted, and at once otherwise."""
        if self.interrupted is not None or (self.process is not None and self.process.returncode is not None):
            return
        self.interrupted = how
        # One that has no process yet is ended as soon as it has.
        if how == "preempted" and self.process is not None:
            self.process.send_signal(signal.SIGINT)
            asyncio.get_running_loop().call_later(grace_s, self.kill)
        else:
            self.kill()

    def kill(self) -> None:
        """End it at once, with everything in it. No-op if it has ended."""
        if self.process is not None and self.process.returncode is None:
            end_container(self.process.pid, self.task_id)


class Containers:
    """Starts containers and watches over them."""

    def __init__(
        self,
        settings: HostSettings,
        root: Path,
        reaper: Reaper,
        faults: FaultScript,
        *,
        functions: Functions,
        images: Images,
        mounts: Mounts,
        secrets: Secrets,
        volumes: Volumes,
        logs: Logs,
        app_name: Callable[[str], str],
    ) -> None:
        self._settings = settings
        self._root = root
        self._reaper = reaper
        self._faults = faults
        self._functions = functions
        self._images = images
        self._mounts = mounts
        self._secrets = secrets
        self._volumes = volumes
        self._logs = logs
        self._app_name = app_name
        self.running: dict[str, Container] = {}
        """By task id."""
        self.started = 0

    def new(self, function: Function, *, call_id: str, input_id: str) -> Container:
        """Make a container that isn't running yet."""
        task_id = self._settings.ids.new("ta")
        key = LogKey(
            app_id=function.app_id, function_id=function.id, call_id=call_id, input_id=input_id, task_id=task_id
        )
        return Container(task_id, function, key, self._root / task_id)

    async def run(self, container: Container) -> int:
        """Run a container to its end, and return the process's exit status, negative for a signal."""
        await self._forget_uncommitted(container)
        environment = self._prepare(container)
        self.running[container.task_id] = container
        self.started += 1
        try:
            process = container.process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-c",
                _ENTRY,
                env=environment,
                cwd=container.folder / _ROOT,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                limit=1 << 24,
            )
            self._reaper.watch(process.pid)
            if container.interrupted is not None:
                container.kill()
            self._moment(container, ProcessStarted())
            pumps = [
                asyncio.create_task(self._pump(container, process.stdout, pb.FILE_DESCRIPTOR_STDOUT)),
                asyncio.create_task(self._pump(container, process.stderr, pb.FILE_DESCRIPTOR_STDERR)),
            ]
            watch = asyncio.create_task(self._watch(container))
            try:
                status = await process.wait()
            finally:
                watch.cancel()
                # What it started and left behind would be gone with a real container; here it also keeps the pipes
                # open.
                end_container(process.pid, container.task_id)
                await asyncio.gather(*pumps, return_exceptions=True)
                self._reaper.forget(process.pid)
            return status
        finally:
            del self.running[container.task_id]

    def input_taken(self, container: Container) -> None:
        """Start its clock."""
        container.taken = time.monotonic()
        self._moment(container, InputTaken())

    async def _forget_uncommitted(self, container: Container) -> None:
        """Show it what was committed.

        Volumes that another container is working on stay as they are: both work in one folder.
        """
        busy = {volume_id for other in self.running.values() for volume_id in _mounted(other)}
        for volume_id in _mounted(container) - busy:
            await self._volumes.volume(volume_id).restore()

    def _prepare(self, container: Container) -> dict[str, str]:
        """Make its folder, and decide what its environment is."""
        definition = container.function.definition
        (container.folder / _ROOT).mkdir(parents=True)
        for mount in definition.volume_mounts:
            host = self._volumes.volume(mount.volume_id).host_folder(mount.sub_path)
            host.mkdir(parents=True, exist_ok=True)
            container.volumes[mount.mount_path.rstrip("/")] = host
        layers = self._images.layers(definition.image_id)
        mount_ids = [*definition.mount_ids, *(layer.context_mount_id for layer in layers if layer.context_mount_id)]
        sources = [str(self._mounts.unpacked(mount_id) / _ROOT) for mount_id in mount_ids]
        asked = self._images.environment(definition.image_id)
        for secret_id in definition.secret_ids:
            asked.update(self._secrets.environment(secret_id))
        arguments = pb.ContainerArguments(
            task_id=container.task_id,
            function_id=container.function.id,
            app_id=container.function.app_id,
            function_def=definition,
            app_layout=self._functions.layout(container.function.app_id),
            environment_name=ENVIRONMENT,
        )
        (container.folder / "arguments").write_bytes(arguments.SerializeToString())
        return {
            **self._settings.passed_on,
            "HOME": str(container.folder / _ROOT),
            "PYTHONUNBUFFERED": "1",
            "MODAL_CLOUD_PROVIDER": "CLOUD_PROVIDER_LOOPBACK",
            "MODAL_REGION": "loopback",
            "MODAL_ENVIRONMENT": ENVIRONMENT,
            "MODAL_IMAGE_ID": definition.image_id,
            **translated(asked, container.volumes),
            "PYTHONPATH": os.pathsep.join([*sources, *filter(None, [self._settings.passed_on.get("PYTHONPATH")])]),
            "MODAL_IS_REMOTE": "1",
            "MODAL_TASK_ID": container.task_id,
            "MODAL_SERVER_URL": self._settings.grpc_url,
            "MODAL_CONFIG_PATH": str(container.folder / "no-such-file.toml"),
            "MODAL_CONTAINER_ARGUMENTS_PATH": str(container.folder / "arguments"),
            "MODAL_OVERRIDE_HEADERS": f"{TASK_HEADER}:{container.task_id}",
            "MODAL_HEARTBEAT_INTERVAL": "1",
            "MODAL_DISABLE_API_PROXY": "1",
        }

    async def _pump(
        self, container: Container, source: asyncio.StreamReader | None, descriptor: pb.FileDescriptor.ValueType
    ) -> None:
        while source is not None and (line := await source.readline()):
            text = line.decode(errors="replace")
            self._logs.write(container.key, text, descriptor=descriptor)
            self._moment(container, LogLine(containing=text))

    async def _watch(self, container: Container) -> None:
        """Check timeouts and files, and commit, in the background."""
        seconds = container.function.definition.timeout_secs
        every = self._settings.commit_every_s
        committed = time.monotonic()
        while True:
            if every is not None and time.monotonic() - committed > every:
                for volume_id in _mounted(container):
                    await self._volumes.volume(volume_id).commit()
                committed = time.monotonic()
            if container.taken is not None and time.monotonic() - container.taken > seconds:
                container.interrupt("timeout", self._settings.grace_s)
            fault = self._next(container)
            if (
                fault is not None
                and isinstance(fault.at, FileLines)
                and _lines(fault.at, container.volumes) >= fault.at.lines
            ):
                self._interrupt(container, fault)
            await asyncio.sleep(_LOOK_EVERY_S)

    def _moment(self, container: Container, now: Moment) -> None:
        """Interrupt the container if the next fault waits for this moment."""
        fault = self._next(container)
        if fault is None or type(fault.at) is not type(now):
            return
        if isinstance(fault.at, LogLine) and isinstance(now, LogLine) and fault.at.containing not in now.containing:
            return
        self._interrupt(container, fault)

    def _next(self, container: Container) -> Interruption | None:
        """Return the fault that may happen to this container: the first that was added and hasn't ended."""
        if container.interrupted is not None:
            return None
        name = self._app_name(container.function.app_id)
        return next(
            (fault for fault in self._faults.pending(Interruption) if fnmatch.fnmatchcase(name, fault.app)), None
        )

    def _interrupt(self, container: Container, fault: Interruption) -> None:
        if self._faults.happens(fault):
            hows: dict[str, How] = {"preempt": "preempted", "crash": "crashed", "oom": "oom", "timeout": "timeout"}
            container.interrupt(hows[fault.how], self._settings.grace_s)


def _mounted(container: Container) -> set[str]:
    return {mount.volume_id for mount in container.function.definition.volume_mounts}


def translated(environment: Mapping[str, str], volumes: Mapping[str, Path]) -> dict[str, str]:
    """Return the environment with mount paths, and paths below them, replaced by the host's folders."""
    result: dict[str, str] = {}
    for name, value in environment.items():
        mount = next(
            (m for m in sorted(volumes, key=len, reverse=True) if value == m or value.startswith(f"{m}/")), None
        )
        result[name] = value if mount is None else f"{volumes[mount]}{value[len(mount) :]}"
    return result


def _lines(moment: FileLines, volumes: Mapping[str, Path]) -> int:
    wanted = moment.containing.encode()
    count = 0
    for folder in set(volumes.values()):
        for path in folder.glob(moment.pattern):
            with contextlib.suppress(OSError):
                count += sum(
                    1 for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n") and wanted in line
                )
    return count
