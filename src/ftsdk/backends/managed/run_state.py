"""What this machine keeps of a run at a managed service.

What was submitted, the service's ids for it, and its history.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Generator, Mapping
from functools import partial
from typing import Any, cast

from ftsdk._files import RUN_ID_RULE, is_run_id, replace_file
from ftsdk._home import home
from ftsdk.backends.managed.event_mirror import EventMirror, read_log
from ftsdk.errors import BackendError, SpecError
from ftsdk.protocol import TERMINAL, Event, Plan, StateEvent
from ftsdk.protocol.estimates import Quote
from ftsdk.runfolder import lock
from ftsdk.runfolder.event_log import EventIndex

__all__ = ["RunFolder"]

_QUOTE = "quote.json"
_INTENT = "create.json"
_JOBS = "jobs.json"
_END = "end.json"
_LABEL = "suffix"
"""The key of the job's label in refs and on disk: what Together, the first such service, calls it."""


class RunFolder:
    """A run's folder in ftsdk's home. Files are written whole or not at all.

    Args:
        key: The run's key.
        service: The backend's name.
    """

    def __init__(self, key: str, *, service: str) -> None:
        self.key = key
        self.path = home() / "runs" / key
        self._submission = f"{service}.json"
        self._index = EventIndex()

    @property
    def exists(self) -> bool:
        """Whether the run is known here."""
        return is_run_id(self.key) and (self.path / self._submission).is_file()

    @contextlib.contextmanager
    def held(self, *, patience_s: float) -> Generator[bool]:
        """Hold the folder's lock for a block. Yields False if another process keeps it for longer than `patience_s`."""
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = lock.acquire(self.path, patience_s=patience_s)
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                os.close(descriptor)

    # The submission

    def submission(self) -> dict[str, Any]:
        """Return what was submitted, `request` and `spec`; empty if the run is known by its ref alone."""
        found = self._read(self._submission) or {}
        return {name: found[name] for name in ("request", "spec") if name in found}

    @property
    def label(self) -> str:
        """What the run's jobs are labelled with at the service; empty: not known."""
        return str((self._read(self._submission) or {}).get(_LABEL) or "")

    def keep_submission(self, plan: Plan, label: str) -> None:
        """Write down what is about to be submitted.

        Raises:
            SpecError: The key can't name a folder.
            BackendError: The key names another request already.
        """
        if not is_run_id(self.key):
            raise SpecError(f"run key {self.key!r} can't name a folder: use {RUN_ID_RULE}")
        submission = {"request": plan.request, "spec": plan.spec.to_dict(), _LABEL: label}
        known = self._read(self._submission)
        if known is None:
            self._write(self._submission, submission)
        elif known != json.loads(json.dumps(submission)):
            raise BackendError(f"run {self.key} exists already with another request; a key names one run only")

    def adopt(self, native: Mapping[str, str]) -> None:
        """Make the folder of a run that was submitted from another machine."""
        self._write(_JOBS, {"jobs": [native["job"]]})
        quoted = {name: text for name, text in native.items() if name.startswith("quoted_")}
        if quoted:
            self._write(_QUOTE, quoted)
        self._write(self._submission, {_LABEL: native.get(_LABEL, "")})

    def keep_quote(self, quote: Quote) -> None:
        """Write down the service's price."""
        self._write(_QUOTE, quote.to_native())

    def native(self, label: str) -> dict[str, str]:
        """Return what the run's ref keeps: its newest job, its label, and the service's price if there was one."""
        quoted = {name: str(text) for name, text in (self._read(_QUOTE) or {}).items()}
        return {"job": self.jobs()[-1], _LABEL: label, **quoted}

    # The request that creates the job

    def intent(self) -> dict[str, Any] | None:
        """Return the note of a create request that was sent and whose answer is unknown; None if there is none."""
        return self._read(_INTENT)

    def keep_intent(self, label: str, sent_at: float) -> None:
        """Write down that a create request is about to be sent. It is on disk when this returns."""
        self._write(_INTENT, {_LABEL: label, "sent_at": sent_at})

    def drop_intent(self) -> None:
        """Remove the note: the answer is known."""
        (self.path / _INTENT).unlink(missing_ok=True)

    # The jobs

    def jobs(self) -> list[str]:
        """Return the service's ids of the run, the newest last: the service may run a job again under another id."""
        found = self._read(_JOBS) or {}
        return [str(job) for job in found.get("jobs", [])]

    def add_job(self, job_id: str) -> None:
        """Write down a job."""
        self._write(_JOBS, {"jobs": [*self.jobs(), job_id]})

    # The history

    def mirror(self) -> EventMirror:
        """Open the history for writing; the caller holds the lock."""
        return EventMirror(self.path, index=self._index)

    def events(self, *, after: int = -1) -> list[Event]:
        """Return the events with a `seq` over `after`; reads and parses no others."""
        return self._index.events(partial(read_log, self.path), after=after) or []

    def end_event(self) -> StateEvent | None:
        """Return the last event of the run; None while it is in progress."""
        for state in self._index.states(partial(read_log, self.path)):
            if state.state in TERMINAL:
                return state
        return None

    def end(self) -> dict[str, Any]:
        """Return what is known about the end in addition to the last event."""
        return self._read(_END) or {}

    def keep_end(self, facts: Mapping[str, Any]) -> None:
        """Write down facts of the end, before the last event."""
        self._write(_END, facts)

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return cast("dict[str, Any]", json.loads((self.path / name).read_bytes()))
        except FileNotFoundError:
            return None

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        replace_file(self.path / name, json.dumps(content, indent=1, sort_keys=True).encode())
