"""The launcher for Modal: a Volume with the run's folder, and one detached app for each run.

The state of a run is on the Volume; the call only shows that it is alive. A launch is recorded before the app is
created (with a token that the container compares), once the app exists, and once the call does: after a crash the next
client finds the app by its name, and the call by whether there is work in the app. Two clients can't launch one run at
once: on one machine a lock prevents it, on two machines the record, which only one of them can create.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any

from ftsdk._files import RUN_ID_RULE, is_run_id
from ftsdk._home import home
from ftsdk.backends.hosted.launcher import Hardware, LaunchPlan
from ftsdk.backends.hosted.worker import REQUEST
from ftsdk.backends.launchers.modal.apps import AppInfo, Apps
from ftsdk.backends.launchers.modal.attempts import ATTEMPTS, allowance, attempts_from_json
from ftsdk.backends.launchers.modal.client import ask_modal
from ftsdk.backends.launchers.modal.files import Cache, VolumeFiles
from ftsdk.backends.launchers.modal.given_up import given_up
from ftsdk.backends.launchers.modal.gpus import CPU_ONLY
from ftsdk.backends.launchers.modal.image import recipe
from ftsdk.backends.launchers.modal.limits import GRACE_S
from ftsdk.backends.launchers.modal.options import Options
from ftsdk.backends.launchers.modal.orphans import orphans
from ftsdk.backends.launchers.modal.plan_launch import hardware_for, plan_launch
from ftsdk.backends.launchers.modal.record import LAUNCH, LaunchRecord, app_name
from ftsdk.backends.launchers.modal.volume import Volume
from ftsdk.backends.launchers.recorded_end import RECORDED_END, recorded_end
from ftsdk.errors import RunNotFoundError
from ftsdk.protocol import Orphan, StateEvent
from ftsdk.runfolder.event_log import parse_events
from ftsdk.spec import JobSpec

__all__ = ["ModalLauncher"]

_STOP_WAIT_S = 20.0
_WATCH_S = 30.0
"""Seconds between two checks of the time that a run has taken."""
_LAUNCH_MAY_TAKE_S = 1800.0
"""A launch by another machine that is older than this, in seconds, is considered dead.

