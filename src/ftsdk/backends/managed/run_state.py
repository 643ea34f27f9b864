"""What this machine keeps of a run at the service: what was asked, what it is called there, and its history."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Generator, Mapping
from typing import Any, cast

from ftsdk._files import RUN_ID_RULE, is_run_id, replace_file
from ftsdk._home import home
from ftsdk.errors import BackendError, SpecError
from ftsdk.protocol import Event, Plan
from ftsdk.protocol.estimates import Quote
from ftsdk.runfolder import lock
from ftsdk.runfolder.event_log import EVENTS, parse_events

__all__ = ["FileCache", "RunFolder"]

_SUBMISSION = "together.json"
_QUOTE = "quote.json"
_INTENT = "create.json"
_JOBS = "jobs.json"
_END = "end.json"


class RunFolder:
    """A run's folder in ftsdk's home. Files are written whole or not at all."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.path = home() / "runs" / key

    @staticmethod
    def is_key(text: str) -> bool:
        """True if the text can name a folder."""
        return is_run_id(text)

    @property
    def exists(self) -> bool:
        """True if a run at the service was asked for from here."""
        return self.is_key(self.key) and (self.path / _SUBMISSION).is_file()

    @contextlib.contextmanager
    def held(self, *, patience_s: float) -> Generator[bool]:
        """Hold the folder's lock for a block; gives False if another process keeps it for longer than `patience_s`."""
        self.path.mkdir(parents=True, exist_ok=True)
        descriptor = lock.acquire(self.path, patience_s=patience_s)
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                os.close(descriptor)

    # What was asked

    def submission(self) -> dict[str, Any]:
        """Give what was asked: `request`, `spec`, `suffix`; empty if the run came here by its ref alone."""
        return self._read(_SUBMISSION) or {}

    def keep_submission(self, plan: Plan, suffix: str) -> None:
        """Note what is about to be asked.

        Raises:
            SpecError: The key can't name a folder.
            BackendError: The key names another request already.
        """
        if not self.is_key(self.key):
            raise SpecError(f"run key {self.key!r} can't name a folder: use {RUN_ID_RULE}")
        asked = {"request": plan.request, "spec": plan.spec.to_dict(), "suffix": suffix}
        there = self._read(_SUBMISSION)
        if there is None:
            self._write(_SUBMISSION, asked)
        elif there != json.loads(json.dumps(asked)):
            raise BackendError(f"run {self.key} exists already with another request; a key names one run only")

    def adopt(self, native: Mapping[str, str]) -> None:
        """Make the folder of a run that was submitted from another machine."""
        self._write(_JOBS, {"jobs": [native["job"]]})
        quoted = {name: text for name, text in native.items() if name.startswith("quoted_")}
        if quoted:
            self._write(_QUOTE, quoted)
        self._write(_SUBMISSION, {"suffix": native.get("suffix", "")})

    def keep_quote(self, quote: Quote) -> None:
        """Note what the service says that the run will cost."""
        self._write(_QUOTE, quote.to_native())

    def quote(self) -> dict[str, str]:
        """Give what the service said that the run will cost, as a ref keeps it; empty if that was never asked from here."""
        return {name: str(text) for name, text in (self._read(_QUOTE) or {}).items()}

    # What was sent

    def intent(self) -> dict[str, Any] | None:
        """Give the note of a create that was sent, and of which no answer is known."""
        return self._read(_INTENT)

    def keep_intent(self, suffix: str, sent_at: float) -> None:
        """Note that a create is about to be sent. It is on disk when this returns."""
        self._write(_INTENT, {"suffix": suffix, "sent_at": sent_at})

    def drop_intent(self) -> None:
        """Note that no job came of it."""
        (self.path / _INTENT).unlink(missing_ok=True)

    # What it is called there

    def jobs(self) -> list[str]:
        """Give the service's ids of the run, the newest last: the service may start a job again under another id."""
        found = self._read(_JOBS) or {}
        return [str(job) for job in found.get("jobs", [])]

    def add_job(self, job_id: str) -> None:
        """Note a job."""
        self._write(_JOBS, {"jobs": [*self.jobs(), job_id]})

    # How it went

    def events(self) -> list[Event]:
        """Read the history."""
        path = self.path / EVENTS
        return parse_events(path.read_bytes()) if path.exists() else []

    def end(self) -> dict[str, Any]:
        """Give what is known of the end besides the last event."""
        return self._read(_END) or {}

    def keep_end(self, facts: Mapping[str, Any]) -> None:
        """Note the end, before the last event says it."""
        self._write(_END, facts)

    def _read(self, name: str) -> dict[str, Any] | None:
        try:
            return cast("dict[str, Any]", json.loads((self.path / name).read_bytes()))
        except FileNotFoundError:
            return None

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        replace_file(self.path / name, json.dumps(content, indent=1, sort_keys=True).encode())


class FileCache:
    """Which content is uploaded already, under which id: one small file for each content and place."""

    def __init__(self, place: str) -> None:
        self._folder = home() / "together" / re.sub(r"[^A-Za-z0-9.-]+", "-", place)

    def get(self, sha256: str) -> str | None:
        """Find the id of a file."""
        try:
            return str(json.loads((self._folder / f"{sha256}.json").read_bytes())["file"])
        except (FileNotFoundError, ValueError, KeyError):
            return None

    def put(self, sha256: str, file_id: str) -> None:
        """Keep the id of a file."""
        replace_file(self._folder / f"{sha256}.json", json.dumps({"file": file_id, "at": round(time.time())}).encode())

    def drop(self, sha256: str) -> None:
        """Forget a file that the service no longer has."""
        (self._folder / f"{sha256}.json").unlink(missing_ok=True)
