"""The waist: what every backend takes and gives.

A backend is whatever fits `Backend`; it needs no base class. `plan` decides and is pure, everything else acts and is thin.
`ftsdk.testing.BackendConformance` holds a backend to all of it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

from pydantic import Field, TypeAdapter, ValidationError

from ftsdk.backends.estimates import CostRange, Estimate, PlannedHardware, Quote
from ftsdk.errors import Diagnosis, Gap, SpecError, UnsupportedSpecError
from ftsdk.spec import JobSpec, Value, set_fields

__all__ = [
    "TERMINAL",
    "Adjustment",
    "Artifact",
    "Backend",
    "CanFind",
    "CanQuote",
    "CanResume",
    "CanSweep",
    "Capabilities",
    "CheckpointEvent",
    "CostRange",
    "EvalEvent",
    "Event",
    "LogEvent",
    "Orphan",
    "Plan",
    "RunRef",
    "RunState",
    "RunStatus",
    "StateEvent",
    "StepEvent",
    "find_gaps",
    "read_event",
    "refuse",
]

RunState = Literal["queued", "running", "finalizing", "cancelling", "succeeded", "failed", "cancelled", "unknown"]
"""Where a run is. `unknown` is not terminal: the backend said a word that nobody has heard of yet, and it is kept."""

TERMINAL: frozenset[RunState] = frozenset({"succeeded", "failed", "cancelled"})
"""The states that a run never leaves."""


@dataclass(frozen=True, kw_only=True)
class RunRef:
    """The name of a run, good in any process on any day: `local:20261123-ab12cd`."""

    backend: str
    id: str
    native: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    """What the backend itself calls things, job ids and file ids, and what it said that the run would cost. Never a secret."""

    def __str__(self) -> str:
        return f"{self.backend}:{self.id}"

    @classmethod
    def parse(cls, text: str) -> RunRef:
        """Read a ref as it was printed.

        Raises:
            SpecError: The text isn't of the form `backend:id`.
        """
        backend, colon, identifier = text.strip().partition(":")
        if not (backend and colon and identifier):
            raise SpecError(f"{text!r} is no run ref; one looks like 'local:20261123-ab12cd' (see `ftsdk runs`)")
        return cls(backend=backend, id=identifier)


class Capabilities(Value):
    """What a backend can do, as data: read offline, before anything is sent."""

    methods: frozenset[str]
    """Kinds of method: `{"sft", "dpo"}`."""
    tunings: frozenset[str]
    """Kinds of tuning: `{"lora", "full"}`."""
    formats: frozenset[str]
    """Formats of data: `{"chat", "preference"}`."""
    model_sources: frozenset[str]
    """Where models may come from: `{"hub", "folder", "gguf"}`."""
    fields: frozenset[str]
    """Dotted paths of the optional fields that are honoured, such as `"seed"` or `"tuning.dropout"`."""

    def honours(self, path: str) -> bool:
        """True if the field is honoured, or, for a field that holds others (`early_stopping`), any field in it."""
        return path in self.fields or any(field.startswith(f"{path}.") for field in self.fields)


class Adjustment(Value):
    """Something that the backend decided because the spec left it open."""

    field: str
    chosen: Any = None
    """The value that will be used; None if the place decides."""
    reason: str


class Plan(Value):
    """Exactly what will be asked of the backend, decided before anything is sent."""

    backend: str
    spec: JobSpec
    request: dict[str, Any]
    """The native request, as JSON: what is sent is this and nothing else."""
    adjustments: tuple[Adjustment, ...] = ()
    """What the spec left open, what was chosen, and why."""
    cost: CostRange | None = None
    """What the run will cost, or None if the place bills nothing or nobody can say it (`cost_note` says which, and the most)."""
    cost_note: str = ""
    notes: tuple[str, ...] = ()
    """What a careful colleague would mention before the start."""
    hardware: PlannedHardware | None = None
    """What a worker will find; None where the place doesn't say."""
    estimate: Estimate | None = None
    """Tokens, time, memory and cost; `job.plan()` adds it, a backend leaves it out."""

    def quoted(self, quote: Quote) -> Plan:
        """Put the place's own price in place of ours."""
        estimate = (self.estimate or Estimate(backend=self.backend, cost=self.cost, cost_note=self.cost_note)).quoted(quote)
        return self.replace(estimate=estimate, cost=estimate.cost)

    def __str__(self) -> str:
        from ftsdk.backends.show import plan_text

        return plan_text(self)

    def to_html(self) -> str:
        """Give the plan as an HTML fragment."""
        from ftsdk.backends.show import plan_html

        return plan_html(self)

    def _repr_html_(self) -> str:
        return self.to_html()