Until then an image may be building.
"""
_OPTIONS_OF_REQUEST = (
    "cpu",
    "region",
    "timeout_s",
    "max_attempts",
    "nodes",
    "environment",
    "volume",
    "secret",
)
"""Arguments that a launch request has under the same names."""


class ModalLauncher:
    """Starts workers on Modal.

    Args:
        options: The arguments of `Modal(...)`.
        extra: The extra of ftsdk that the image gets, as the trainer needs it.
        packages: The packages that the trainer and the trackers come in.
        tracker_extras: The extras of ftsdk that the trackers need.
        clock: Seconds since the epoch.
    """

    name = "modal"

    def __init__(
        self,
        options: Options,
        *,
        extra: str = "local",
        packages: tuple[str, ...] = (),
        tracker_extras: tuple[str, ...] = (),
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._options = options
        self._extras, self._packages = (extra, *tracker_extras), packages
        self._clock = clock
        self._volume = Volume(options.volume, environment=options.environment)
        self._apps = Apps(environment=options.environment)
        self._caches: dict[str, Cache] = {}
        self._going: dict[str, LaunchRecord] = {}
        self._overdue: dict[str, tuple[float, bool]] = {}
        """When it was last checked whether a run's container has outlived its time, and the answer."""

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that rebuild it: those that differ from the defaults."""
        defaults = Options()
        set_ones = {name: getattr(self._options, name) for name in Options.__dataclass_fields__}
        return {
            name: value if not isinstance(value, tuple) else list(value)
            for name, value in set_ones.items()
            if value != getattr(defaults, name)
        }

    def options_of(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments that lead to a run's launch request again.

        Those that were left open are what the plan chose then, so that the run has the same limits and the same price.
        """
        gpu, memory_mib = request.get("gpu"), request.get("memory_mib")
        found = {name: request.get(name) for name in _OPTIONS_OF_REQUEST}
        found["gpu"] = CPU_ONLY if gpu is None else gpu[0] if isinstance(gpu, list) and len(gpu) == 1 else gpu
        found["memory_gib"] = memory_mib / 1024 if isinstance(memory_mib, int) else None
        defaults = Options()
        return {name: value for name, value in found.items() if value not in (None, getattr(defaults, name))}

    def hardware(self, spec: JobSpec) -> Hardware:
        """Describe the chosen GPU."""
        return hardware_for(spec, self._options)

    def launch(self, spec: JobSpec) -> LaunchPlan:
        """Plan GPU, limits, image and cost."""
        return plan_launch(spec, self._options, recipe((*self._extras, *spec.method.extras), self._packages))

    def answer(self, *, timeout_s: float) -> str:
        """Ask Modal whether it accepts the token, and return its address.

        Raises:
            FtsdkError: It doesn't, or it doesn't answer.
        """
        return f"accepts the token, at {ask_modal(timeout_s=timeout_s)}"

    def files(self, run_id: str) -> VolumeFiles:
        """Return the run's files as they are now."""
        if not is_run_id(run_id):
            raise RunNotFoundError(f"modal has no run {run_id!r}: an id has {RUN_ID_RULE}")
        return VolumeFiles(self._volume, f"runs/{run_id}", self._caches.setdefault(run_id, {}), clock=self._clock)

    def start(self, run_id: str, request: Mapping[str, Any]) -> bool:
        """Create the app and spawn the call, unless the run has a call that isn't over.

        A container that has outlived its time is stopped.
        """
        with _launching(run_id) as is_ours:
            if not is_ours:
                return False
            return self._start(run_id, request)

    def native(self, run_id: str) -> Mapping[str, str]:
        """Return the ids of app and call, the Volume and the folder."""
        record = self._record(self.files(run_id))
        found = {"volume": self._options.volume, "run_folder": f"runs/{run_id}"}
        if self._options.environment:
            found["environment"] = self._options.environment
        if record is not None:
            found.update(
                {name: value for name, value in (("app_id", record.app_id), ("call_id", record.call_id)) if value}
            )
        return found

    def is_running(self, run_id: str) -> bool:
        """Return whether the call is waiting or working within its time, or a client is launching it.

        Changes nothing.
        """
        known = self._going.get(run_id)
        if known is not None and self._apps.call_state(known.call_id).state == "going":
            # One quick request for most looks at a run; the record is read again as soon as this call is over.
            return not self._is_overdue(run_id)
        self._going.pop(run_id, None)
        files = self.files(run_id)
        record = self._record(files)
        if record is None:
            return False
        if record.call_id:
            if known == record or self._apps.call_state(record.call_id).state == "over":
                return False
            self._going[run_id] = record
            return not self._is_overdue(run_id)
        if _is_being_launched(run_id) or self._is_foreign(record):
            return True
        # The client that launched it is gone. Was the call spawned?
        app = self._apps.look_at(record.app_id) if record.app_id else self._apps.find(record.app)
        return app is not None and app.has_work

    def stop(self, run_id: str) -> None:
        """Cancel the call, kill its containers and stop the app."""
        record = self._record(self.files(run_id))
        if record is not None:
            self._stop(record)

    def record_end(self, run_id: str, end: StateEvent) -> bool:
        """Write the end of a run whose worker can't; False if a worker is running. A run that has an end keeps it."""
        if self.is_running(run_id):
            return False
        files = self.files(run_id)
        if files.read(REQUEST) is None:
            return False
        record = self._going.get(run_id)
        if record is not None and self._is_overdue(run_id):
            self._stop(record)
        content = recorded_end(files.read_log(), end, at=self._clock())
        if content is not None:
            files.write_new(RECORDED_END, content)
        return True

    def _start(self, run_id: str, request: Mapping[str, Any]) -> bool:
        files = self.files(run_id)
        record = self._record(files)
        name = app_name(run_id)
        if record is not None and record.call_id and self._apps.call_state(record.call_id).state == "going":
            if self._is_overdue(run_id):
                self._end_overdue(run_id, record, request)
            return False
        if record is not None and not record.call_id and self._is_foreign(record):
            return False
        app = self._apps.find(name)
        is_unfinished = record is not None and not record.call_id
        if app is not None and is_unfinished and app.has_work:
            # The previous client spawned the call and died before it could record it.
            self._adopt(files, record, app)
            return False
        attempts = attempts_from_json(files.read(ATTEMPTS))
        refusal = allowance(attempts, request).refusal if attempts else ""
        if refusal:
            events = parse_events(files.read_log())
            self.record_end(run_id, given_up(refusal, attempts=len(attempts), limits=request, events=events))
            return False
        if app is not None and not (is_unfinished and app.has_function):
            # Its call is over, or it was never complete. It would stop by itself, but there must never be two.
            self._apps.stop(app.app_id)
            app = None
        claim = LaunchRecord(
            app=name,
            token=secrets.token_hex(8),
            client=_client_id(),
            at=self._clock(),
            app_id=app.app_id if app else "",
        )
        if record is None:
            if not files.write_new(LAUNCH, claim.to_json()):
                return False  # another machine was faster
        else:
            files.write(LAUNCH, claim.to_json())
        self._spawn(run_id, request, files, claim, app)
        return True

    def _spawn(
        self, run_id: str, request: Mapping[str, Any], files: VolumeFiles, claim: LaunchRecord, app: AppInfo | None
    ) -> None:
        limits = {
            key: request[key]
            for key in ("timeout_s", "max_attempts", "total_s", "budget_usd", "volume", "environment", "nodes")
        }
        order = json.dumps({"run": run_id, "token": claim.token, **limits})

        def write(app_id: str, call_id: str = "") -> None:
            known = LaunchRecord(
                app=claim.app, token=claim.token, client=claim.client, at=self._clock(), app_id=app_id, call_id=call_id
            )
            files.write(LAUNCH, known.to_json())

        if app is not None:
            # The previous client created the app and died before it could spawn.
            write(app.app_id, self._apps.spawn_in(app.app_id, order))
            return
        app_id, call_id = self._apps.launch(request, name=claim.app, run_id=run_id, order=order, on_app=write)
        write(app_id, call_id)

    def _adopt(self, files: VolumeFiles, record: LaunchRecord | None, app: AppInfo) -> None:
        assert record is not None
        attempts = attempts_from_json(files.read(ATTEMPTS))
        call_id = attempts[-1].call_id if attempts else ""
        known = LaunchRecord(
            app=record.app, token=record.token, client=record.client, at=record.at, app_id=app.app_id, call_id=call_id
        )
        if known != record:
            files.write(LAUNCH, known.to_json())

    def _stop(self, record: LaunchRecord) -> None:
        if record.call_id:
            self._apps.cancel(record.call_id)
        app_id = record.app_id
        if not app_id:
            found = self._apps.find(record.app)
            app_id = found.app_id if found else ""
        if app_id:
            self._apps.stop(app_id)
        if record.call_id:
            deadline = time.monotonic() + _STOP_WAIT_S
            while self._apps.call_state(record.call_id, wait_s=1.0).state == "going" and time.monotonic() < deadline:
                pass

    def _is_overdue(self, run_id: str) -> bool:
        """Return whether the container has clearly outlived its timeout, as of at most `_WATCH_S` seconds ago."""
        looked_at, is_overdue = self._overdue.get(run_id, (0.0, False))
        if self._clock() >= looked_at + _WATCH_S:
            is_overdue = self._outlived_its_time(self.files(run_id))
            self._overdue[run_id] = (self._clock(), is_overdue)
        return is_overdue

    def _outlived_its_time(self, files: VolumeFiles) -> bool:
        attempts = attempts_from_json(files.read(ATTEMPTS))
        if not attempts or attempts[-1].ending:
            return False
        try:
            left = allowance(attempts[:-1], json.loads(files.read(REQUEST) or b"")["launch"])
        except (ValueError, KeyError, TypeError):
            return False  # a damaged request sets no limit
        return self._clock() > attempts[-1].started_at + left.seconds + 2 * GRACE_S

    def _end_overdue(self, run_id: str, record: LaunchRecord, request: Mapping[str, Any]) -> None:
        """Stop a container that has outlived its time, and record that the run failed.

        It costs more than the plan said.
        """
        self._stop(record)
        files = self.files(run_id)
        attempts = len(attempts_from_json(files.read(ATTEMPTS)))
        log = files.read_log()
        content = recorded_end(
            log, given_up("time", attempts=attempts, limits=request, events=parse_events(log)), at=self._clock()
        )
        if content is not None:
            files.write_new(RECORDED_END, content)

    def _is_foreign(self, record: LaunchRecord) -> bool:
        """Return whether another machine is launching the run, as far as one can tell."""
        return record.client != _known_client_id() and self._clock() - record.at < _LAUNCH_MAY_TAKE_S

    def _record(self, files: VolumeFiles) -> LaunchRecord | None:
        record = LaunchRecord.from_json(files.read(LAUNCH))
        if record is not None and not record.call_id:
            # The container records its call's id, which a client that died after the spawn couldn't.
            attempts = attempts_from_json(files.read(ATTEMPTS))
            if attempts and attempts[-1].call_id and attempts[-1].started_at >= record.at - 5.0:
                return LaunchRecord(
                    app=record.app,
                    token=record.token,
                    client=record.client,
                    at=record.at,
                    app_id=record.app_id,
                    call_id=attempts[-1].call_id,
                )
        return record

    def list_orphans(self, states: Mapping[str, str]) -> list[Orphan]:
        """Find apps without a run and runs without an app."""
        return orphans(self._apps.live(), states)


