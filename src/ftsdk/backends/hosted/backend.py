"""A backend made of a launcher and a trainer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from ftsdk._files import RUN_ID_RULE, is_run_id
from ftsdk.backends.hosted.diagnosis import crash_loop
from ftsdk.backends.hosted.launcher import Launcher, RunFiles
from ftsdk.backends.hosted.log_lines import LOG
from ftsdk.backends.hosted.stop_condition import AS_ASKED, CANCEL
from ftsdk.backends.hosted.trainer import DEFAULT_TRAINER, Trainer
from ftsdk.backends.hosted.worker import ARTIFACT, BLOCKED, REQUEST
from ftsdk.data import Store
from ftsdk.errors import BackendError, CorruptArtifactError, Diagnosis, Gap, RunNotFoundError, RunNotReadyError, SpecError
from ftsdk.models import files_of_model
from ftsdk.protocol import Artifact, Capabilities, CheckpointEvent, Event, Plan, RunRef, RunStatus, StateEvent, StepEvent, find_gaps, refuse
from ftsdk.protocol.estimates import PlannedHardware
from ftsdk.runfolder.event_log import EVENTS, EventIndex
from ftsdk.runfolder.manifest import verify

__all__ = ["HostedBackend"]


class HostedBackend:
    """Glue: the launcher knows the place, the trainer knows the training, and the run's files are the truth.

    The state of a run is derived from its event log and from whether a worker holds its lock; nothing else is kept.
    """

    def __init__(self, *, name: str, launcher: Launcher, trainer: Trainer, max_attempts: int = 5, cancel_grace_s: float = 20.0) -> None:
        self._name = name
        self._launcher = launcher
        self._trainer = trainer
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
        """The arguments that rebuild it: the launcher's, and the trainer where it isn't the default."""
        chosen = {} if self._trainer.name == DEFAULT_TRAINER else {"trainer": self._trainer.name}
        return {**self._launcher.options, **chosen}

    def __repr__(self) -> str:
        arguments = ", ".join(f"{key}={value!r}" for key, value in self.options.items())
        return f"{type(self).__name__}({arguments})"

    def plan(self, spec: Any) -> Plan:
        """Decide everything, start nothing."""
        gaps: list[Gap] = find_gaps(spec, self.capabilities)
        refuse(self.name, gaps)
        hardware = self._launcher.hardware(spec)
        translation = self._trainer.translate(spec, hardware)
        launch = self._launcher.launch(spec)
        refuse(self.name, [*translation.gaps, *launch.gaps])
        return Plan(
            backend=self.name,
            spec=spec,
            request={
                "trainer": self._trainer.name,
                "training": _at_the_place(translation.request, launch.inputs),
                "launch": dict(launch.request),
                **({"inputs": {name: path for path, name in launch.inputs.items()}} if launch.inputs else {}),
            },
            adjustments=(*launch.adjustments, *translation.adjustments),
            workload=translation.workload,
            billing=launch.billing,
            notes=(*translation.notes, *launch.notes),
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
        """Write the run's folder, and start a worker on it unless one is at work or the run is over."""
        if not is_run_id(key):
            raise SpecError(f"run key {key!r} can't name a folder: use {RUN_ID_RULE}")
        files = self._launcher.files(key)
        request = {**plan.request, "spec": plan.spec.to_dict()}
        content = json.dumps(request, indent=1, sort_keys=True).encode()
        there = files.read(REQUEST)
        if there is not None and there != content:
            raise BackendError(f"run {key} exists already with another request; a key names one run only")
        if there is None:
            store = Store()
            sources = {"data/train.jsonl": store.get(plan.spec.train.fingerprint)}
            if plan.spec.validation is not None:
                sources["data/validation.jsonl"] = store.get(plan.spec.validation.fingerprint)
            for name, path in plan.request.get("inputs", {}).items():
                sources.update(files_of_model(Path(path), name, with_code=plan.spec.model.trust_remote_code))
            files.put(sources)
            # Last: a folder with a request has its data.
            files.write(REQUEST, content)
        ref = RunRef(backend=self.name, id=key)
        if not self.status(ref).is_terminal:
            self._launcher.start(key, plan.request["launch"])
        return RunRef(backend=self.name, id=key, native=self._launcher.native(key))

    def find(self, plan: Plan, *, key: str) -> RunRef | None:
        """Look for the run's folder: without a request in it, no worker was ever started."""
        del plan
        if self._launcher.files(key).read(REQUEST) is None:
            return None
        return RunRef(backend=self.name, id=key, native=self._launcher.native(key))

    def status(self, ref: RunRef) -> RunStatus:
        """Derive the state from the log and the lock."""
        files = self._launcher.files(ref.id)
        # Liveness first: a worker that ends between the two looks has written its last event before it let go.
        is_running = self._launcher.is_running(ref.id)
        request = files.read(REQUEST)
        if request is None:
            raise RunNotFoundError(f"{self.name} has no run {ref.id}")
        states = self._log(ref).states(partial(files.read, EVENTS))
        last = states[-1] if states else None
        attempts = sum(e.native.startswith("attempt") for e in states)
        if last is not None and last.state in ("succeeded", "failed", "cancelled"):
            return RunStatus(
                state=last.state,
                native=last.native or last.state,
                reason=last.reason,
                diagnosis=_diagnosis(last),
                log_tail=_log_tail(files) if last.state == "failed" else "",
                attempts=attempts,
            )
        if files.read(CANCEL) is not None:
            if not is_running and self._launcher.conclude(ref.id, AS_ASKED):
                return self.status(ref)  # the worker is gone, or never came: nobody else can say it
            return RunStatus(state="cancelling", native="cancelling", attempts=attempts)
        if is_running:
            if last is None or last.state == "queued":
                return RunStatus(state="queued", native="starting", reason="the worker is starting", attempts=attempts)
            return RunStatus(state=last.state, native=last.native or last.state, reason=last.reason, attempts=attempts)
        if last is not None and last.native == BLOCKED:
            return RunStatus(state="queued", native=BLOCKED, reason=last.reason, attempts=attempts)
        if last is None:
            reason = "the worker hasn't said anything yet, or was never started"
        else:
            reason = "the worker ended without a word (killed, or the machine went down); the run can go on from its last whole checkpoint"
        return RunStatus(state="queued", native="interrupted", reason=reason, log_tail=_log_tail(files), attempts=attempts)

    def events(self, ref: RunRef, *, after: int = -1) -> Iterable[Event]:
        """Read the log."""
        files = self._launcher.files(ref.id)
        events = self._log(ref).events(partial(files.read, EVENTS), after=after)
        if events is None and files.read(REQUEST) is None:
            raise RunNotFoundError(f"{self.name} has no run {ref.id}")
        return events or []

    def _log(self, ref: RunRef) -> EventIndex:
        return self._logs.setdefault(ref.id, EventIndex())

    def resume(self, ref: RunRef) -> bool:
        """Start a worker again on a run that stands still; gives up on one that dies without getting further."""
        status = self.status(ref)
        if status.is_terminal or status.native not in ("interrupted", BLOCKED):
            return False
        events = list(self.events(ref))
        tries = _attempts_without_progress(events)
        if tries >= self._max_attempts:
            steps = [e.step for e in events if isinstance(e, StepEvent)]
            diagnosis = crash_loop(tries, step=steps[-1] if steps else None, log_tail=status.log_tail)
            self._launcher.conclude(ref.id, {"state": "failed", "reason": diagnosis.message, "diagnosis": diagnosis._asdict()})
            return False
        request = json.loads(self._launcher.files(ref.id).read(REQUEST) or b"{}")
        return self._launcher.start(ref.id, request["launch"])

    def cancel(self, ref: RunRef) -> None:
        """Ask the worker to stop after the step it is in; when asked again after a while, end it."""
        if self.status(ref).is_terminal:
            return
        files = self._launcher.files(ref.id)
        asked_s_ago = files.age_s(CANCEL)
        if asked_s_ago is None:
            files.write(CANCEL, b"")
        if (asked_s_ago or 0.0) >= self._cancel_grace_s:
            self._launcher.stop(ref.id)
        # No worker, no answer: say it in its place.
        self._launcher.conclude(ref.id, AS_ASKED)

    def collect(self, ref: RunRef, into: Path) -> Artifact:
        """Bring the weights here and check them."""
        status = self.status(ref)
        if status.state != "succeeded":
            raise RunNotReadyError(f"run {ref} is {status.state}; weights can be collected once it has succeeded")
        self._launcher.files(ref.id).fetch(ARTIFACT, into)
        manifest = verify(into)
        if manifest.get("kind") not in ("adapter", "model"):
            raise CorruptArtifactError(f"{into / 'manifest.json'} names no known kind of artifact: {manifest.get('kind')!r}")
        return Artifact(path=into, kind=manifest["kind"], base=manifest["base"], manifest=manifest)


def _log_tail(files: RunFiles, *, lines: int = 20) -> str:
    content = files.read(LOG) or b""
    return "\n".join(content[-20_000:].decode("utf-8", "replace").splitlines()[-lines:])


def _at_the_place(training: Mapping[str, Any], inputs: Mapping[str, str]) -> dict[str, Any]:
    """Name the model's folders as the worker will find them: relative to the run's folder, in which it starts."""
    request = dict(training)
    if inputs:
        model: dict[str, Any] = dict(request["model"])
        request["model"] = {key: f"./{inputs[path]}" if isinstance(path, str) and path in inputs else path for key, path in model.items()}
    return request


def _attempts_without_progress(events: list[Event]) -> int:
    tries = 0
    for event in events:
        if isinstance(event, CheckpointEvent):
            tries = 0
        elif isinstance(event, StateEvent) and event.native.startswith("attempt"):
            tries += 1
    return tries


def _diagnosis(event: StateEvent) -> Diagnosis | None:
    found = event.diagnosis
    if found is None:
        return None
    return Diagnosis(str(found["kind"]), str(found["message"]), found.get("step"), tuple(found.get("suggestions", ())))