class _Event(Value):
    seq: Annotated[int, Field(ge=0)]
    """Position in the run's history: 0, 1, 2, ..."""
    at: float
    """Seconds since the epoch, UTC."""


class StateEvent(_Event):
    """The run came into a state."""

    kind: Literal["state"] = "state"
    state: RunState
    native: str = ""
    reason: str = ""
    diagnosis: dict[str, Any] | None = None
    """The fields of `ftsdk.errors.Diagnosis`, when the state is `failed`."""


class StepEvent(_Event):
    """One optimizer step, or a few, were made."""

    kind: Literal["step"] = "step"
    step: int
    total_steps: int | None = None
    epoch: float | None = None
    loss: float | None = None
    learning_rate: float | None = None
    grad_norm: float | None = None
    tokens: int | None = None
    """Tokens trained on so far, padding left out."""
    tokens_per_s: float | None = None
    seconds_left: float | None = None
    peak_memory_gb: float | None = None
    """The most that one device, or on a CPU the process, has held so far; GB of 1e9 bytes."""


class EvalEvent(_Event):
    """The model was measured during training."""

    kind: Literal["eval"] = "eval"
    step: int
    name: str = "validation"
    metrics: dict[str, float]


class CheckpointEvent(_Event):
    """A checkpoint is whole and can be resumed from."""

    kind: Literal["checkpoint"] = "checkpoint"
    step: int
    path: str = ""


class LogEvent(_Event):
    """A line for people; also what becomes of a native event that nobody has heard of."""

    kind: Literal["log"] = "log"
    message: str
    level: Literal["info", "warning", "error"] = "info"


Event = Annotated[StateEvent | StepEvent | EvalEvent | CheckpointEvent | LogEvent, Field(discriminator="kind")]

_events: TypeAdapter[StateEvent | StepEvent | EvalEvent | CheckpointEvent | LogEvent] = TypeAdapter(Event)


def read_event(line: str | bytes, *, seq: int) -> Event:
    """Read one event from a line of JSON; a line of an unknown kind or shape becomes a log event, never an error."""
    try:
        return _events.validate_json(line)
    except (ValidationError, SpecError):
        text = line.decode("utf-8", "replace") if isinstance(line, bytes) else line
        # Half a surrogate pair can't be written as UTF-8 again.
        text = text.strip()[:2000].encode("utf-8", "replace").decode()
        return LogEvent(seq=seq, at=_time_in(line), message=text)


def _time_in(line: str | bytes) -> float:
    try:
        at = float(json.loads(line)["at"])
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError):
        return 0.0
    return at if math.isfinite(at) else 0.0


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """Where a run is now."""

    state: RunState
    native: str = ""
    """The backend's own word for it."""
    reason: str = ""
    diagnosis: Diagnosis | None = None
    log_tail: str = ""
    attempts: int = 1
    price_usd: Decimal | None = None
    """What the run has cost, once the place says so; US dollars."""

    @property
    def is_terminal(self) -> bool:
        """True if the run will never change again."""
        return self.state in TERMINAL


@dataclass(frozen=True, kw_only=True)
class Artifact:
    """The weights of a finished run, whole: everything that the manifest lists was there and had the right hash."""

    path: Path
    kind: Literal["adapter", "model"]
    base: str
    """Id of the model that was tuned."""
    manifest: Mapping[str, Any]


