"""A backend made of a launcher and a trainer."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from ftsdk._files import RUN_ID_RULE, is_run_id
from ftsdk.backends.hosted.diagnosis import attempts_without_progress, crash_loop
from ftsdk.backends.hosted.launcher import (
    CanAnswer,
    CanQueue,
    CanReadOptions,
    Launcher,
    QueuedJob,
    RunFiles,
    Sharding,
)
from ftsdk.backends.hosted.log_lines import LOG
from ftsdk.backends.hosted.sharding import check_sharding, sharding_gaps
from ftsdk.backends.hosted.stop_condition import CANCEL, CANCELLED_BY_USER
from ftsdk.backends.hosted.trainer import DEFAULT_TRAINER, Trainer
from ftsdk.backends.hosted.worker import ARTIFACT, BLOCKED, LEFT, REQUEST
from ftsdk.data import Store
from ftsdk.errors import (
    BackendError,
    CorruptArtifactError,
    Diagnosis,
    Gap,
    RunNotFoundError,
    SpecError,
)
from ftsdk.models import files_of_model
from ftsdk.protocol import (
    TERMINAL,
    Artifact,
    Capabilities,
    Event,
    Plan,
    Recovered,
    RunRef,
    RunStatus,
    StateEvent,
    StepEvent,
    check_succeeded,
    find_gaps,
    refuse,
)
from ftsdk.protocol.estimates import PlannedHardware
from ftsdk.runfolder.event_log import EVENTS, EventIndex
from ftsdk.runfolder.manifest import verify
from ftsdk.spec import JobSpec
from ftsdk.trackers import Tracker, TrackerRequest, check_trackers

__all__ = ["HostedBackend"]


class HostedBackend:
    """A backend made of a launcher, which knows where workers run, and a trainer, which knows how to train.

    The state of a run is derived from its event log and from whether a worker is running; nothing else is stored.

    Args:
        name: The word in `backend="..."`.
        launcher: Starts and stops the workers.
        trainer: Trains in the worker.
        trackers: Names of entry points in the group `ftsdk.trackers`, or objects of the classes registered there.
        sharding: `"full"`: parameters, gradients and optimizer states are spread over all processes.
        max_attempts: Attempts in a row without a new checkpoint after which a run fails.
        cancel_grace_s: Seconds after which a second `cancel` kills the worker.
    """

    def __init__(
        self,
        *,
        name: str,
        launcher: Launcher,
        trainer: Trainer,
        trackers: Sequence[TrackerRequest | Tracker] = (),
        sharding: Sharding = "none",
        max_attempts: int = 5,
        cancel_grace_s: float = 20.0,
    ) -> None:
        self._name = name
        self._launcher = launcher
        self._trainer = trainer
        self._trackers = check_trackers(trackers)
        self._sharding = check_sharding(sharding)
        self._max_attempts = max_attempts
        self._cancel_grace_s = cancel_grace_s
        self._logs: dict[str, EventIndex] = {}
        """What this process has read of each run's event log, by run id."""

    @property
    def name(self) -> str:
        """The word in `backend="..."`."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """What the trainer can do."""
        return self._trainer.capabilities

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that rebuild it: the launcher's, the trackers, and the trainer unless it is the default."""
        trainer = {} if self._trainer.name == DEFAULT_TRAINER else {"trainer": self._trainer.name}
        trackers = {"trackers": list(self._trackers)} if self._trackers else {}
        sharding = {} if self._sharding == "none" else {"sharding": self._sharding}
        return {**self._launcher.options, **sharding, **trainer, **trackers}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.options.items())
        return f"{type(self).__name__}({arguments})"

    def plan(self, spec: Any) -> Plan:
        """Decide everything, start nothing."""
        gaps: list[Gap] = find_gaps(spec, self.capabilities)
        refuse(self.name, gaps)
        hardware = replace(self._launcher.hardware(spec), sharding=self._sharding)
        refuse(self.name, sharding_gaps(spec, hardware, self._trainer))
        training = self._trainer.translate(spec, hardware)
        launch = self._launcher.launch(spec)
        refuse(self.name, [*training.gaps, *launch.gaps])
        return Plan(
            backend=self.name,
            spec=spec,
            request={
                "trainer": self._trainer.name,
                "training": _with_remote_paths(training.request, launch.inputs),
                "launch": dict(launch.request),
                **({} if self._sharding == "none" else {"sharding": self._sharding}),
                **({"trackers": list(self._trackers)} if self._trackers else {}),
                **({"inputs": {name: path for path, name in launch.inputs.items()}} if launch.inputs else {}),
            },
            adjustments=(*launch.adjustments, *training.adjustments),
            workload=training.workload,
            billing=launch.billing,
            notes=(*training.notes, *launch.notes),
            hardware=PlannedHardware(
                device=hardware.device,
                name=hardware.name,
                processes=hardware.processes,
                memory_gib=hardware.memory_gib,
                has_bfloat16=hardware.has_bfloat16,
                larger=hardware.larger,
            ),
        )

    def submit(self, plan: Plan, *, key: str) -> RunRef:
        """Write the run's folder, and start a worker unless one is running or the run is over."""
        if not is_run_id(key):
            raise SpecError(f"run key {key!r} can't be the name of a folder; use {RUN_ID_RULE}")
        files = self._launcher.files(key)
        request = {**plan.request, "spec": plan.spec.to_dict()}
        content = json.dumps(request, indent=1, sort_keys=True).encode()
        there = files.read(REQUEST)
        if there is not None and there != content:
            raise BackendError(
                f"run {self.name}:{key} exists already with another request, and a key is one run only; submit this "
                "job under another key"
            )
        if there is None:
            store = Store()
            sources = {"data/train.arrow": store.get(plan.spec.train.fingerprint)}
            if plan.spec.validation is not None:
                sources["data/validation.arrow"] = store.get(plan.spec.validation.fingerprint)
            for name, path in plan.request.get("inputs", {}).items():
                sources.update(files_of_model(Path(path), name, with_code=plan.spec.model.trust_remote_code))
            files.put(sources)
            # Last, so that a folder with a request has its data.
            files.write(REQUEST, content)
        ref = RunRef(backend=self.name, id=key)
        if not self.status(ref).is_terminal:
            self._launcher.start(key, plan.request["launch"])
        return RunRef(backend=self.name, id=key, native=self._launcher.native(key))

    def check_access(self, *, timeout_s: float) -> str:
        """Ask the machine, the scheduler or the service whether it is there. Changes nothing.

        Raises:
            FtsdkError: It can't be used, with what to do about it.
        """
        if isinstance(self._launcher, CanAnswer):
            return self._launcher.answer(timeout_s=timeout_s)
        return "nothing to ask"

    def find(self, plan: Plan, *, key: str) -> RunRef | None:
        """Return the run that was submitted under a key, or None if there is none."""
        # Without a request in its folder, no worker was ever started.
        del plan
        if self._launcher.files(key).read(REQUEST) is None:
            return None
        return RunRef(backend=self.name, id=key, native=self._launcher.native(key))

    def recover(self, key: str) -> Recovered | None:
        """Return what the request in a run's folder says; what its launcher was told beyond it isn't known.

        Raises:
            BackendError: The request can't be read.
        """
        content = self._launcher.files(key).read(REQUEST)
        if content is None:
            return None
        try:
            request: dict[str, Any] = json.loads(content)
            spec = JobSpec.from_dict(request.pop("spec"))
            launch: Mapping[str, Any] = request["launch"]
            trainer = str(request["trainer"])
            trackers = list(request.get("trackers", ()))
            sharding = check_sharding(request.get("sharding", "none"))
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
            raise BackendError(f"the {REQUEST} of run {self.name}:{key} is damaged: {error}") from error
        options = self._launcher.options_of(launch) if isinstance(self._launcher, CanReadOptions) else {}
        return Recovered(
            plan=Plan(backend=self.name, spec=spec, request=request),
            native=self._launcher.native(key),
            options={
                **options,
                **({} if sharding == "none" else {"sharding": sharding}),
                **({} if trainer == DEFAULT_TRAINER else {"trainer": trainer}),
                **({"trackers": trackers} if trackers else {}),
            },
        )

    def status(self, ref: RunRef) -> RunStatus:
        """Derive the state from the event log and from whether a worker is running. Changes nothing."""
        # Whether it is running first: a worker that exits between the two reads has written its last event by then.
        is_running = self._launcher.is_running(ref.id)
        files = self._launcher.files(ref.id)
        if files.read(REQUEST) is None:
            raise RunNotFoundError(f"{self.name} has no run {ref.id}; `ftsdk runs` lists the runs")
        states = self._log(ref).states(partial(files.read, EVENTS))
        last = states[-1] if states else None
        attempts = sum(e.native.startswith("attempt") for e in states)
        if last is not None and last.state in TERMINAL:
            return _status_at_end(last, files, attempts=attempts)
        if files.read(CANCEL) is not None:
            if is_running:
                return RunStatus(state="cancelling", native="cancelling", attempts=attempts)
            end = self._unrecorded_end(ref)
            # None: a worker has started, or reported an end, since `is_running` was read.
            return self.status(ref) if end is None else _status_at_end(end, files, attempts=attempts)
        if is_running:
            waiting = self._queued(ref)
            if waiting is not None:
                native = BLOCKED if waiting.is_blocked else waiting.native
                return RunStatus(state="queued", native=native, reason=waiting.reason, attempts=attempts)
            if last is None or last.state == "queued":
                return RunStatus(state="queued", native="starting", reason="the worker is starting", attempts=attempts)
            return RunStatus(state=last.state, native=last.native or last.state, reason=last.reason, attempts=attempts)
        if last is not None and last.native == BLOCKED:
            return RunStatus(state="queued", native=BLOCKED, reason=last.reason, attempts=attempts)
        if last is None:
            reason = "the worker hasn't reported anything yet, or was never started"
        elif last.native == LEFT:
            reason = last.reason
        else:
            reason = (
                "the worker exited without reporting: it was killed, or the machine went down; wait() resumes from the "
                "last whole checkpoint"
            )
        return RunStatus(
            state="queued", native="interrupted", reason=reason, log_tail=_log_tail(files), attempts=attempts
        )

    def events(self, ref: RunRef, *, after: int = -1) -> Iterable[Event]:
        """Return the events in the log.

        If a cancelled run has no worker that could report its end, the end is added. Changes nothing.
        """
        files = self._launcher.files(ref.id)
        events = self._log(ref).events(partial(files.read, EVENTS), after=after)
        if events is None and files.read(REQUEST) is None:
            raise RunNotFoundError(f"{self.name} has no run {ref.id}; `ftsdk runs` lists the runs")
        end = self._unrecorded_end(ref)
        if end is None:
            return events or []
        before = self._log(ref).events(partial(files.read, EVENTS), after=after) or []
        return [*(event for event in before if event.seq < end.seq), *([end] if end.seq > after else [])]

    def _log(self, ref: RunRef) -> EventIndex:
        return self._logs.setdefault(ref.id, EventIndex())

    def _queued(self, ref: RunRef) -> QueuedJob | None:
        return self._launcher.queued(ref.id) if isinstance(self._launcher, CanQueue) else None

    def _unrecorded_end(self, ref: RunRef) -> StateEvent | None:
        """Return the last event of a cancelled run whose worker is gone.

        It depends on the run's files only, so every process derives the same event until `cancel` or `resume` records
        it. None if the log has an end, or a worker may still write one.
        """
        files = self._launcher.files(ref.id)
        cancelled_at = files.read(CANCEL)
        if (
            cancelled_at is None
            or _is_over(self._log(ref).states(partial(files.read, EVENTS)))
            or self._launcher.is_running(ref.id)
        ):
            return None
        # Read again: a worker that has exited in the meantime may have written its end.
        files = self._launcher.files(ref.id)
        events = self._log(ref).events(partial(files.read, EVENTS)) or []
        if _is_over([event for event in events if isinstance(event, StateEvent)]):
            return None
        last_at = events[-1].at if events else 0.0
        at = max(_seconds(cancelled_at), last_at)
        return StateEvent(seq=len(events), at=at, state="cancelled", reason=CANCELLED_BY_USER)

    def _record_end(self, ref: RunRef) -> bool:
        """Record the end of a cancelled run whose worker is gone. Return False if there is nothing to record."""
        end = self._unrecorded_end(ref)
        return end is not None and self._launcher.record_end(ref.id, end)

    def resume(self, ref: RunRef) -> bool:
        """Start a worker on a stalled run. If too many attempts in a row made no new checkpoint, the run fails."""
        status = self.status(ref)
        if self._record_end(ref) or status.is_terminal or status.native not in ("interrupted", BLOCKED):
            return False
        events = list(self.events(ref))
        tries = attempts_without_progress(events)
        if tries >= self._max_attempts:
            steps = [e.step for e in events if isinstance(e, StepEvent)]
            diagnosis = crash_loop(tries, step=steps[-1] if steps else None, log_tail=status.log_tail)
            self._launcher.record_end(
                ref.id, StateEvent(state="failed", reason=diagnosis.message, diagnosis=diagnosis._asdict())
            )
            return False
        return self._launcher.start(ref.id, _launch_request(self._launcher.files(ref.id), ref))

    def cancel(self, ref: RunRef) -> None:
        """Request that the worker stops after its current step.

        If that was requested at least `cancel_grace_s` seconds ago, kill it. One that waits in a queue is taken out.
        """
        if not self.status(ref).is_terminal:
            files = self._launcher.files(ref.id)
            requested_s_ago = files.age_s(CANCEL)
            if requested_s_ago is None:
                files.write(CANCEL, f"{time.time():.3f}".encode())
            if (requested_s_ago or 0.0) >= self._cancel_grace_s or self._queued(ref) is not None:
                self._launcher.stop(ref.id)
        self._record_end(ref)

    def collect(self, ref: RunRef, into: Path) -> Artifact:
        """Download the weights and check them against their manifest."""
        check_succeeded(ref, self.status(ref).state, wanted="weights to collect")
        self._launcher.files(ref.id).fetch(ARTIFACT, into)
        manifest = verify(into)
        if manifest.get("kind") not in ("adapter", "model"):
            raise CorruptArtifactError(
                f"{into / 'manifest.json'} has an unknown kind of artifact: {manifest.get('kind')!r}; known: adapter, "
                "model"
            )
        return Artifact(path=into, kind=manifest["kind"], base=manifest["base"], manifest=manifest)


