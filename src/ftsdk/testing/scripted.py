"""A backend whose runs play a script: no network, no clock, no threads; time passes only when a run is polled."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, get_args

from ftsdk._files import is_run_id, replace_file
from ftsdk.errors import BackendError, Diagnosis, RunNotFoundError, SpecError
from ftsdk.protocol import (
    Adjustment,
    Artifact,
    Billing,
    Capabilities,
    CostRange,
    Event,
    FixedPrice,
    NotBilled,
    Plan,
    RunRef,
    RunState,
    RunStatus,
    StateEvent,
    Workload,
    check_succeeded,
    find_gaps,
    read_event,
    refuse,
)
from ftsdk.runfolder.manifest import seal, verify
from ftsdk.spec import DataFormat, JobSpec, default_learning_rate
from ftsdk.spec.amounts import check_amount
from ftsdk.spec.base import nearest
from ftsdk.spec.positional import by_name_only
from ftsdk.testing.scripts import SCRIPTS, Fault, ScriptEntry
from ftsdk.testing.specs import members_of, optional_fields

__all__ = ["ScriptedBackend"]

_STATES: Mapping[str, RunState] = {
    "pending": "queued",
    "running": "running",
    "saving": "finalizing",
    "stopping": "cancelling",
    "done": "succeeded",
    "error": "failed",
    "stopped": "cancelled",
}
"""The scripted service has native states of its own, as every service does."""

_FIRST_AT = 1_800_000_000.0  # seconds since the epoch; each entry is a second later


@by_name_only
class ScriptedBackend:
    """A backend for tests: each run plays a script from `SCRIPTS`, or one that you write.

    Its runs lie in `root`, so another instance, also in another process, finds them. Each `status` and each `events`
    moves a run on by one entry; nothing else does.

    Args:
        root: Where the runs and the list of requests are kept. Made by the first request.
        script: The name of a script, or its entries.
        name: The backend's name.
        capabilities: What it offers; None: everything that a spec can ask for.
        faults: Calls that go wrong.
        cost_usd: Low, likely and high cost of each run in US dollars; None: it bills nothing.

    Raises:
        SpecError: No script has this name.
    """

    def __init__(
        self,
        *,
        root: Path | str,
        script: str | Sequence[ScriptEntry] = "succeeds",
        name: str = "scripted",
        capabilities: Capabilities | Mapping[str, Any] | None = None,
        faults: Sequence[Fault | Mapping[str, Any]] = (),
        cost_usd: Sequence[float] | None = None,
    ) -> None:
        if isinstance(script, str) and script not in SCRIPTS:
            raise SpecError(f"unknown script {script!r}{nearest(script, set(SCRIPTS))}")
        for usd in () if cost_usd is None else cost_usd:
            check_amount("cost_usd", usd, at_least=0)
        self._root = Path(root)
        self._script = script
        self._name = name
        self._is_limited = capabilities is not None
        self._capabilities = _capabilities(capabilities)
        self._faults = tuple(fault if isinstance(fault, Fault) else Fault.from_dict(fault) for fault in faults)
        self._cost_usd = None if cost_usd is None else tuple(cost_usd)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in self.options.items())})"

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def capabilities(self) -> Capabilities:
        """What it offers."""
        return self._capabilities

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that rebuild it, as JSON."""
        options: dict[str, Any] = {"root": str(self._root), "name": self._name}
        options["script"] = self._script if isinstance(self._script, str) else [dict(entry) for entry in self._script]
        if self._is_limited:
            options["capabilities"] = {key: sorted(words) for key, words in self._capabilities.to_dict().items()}
        if self._faults:
            options["faults"] = [fault.to_dict() for fault in self._faults]
        if self._cost_usd is not None:
            options["cost_usd"] = list(self._cost_usd)
        return options

    @property
    def requests(self) -> tuple[dict[str, Any], ...]:
        """Every call that a real backend would have sent over the wire, from all processes, oldest first."""
        path = self._root / "requests.jsonl"
        return tuple(json.loads(line) for line in path.read_text().splitlines()) if path.exists() else ()

    @property
    def runs(self) -> tuple[str, ...]:
        """The ids of all runs that were started."""
        return tuple(sorted(path.parent.name for path in self._root.glob("*/run.json")))

    def plan(self, spec: JobSpec) -> Plan:
        """Decide everything, send nothing."""
        refuse(self._name, find_gaps(spec, self._capabilities))
        request, adjustments = self._translate(spec)
        return Plan(
            backend=self._name,
            spec=spec,
            request=request,
            adjustments=adjustments,
            workload=Workload.of(spec, max_length=spec.max_length),
            billing=self._billing_of(spec),
        )

    def submit(self, plan: Plan, *, key: str) -> RunRef:
        """Start a run, or find the one with this key.

        Raises:
            SpecError: The key can't name a run.
        """
        if not is_run_id(key):
            raise SpecError(f"run key {key!r} can't name a folder: use letters, digits, '.', '_' and '-'")
        fault = self._send("submit", key=key)
        identifier = self._id_for(key)
        if self._read(identifier) is None:
            entries = self._entries_for(plan.spec)
            self._write(
                identifier,
                {
                    "key": key,
                    "spec": plan.spec.to_dict(),
                    "request": plan.request,
                    "entries": [dict(entry) for entry in entries],
                    "tick": 0,
                },
            )
        self._fail(fault)
        return RunRef(backend=self._name, id=identifier, native={"job": f"job-{identifier}"})

    def status(self, ref: RunRef) -> RunStatus:
        """Move the run on by an entry and return its state."""
        run = self._asked("status", ref, moves=True)
        return self._status_of(run)

    def events(self, ref: RunRef, *, after: int = -1) -> Iterable[Event]:
        """Move the run on by an entry and return its events."""
        run = self._asked("events", ref, moves=True)
        return [event for event in self._events_of(run) if event.seq > after]

    def cancel(self, ref: RunRef) -> None:
        """End the script early."""
        fault = self._send("cancel", run=ref.id)
        run = self._find(ref)
        if not self._status_of(run).is_terminal and not run.get("is_cancelled"):
            stop = [{"kind": "state", "native": "stopping"}, {"kind": "state", "native": "stopped"}]
            self._write(ref.id, {**run, "entries": run["entries"][: run["tick"]] + stop, "is_cancelled": True})
        self._fail(fault)

    def collect(self, ref: RunRef, into: Path) -> Artifact:
        """Write a tiny but real artifact."""
        run = self._asked("collect", ref)
        check_succeeded(ref, self._status_of(run).state, wanted="weights to collect")
        kind, base = self._write_weights(JobSpec.from_dict(run["spec"]), into)
        seal(into, {"kind": kind, "base": base})
        return Artifact(path=into, kind=kind, base=base, manifest=verify(into))

    def resume(self, ref: RunRef) -> bool:
        """Go on after a `halt`."""
        run = self._asked("resume", ref)
        if not self._is_halted(run):
            return False
        self._write(ref.id, {**run, "tick": run["tick"] + 1})
        return True

    # What the service does. Tests of the conformance suite override these to plant bugs.

    def _translate(self, spec: JobSpec) -> tuple[dict[str, Any], tuple[Adjustment, ...]]:
        """Everything that decides the weights, defaults filled in; the data by content."""
        request = spec.model_dump(mode="json", exclude_none=True, exclude={"name", "train", "validation"})
        request["train"] = spec.train.fingerprint
        if spec.validation is not None:
            request["validation"] = spec.validation.fingerprint
        if spec.learning_rate is not None:
            return request, ()
        chosen, reason = default_learning_rate(spec.method, spec.tuning)
        return {**request, "learning_rate": chosen}, (Adjustment(field="learning_rate", chosen=chosen, reason=reason),)

    def _entries_for(self, spec: JobSpec) -> Sequence[ScriptEntry]:
        """The script that a run plays: the same for each, here."""
        del spec
        return SCRIPTS[self._script] if isinstance(self._script, str) else self._script

    def _billing_of(self, spec: JobSpec) -> Billing:
        """What a run costs: the same for each, here."""
        del spec
        if self._cost_usd is None:
            return NotBilled(note="a scripted run costs nothing")
        low, likely, high = self._cost_usd
        return FixedPrice(
            cost=CostRange.from_dict({"low": low, "likely": likely, "high": high, "source": "the script"})
        )

    def _id_for(self, key: str) -> str:
        return key

    def _state_for(self, native: str) -> RunState:
        return _STATES.get(native, "unknown")

    def _events_of(self, run: Mapping[str, Any]) -> list[Event]:
        events: list[Event] = []
        for number, entry in enumerate(run["entries"][: run["tick"]]):
            if entry["kind"] in ("wait", "halt"):
                continue
            line = {**entry, "seq": len(events), "at": _FIRST_AT + number}
            line.pop("price_usd", None)  # of the status
            if entry["kind"] == "state":
                line["state"] = self._state_for(entry["native"])
            events.append(read_event(json.dumps(line), seq=len(events)))
        return events

    def _status_of(self, run: Mapping[str, Any]) -> RunStatus:
        if self._is_halted(run):
            return RunStatus(state="queued", native="interrupted", reason="the script halts here until resume()")
        states = [event for event in self._events_of(run) if isinstance(event, StateEvent)]
        if not states:
            return RunStatus(state="queued", native="pending")
        last = states[-1]
        prices = [entry["price_usd"] for entry in run["entries"][: run["tick"]] if "price_usd" in entry]
        price = Decimal(str(prices[-1])) if prices else None
        if last.diagnosis is None:
            return RunStatus(state=last.state, native=last.native, reason=last.reason, price_usd=price)
        found = last.diagnosis
        diagnosis = Diagnosis(found["kind"], found["message"], found.get("step"), tuple(found.get("suggestions", ())))
        return RunStatus(
            state=last.state,
            native=last.native,
            reason=last.reason,
            diagnosis=diagnosis,
            log_tail=last.reason,
            price_usd=price,
        )

    def _is_halted(self, run: Mapping[str, Any]) -> bool:
        # A run that was cancelled at a halt continues to its end.
        is_at_halt = 0 < run["tick"] <= len(run["entries"]) and run["entries"][run["tick"] - 1]["kind"] == "halt"
        return is_at_halt and not run.get("is_cancelled")

    def _write_weights(self, spec: JobSpec, into: Path) -> tuple[Literal["adapter", "model"], str]:
        into.mkdir(parents=True, exist_ok=True)
        # Until the new manifest is there, the folder must not look whole.
        (into / "manifest.json").unlink(missing_ok=True)
        base = spec.model.id
        if not spec.tuning.adapts:
            (into / "model.safetensors").write_bytes(_safetensors("lm_head.weight", [1.0, 2.0]))
            (into / "config.json").write_text(json.dumps({"model_type": "llama"}))
            return "model", base
        (into / "adapter_model.safetensors").write_bytes(_safetensors("base_model.model.lm_head.lora_A.weight", [1.0]))
        (into / "adapter_config.json").write_text(
            json.dumps({"peft_type": "LORA", "r": 8, "base_model_name_or_path": base, **spec.tuning.to_dict()})
        )
        return "adapter", base

    # The wire and the shelf.

    def _send(self, call: str, **details: str) -> Fault | None:
        """Note a request; raise if it never arrives, and return the fault if only its answer is to be lost."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / "requests.jsonl").open("a") as file:
            file.write(json.dumps({"call": call, **details}) + "\n")
        number = sum(request["call"] == call for request in self.requests)
        for fault in self._faults:
            if fault.call == call and fault.first <= number < fault.first + fault.times:
                if fault.loses_answer:
                    return fault
                self._fail(fault)
        return None

    def _fail(self, fault: Fault | None) -> None:
        if fault is not None:
            raise BackendError(
                fault.message,
                retryable=fault.retryable,
                retry_after_s=fault.retry_after_s,
                status_code=fault.status_code,
            )

    def _asked(self, call: str, ref: RunRef, *, moves: bool = False) -> dict[str, Any]:
        fault = self._send(call, run=ref.id)
        run = self._find(ref)
        if moves and run["tick"] < len(run["entries"]) and not self._is_halted(run):
            run["tick"] += 1
            self._write(ref.id, run)
        self._fail(fault)
        return run

    def _find(self, ref: RunRef) -> dict[str, Any]:
        run = self._read(ref.id)
        if run is None:
            raise RunNotFoundError(f"{self._name} has no run {ref.id}")
        return run

    def _read(self, identifier: str) -> dict[str, Any] | None:
        # An id comes from outside and must not lead out of the folder.
        path = self._root / identifier / "run.json"
        return json.loads(path.read_text()) if is_run_id(identifier) and path.exists() else None

    def _write(self, identifier: str, run: Mapping[str, Any]) -> None:
        folder = self._root / identifier
        replace_file(folder / "run.json", json.dumps(run).encode())


def _capabilities(given: Capabilities | Mapping[str, Any] | None) -> Capabilities:
    if isinstance(given, Capabilities):
        return given
    if given is not None:
        return Capabilities.from_dict(given)
    return Capabilities(
        methods=frozenset(members_of("method")),
        tunings=frozenset(members_of("tuning")),
        formats=frozenset(get_args(DataFormat)),
        model_sources=frozenset({"hub", "folder", "gguf"}),
        fields=optional_fields(),
    )


def _safetensors(name: str, numbers: Sequence[float]) -> bytes:
    """One float32 tensor in the format of https://huggingface.co/docs/safetensors: length, JSON header, bytes."""
    content = struct.pack(f"<{len(numbers)}f", *numbers)
    header = json.dumps(
        {name: {"dtype": "F32", "shape": [1, len(numbers)], "data_offsets": [0, len(content)]}}
    ).encode()
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + content