@runtime_checkable
class Backend(Protocol):
    """A place where a job can run, with everything that is needed there."""

    @property
    def name(self) -> str:
        """The word in `backend="..."` and at the front of a ref."""
        ...

    @property
    def capabilities(self) -> Capabilities:
        """What it can do. Data: no IO."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that rebuild it, as JSON: kept with each run, so that another process can open the run."""
        ...

    def plan(self, spec: JobSpec) -> Plan:
        """Decide everything, send nothing. The same spec gives the same plan.

        Raises:
            UnsupportedSpecError: A field that was set can't be honoured.
        """
        ...

    def submit(self, plan: Plan, *, key: str) -> RunRef:
        """Start the run. The same key is the same run, also after a crash or a timeout.

        Args:
            plan: As `plan` gave it.
            key: The ref's `id`: known, and in the ledger, before anything is sent. What the backend calls the run goes into
                the ref's `native`.

        Raises:
            BackendError: The place said no, or nothing.
        """
        ...

    def status(self, ref: RunRef) -> RunStatus:
        """Say where the run is.

        Raises:
            RunNotFoundError: The backend doesn't know it.
        """
        ...

    def events(self, ref: RunRef, *, after: int = -1) -> Iterable[Event]:
        """Give the events that exist now and have a `seq` over `after`, in order. Never blocks."""
        ...

    def cancel(self, ref: RunRef) -> None:
        """Ask the run to stop. Asking twice, or after the end, does nothing."""
        ...

    def collect(self, ref: RunRef, into: Path) -> Artifact:
        """Bring the weights into a folder: the files first, `manifest.json` last.

        Raises:
            RunNotReadyError: The run hasn't succeeded.
            CorruptArtifactError: What came doesn't match its manifest.
        """
        ...


@runtime_checkable
class CanFind(Protocol):
    """A backend that can look for a run whose submission got no answer, without submitting it again."""

    def find(self, plan: Plan, *, key: str) -> RunRef | None:
        """Give the run that was submitted under a key, or None if there is none and none can come of it any more.

        Raises:
            BackendError: It can't be told now; retryable.
        """
        ...


@runtime_checkable
class CanQuote(Protocol):
    """A backend whose place can be asked what a planned run will cost."""

    def quote(self, plan: Plan) -> Quote:
        """Ask for the price. It may send the data, which a later `submit` then doesn't send again; it starts nothing and spends nothing.

        A price over the budget, or one that the account may not spend, is a price all the same.

        Raises:
            UnsupportedSpecError: The place's own limits don't allow the run.
            DatasetError: It refused the data.
            BackendError: It can't say.
        """
        ...


@runtime_checkable
class CanResume(Protocol):
    """A backend whose runs may stand still (status `queued`, native `interrupted`) and can be set going again."""

    def resume(self, ref: RunRef) -> bool:
        """Go on from the last whole checkpoint. Gives False if the run is going or over, or has crashed too often."""
        ...


class Orphan(Value):
    """Something at a place that has no counterpart here, or the other way round."""

    kind: Literal["app", "run"]
    """`app`: it is there, and no run in the ledger needs it. `run`: it is in the ledger, and nothing is there for it."""
    run_id: str = ""
    native: str = ""
    """What the place calls it."""
    name: str = ""
    advice: str
    """What can be done about it."""


@runtime_checkable
class CanSweep(Protocol):
    """A place where things may be left behind that cost money."""

    def sweep(self, states: Mapping[str, str]) -> list[Orphan]:
        """Compare the place with the runs that a ledger knows: state by run id. Changes nothing."""
        ...


def find_gaps(spec: JobSpec, capabilities: Capabilities) -> list[Gap]:
    """Compare what was set with what is offered. Every backend starts its `plan` with this."""
    gaps: list[Gap] = []
    for path, asked, offered in (
        ("method", spec.method.kind, capabilities.methods),
        ("tuning", spec.tuning.kind, capabilities.tunings),
        ("train.format", spec.train.format, capabilities.formats),
        ("model.source", spec.model.source, capabilities.model_sources),
    ):
        if asked not in offered:
            gaps.append(Gap(path, asked, tuple(sorted(offered))))
    refused_whole = {gap.field for gap in gaps}
    for path, asked in set_fields(spec).items():
        head = path.split(".")[0]
        if head in ("train", "validation", "name") or path == "model.id" or (head in refused_whole and head != path):
            continue
        if not capabilities.honours(path):
            gaps.append(Gap(path, asked))
    if spec.validation is not None and "validation" not in capabilities.fields:
        gaps.append(Gap("validation", spec.validation.name))
    return gaps


def refuse(backend: str, gaps: list[Gap]) -> None:
    """Raise if there is any gap.

    Raises:
        UnsupportedSpecError: `gaps` isn't empty.
    """
    if gaps:
        raise UnsupportedSpecError(backend, gaps)