def _log_tail(files: RunFiles, *, lines: int = 20) -> str:
    content = files.read(LOG) or b""
    return "\n".join(content[-20_000:].decode("utf-8", "replace").splitlines()[-lines:])


def _with_remote_paths(training: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, Any]:
    """Replace the model's local paths by those that the worker will see: relative to the run's folder."""
    request = dict(training)
    if inputs:
        model: dict[str, Any] = dict(request["model"])
        request["model"] = {
            key: f"./{inputs[path]}" if isinstance(path, str) and path in inputs else path
            for key, path in model.items()
        }
    return request


def _status_at_end(end: StateEvent, files: RunFiles, *, attempts: int) -> RunStatus:
    return RunStatus(
        state=end.state,
        native=end.native or end.state,
        reason=end.reason,
        diagnosis=None if end.diagnosis is None else Diagnosis.from_dict(end.diagnosis, message=end.reason),
        log_tail=_log_tail(files) if end.state == "failed" else "",
        attempts=attempts,
    )


def _is_over(states: Sequence[StateEvent]) -> bool:
    return bool(states) and states[-1].state in TERMINAL


def _seconds(content: bytes) -> float:
    try:
        seconds = float(content)
    except ValueError:
        return 0.0
    return seconds if math.isfinite(seconds) else 0.0


def _launch_request(files: RunFiles, ref: RunRef) -> Mapping[str, Any]:
    """Return the launch request of a run.

    Raises:
        BackendError: The run's request file is damaged.
    """
    try:
        launch = json.loads(files.read(REQUEST) or b"")["launch"]
    except (ValueError, KeyError, TypeError) as error:
        raise BackendError(
            f"run {ref} can't be resumed: its {REQUEST} is damaged ({error}). Submit the job again as a new run."
        ) from error
    if not isinstance(launch, dict):
        raise BackendError(
            f"run {ref} can't be resumed: its {REQUEST} is damaged ('launch' is no object). Submit the job again as a "
            "new run."
        )
    return cast("dict[str, Any]", launch)
