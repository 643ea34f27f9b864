"""What the suite needs to know about a backend."""

# ruff: noqa: ARG002 - a hook's default needs none of its arguments

from __future__ import annotations

import json
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

from ftsdk.protocol import Backend, Event, Plan, RunRef, RunStatus
from ftsdk.spec import METHODS, DataFormat, JobSpec, Model
from ftsdk.testing.specs import Sample, a_dataset, a_spec, field_samples

__all__ = ["RETRY_AFTER_S", "Costly", "Finished", "Hooks", "leaves", "new_key", "reopened", "through_json"]

RETRY_AFTER_S = 7.0
"""What the fault `"429"` must send as `Retry-After`."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A finished run."""

    backend: Backend
    ref: RunRef
    spec: JobSpec
    seen: tuple[Event, ...]
    """The events, as they were read during the run."""


@dataclass(frozen=True, kw_only=True)
class Costly:
    """A run that uses up its budget before it is done."""

    backend: Backend
    plan: Plan
    """With `budget_usd` in its spec, and an estimate whose `billing_terms` describes the billing."""
    poll_s: float = 10.0
    """Seconds between two polls of `Run.wait`, by a clock that only polling advances."""
    is_watched: bool = True
    """False if the provider has to stop the run by itself, with nobody waiting."""


class Hooks(ABC):
    """Override what differs. Only `make_backend` has no default."""

    poll_s: ClassVar[float] = 0.0
    """Seconds between two polls of an unfinished run."""
    polls: ClassVar[int] = 1000
    """The most polls that a run may take to finish."""
    share_finished_run: ClassVar[bool] = False
    """True to make one finished run for all tests of the class: for backends whose runs take seconds."""
    budget_options: ClassVar[Mapping[str, Any]] = {}
    """Fields of a job without which its cost isn't known."""
    honoured_elsewhere: ClassVar[Mapping[str, str]] = {}
    """Fields that are honoured without being in the request, each with the reason."""

    @abstractmethod
    def make_backend(self, tmp_path: Path) -> Backend:
        """Return a new backend object. For the same folder, it must know the same runs."""

    def make_spec(self, *, data_format: DataFormat = "chat", with_validation: bool = False) -> JobSpec:
        """Return a spec that can be submitted, with as little set as possible. Override it if the data must exist."""
        # The default method stays unset where it fits: as little as possible is set.
        fitting = [method for method in METHODS.values() if method.data_format == data_format]
        method = {} if JobSpec.model_fields["method"].default.data_format == data_format else {"method": fitting[0]()}
        validation = {"validation": a_dataset("held out", data_format=data_format, rows=10)} if with_validation else {}
        return a_spec(**method, **validation, train=a_dataset(data_format=data_format))

    def make_model(self, source: str) -> Model | None:
        """Return a model of a source (`"hub"`, `"folder"`, `"gguf"`) that `plan` accepts.

        None to skip the source.
        """
        return Model(
            id={"hub": "example/tiny-instruct", "folder": "./tiny-instruct", "gguf": "./tiny-instruct.gguf"}[source]
        )

    def make_samples(self) -> Sequence[Sample]:
        """Return two values for every optional field. Override it if some must be real, such as adapters."""
        return field_samples()

    def between_polls(self) -> None:
        """Wait before the next look at a run; a fake service may be advanced here."""
        if self.poll_s:
            time.sleep(self.poll_s)

    def finish(self, backend: Backend, ref: RunRef) -> tuple[Event, ...]:
        """Wait for a run to finish, and return the events that were seen on the way."""
        seen: list[Event] = []
        for _ in range(self.polls):
            # The state first: what is read after the end is all there is.
            is_over = backend.status(ref).is_terminal
            seen.extend(backend.events(ref, after=seen[-1].seq if seen else -1))
            if is_over:
                return tuple(seen)
            self.between_polls()
        raise AssertionError(f"run {ref} didn't finish within {self.polls} polls; override polls, poll_s or finish")

    def requests_seen(self, backend: Backend) -> int | None:
        """Count the requests that the service has received so far; None if that can't be known."""
        return None

    def runs_started(self, backend: Backend) -> int | None:
        """Count the runs that the service has started so far; None if that can't be known."""
        return None

    def secrets(self) -> Sequence[str]:
        """Return the secrets that the backend holds, such as API keys; empty if it has none."""
        return ()

    def wire_faults(self, backend: Backend) -> Mapping[str, AbstractContextManager[object]] | None:
        """Return a context manager for each of the faults 401, 404, 429, 503, timeout and garbage.

        None if there is no wire.

        Inside it, every request gets this status (429 with `Retry-After: 7`), a response that is too late, or one that
        makes no sense (status 200 with a page of HTML). A backend that retries by itself should do so without sleeping
        here.
        """
        return None

    def lost_answer(self, backend: Backend) -> AbstractContextManager[object] | None:
        """Return a context in which `submit` starts the run and its answer is lost; None if that can't happen."""
        return None

    def run_in_unknown_state(self, tmp_path: Path) -> tuple[Backend, RunRef, str] | None:
        """Return a run whose service just reported an unknown native state, and that state; None to skip the test."""
        return None

    def failed_run(self, tmp_path: Path) -> tuple[Backend, RunRef] | None:
        """Return a run that failed in training; None to skip the test."""
        return None

    def billing_backend(self, tmp_path: Path) -> Backend | None:
        """Return a new backend object whose plans have a cost; None if nothing is billed there."""
        return None

    def costly_run(self, tmp_path: Path) -> Costly | None:
        """Return a run that uses up its budget before it is done; None if none can be made."""
        return None

    # Shared by the tests.

    def _spec(self, **changes: Any) -> JobSpec:
        return self.make_spec().replace(**changes)

    def _submitted(self, backend: Backend) -> RunRef:
        return backend.submit(backend.plan(self.make_spec()), key=new_key())

    def _stop(self, backend: Backend, ref: RunRef) -> RunStatus:
        """Leave no run behind."""
        backend.cancel(ref)
        self.finish(backend, ref)
        return backend.status(ref)

    def _finished(self, tmp_path: Path) -> Finished:
        shared = cast("Finished | None", type(self).__dict__.get("_shared_run"))
        if shared is not None:
            return shared
        backend = self.make_backend(tmp_path)
        spec = self.make_spec()
        ref = backend.submit(backend.plan(spec), key=new_key())
        seen = self.finish(backend, ref)
        status = backend.status(ref)
        if status.state != "succeeded":
            raise AssertionError(f"the run of make_spec() should succeed; it {status}")
        finished = Finished(backend=backend, ref=ref, spec=spec, seen=seen)
        if self.share_finished_run:
            type(self)._shared_run = finished  # type: ignore[attr-defined]
        return finished


def new_key() -> str:
    """Return a key that no run has had."""
    return f"conformance-{uuid.uuid4().hex[:12]}"


def through_json(ref: RunRef) -> RunRef:
    """Return the ref as it comes back from a ledger."""
    return RunRef(**json.loads(json.dumps({"backend": ref.backend, "id": ref.id, "native": dict(ref.native)})))


def reopened(backend: Backend) -> Backend:
    """Return the backend as another process would build it."""
    factory = cast("Any", type(backend))
    return factory(**json.loads(json.dumps(dict(backend.options))))


def leaves(value: object, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], object]]:
    """List what lies at the bottom of a JSON value, each with its path."""
    if isinstance(value, dict):
        for key, inner in cast("dict[str, object]", value).items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for number, inner in enumerate(cast("list[object]", value)):
            yield from leaves(inner, (*path, number))
    else:
        yield path, value