def _lock_file(run_id: str) -> Path:
    return home() / "modal" / "launching" / f"{run_id}.lock"


@contextlib.contextmanager
def _launching(run_id: str, *, patience_s: float = 0.2) -> Generator[bool]:
    """Hold this machine's right to launch a run; yield False if another process has it.

    Args:
        run_id: The run.
        patience_s: Seconds to try for: `_is_being_launched` in another process takes the lock for a moment, too.
    """
    file = _lock_file(run_id)
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + patience_s
    try:
        while not (is_ours := _locks(descriptor, fcntl.LOCK_EX)) and time.monotonic() < deadline:
            time.sleep(0.01)
        yield is_ours
    finally:
        os.close(descriptor)


def _is_being_launched(run_id: str) -> bool:
    """Return whether a process on this machine is launching the run."""
    try:
        descriptor = os.open(_lock_file(run_id), os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return not _locks(descriptor, fcntl.LOCK_SH)
    finally:
        os.close(descriptor)


def _locks(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _client_id() -> str:
    """Return the random id of this ftsdk home; the first call creates it."""
    word = _known_client_id()
    if word:
        return word
    file = home() / "modal" / "client"
    file.parent.mkdir(parents=True, exist_ok=True)
    word = secrets.token_hex(8)
    try:
        with file.open("x", encoding="utf-8") as new:
            new.write(word)
    except FileExistsError:
        return _known_client_id()
    return word


def _known_client_id() -> str:
    """Return the random id of this ftsdk home; empty if it has launched nothing yet."""
    with contextlib.suppress(FileNotFoundError):
        return (home() / "modal" / "client").read_text(encoding="utf-8").strip()
    return ""
