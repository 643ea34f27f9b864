"""Runs: started once, found again, reported in order, ended once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import pytest

from ftsdk.errors import BackendError, RunNotFoundError, RunNotReadyError
from ftsdk.protocol import TERMINAL, Backend, RunRef, RunState, StateEvent, read_event
from ftsdk.testing.conformance.hooks import Hooks, new_key, reopened, through_json

__all__ = ["RunChecks"]

_IN_ANOTHER_PROCESS = """
import importlib, json, sys
from ftsdk.protocol import RunRef
module, name, options, ref = json.loads(sys.stdin.read())
try:
    factory = getattr(importlib.import_module(module), name)
except (ImportError, AttributeError):
    sys.exit(77)
print(factory(**options).status(RunRef(**ref)).state)
"""


class RunChecks(Hooks):
    """`submit`, `status`, `events`, `cancel`."""

    def test_the_same_key_is_the_same_run(self, tmp_path: Path) -> None:
        """Submitting again with a key starts nothing, also from another process; another key is another run."""
        backend = self.make_backend(tmp_path)
        plan = backend.plan(self.make_spec())
        key = new_key()
        before = self.runs_started(backend)
        first = backend.submit(plan, key=key)
        second = backend.submit(plan, key=key)
        third = reopened(backend).submit(plan, key=key)
        after = self.runs_started(backend)
        other = backend.submit(plan, key=new_key())
        self._stop(backend, first)
        self._stop(backend, other)
        again = backend.submit(plan, key=key)
        assert first.id == second.id, f"one key made two runs: {first} and {second}"
        assert first.id == third.id, (
            f"one key made two runs, the second from a backend built again: {first} and {third}"
        )
        assert first.id == again.id, f"once the run was over, its key made another one: {first} and {again}"
        assert first.id != other.id, f"two keys made one run: {first}"
        assert first.backend == backend.name, f"the ref names {first.backend!r}, the backend is {backend.name!r}"
        if before is not None and after is not None:
            assert after - before == 1, f"one key started {after - before} runs"

    def test_a_lost_answer_does_not_start_a_second_run(self, tmp_path: Path) -> None:
        """A `submit` whose answer was lost is tried again with the same key, and finds the run."""
        backend = self.make_backend(tmp_path)
        context = self.lost_answer(backend)
        if context is None:
            pytest.skip("lost_answer() isn't overridden: a response can't be lost")
        plan = backend.plan(self.make_spec())
        key = new_key()
        before = self.runs_started(backend)
        with context, pytest.raises(BackendError) as caught:
            backend.submit(plan, key=key)
        assert caught.value.retryable, (
            "a lost response must be a retryable BackendError: the same key is safe to send again"
        )
        ref = backend.submit(plan, key=key)
        after = self.runs_started(backend)
        self._stop(backend, ref)
        if before is not None and after is not None:
            assert after - before == 1, f"{after - before} runs were started"

    def test_a_ref_outlives_its_backend_object(self, tmp_path: Path) -> None:
        """A backend built again from `options`, and a ref read back from JSON, find the run."""
        backend = self.make_backend(tmp_path)
        ref = self._submitted(backend)
        again = reopened(backend)
        assert through_json(ref) == ref, "a ref read back from JSON differs"
        assert str(RunRef.parse(str(ref))) == str(ref), f"{ref} can't be read back as it is printed"
        state = again.status(through_json(ref)).state
        assert (again.name, again.capabilities) == (backend.name, backend.capabilities), (
            "options don't rebuild the backend"
        )
        assert state in get_args(RunState)
        self._stop(again, through_json(ref))

    def test_a_ref_outlives_its_process(self, tmp_path: Path) -> None:
        """A real second process finds the run."""
        backend = self.make_backend(tmp_path)
        ref = self._submitted(backend)
        kind = type(backend)
        question = [
            kind.__module__,
            kind.__qualname__,
            dict(backend.options),
            {"backend": ref.backend, "id": ref.id, "native": dict(ref.native)},
        ]
        answer = subprocess.run(
            [sys.executable, "-c", _IN_ANOTHER_PROCESS],
            input=json.dumps(question),
            capture_output=True,
            text=True,
            timeout=300,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            check=False,
        )
        self._stop(backend, ref)
        if answer.returncode == 77:
            pytest.skip(f"{kind.__module__}.{kind.__qualname__} can't be imported by another process")
        assert answer.returncode == 0, f"another process didn't find {ref}:\n{answer.stderr}"
        assert answer.stdout.strip() in get_args(RunState)

    def test_unknown_refs_are_not_found(self, tmp_path: Path) -> None:
        """Every method refuses a ref that the service doesn't know."""
        backend = self.make_backend(tmp_path)
        for identifier in ("no-such-run", "00000000", "../no-such-run"):
            ref = RunRef(backend=backend.name, id=identifier)
            with pytest.raises(RunNotFoundError):
                backend.status(ref)
            with pytest.raises(RunNotFoundError):
                list(backend.events(ref))
            with pytest.raises(RunNotFoundError):
                backend.cancel(ref)
            with pytest.raises(RunNotFoundError):
                backend.collect(ref, tmp_path / "never")
        assert not (tmp_path / "never" / "manifest.json").exists()

    def test_events_are_numbered_and_end_once(self, tmp_path: Path) -> None:
        """`seq` is 0, 1, 2, ...; time doesn't run backwards; the one terminal state comes last and is the status."""
        finished = self._finished(tmp_path)
        events = list(finished.backend.events(finished.ref))
        assert [event.seq for event in events] == list(range(len(events))), (
            f"seq should be 0, 1, 2, ...: {[event.seq for event in events]}"
        )
        times = [event.at for event in events]
        assert times == sorted(times), f"events go back in time: {times}"
        ends = [event.seq for event in events if isinstance(event, StateEvent) and event.state in TERMINAL]
        assert ends == [len(events) - 1], (
            f"exactly one terminal state should come, as the last of {len(events)} events; there are some at {ends}"
        )
        status = finished.backend.status(finished.ref)
        last = events[-1]
        assert isinstance(last, StateEvent)
        assert last.state == status.state, f"the last event has {last.state}, the status has {status.state}"
        assert status.native, "the status lacks the native state"

    def test_events_can_be_taken_up_anywhere(self, tmp_path: Path) -> None:
        """`events(after=k)` are the events after `k`, and reading them during the run yields the same history."""
        finished = self._finished(tmp_path)
        backend, ref = finished.backend, finished.ref
        events = list(backend.events(ref))
        for after in range(-1, len(events) + 1):
            assert list(backend.events(ref, after=after)) == events[after + 1 :], (
                f"events(after={after}) aren't the events after {after}"
            )
        assert list(finished.seen) == events, "events read one by one differ from events read at once"
        assert list(reopened(backend).events(through_json(ref))) == events, "a rebuilt backend reports another history"
        lines = [(event.to_json(), event) for event in events]
        assert all(read_event(line, seq=event.seq) == event for line, event in lines), "an event doesn't survive JSON"

    def test_unknown_words_survive(self, tmp_path: Path) -> None:
        """An unknown native state maps to `unknown`; it is kept, and it isn't terminal."""
        found = self.run_in_unknown_state(tmp_path)
        if found is None:
            pytest.skip("run_in_unknown_state() isn't overridden: the service can't be made to report an unknown state")
        backend, ref, word = found
        status = backend.status(ref)
        assert status.state == "unknown", f"{word!r} became the state {status.state!r}"
        assert word in status.native, f"the native state {word!r} is lost: {status.native!r}"
        assert not status.is_terminal
        kept = [event for event in backend.events(ref) if word in event.to_json()]
        assert kept, f"no event has kept {word!r}"

    def test_a_failed_run_says_why(self, tmp_path: Path) -> None:
        """The diagnosis is in the status and in the last event, and there is nothing to collect."""
        found = self.failed_run(tmp_path)
        if found is None:
            pytest.skip("failed_run() isn't overridden: no run can be made to fail")
        backend, ref = found
        self.finish(backend, ref)
        status = backend.status(ref)
        assert status.state == "failed"
        assert status.diagnosis is not None, "a failed run has no diagnosis"
        assert status.diagnosis.kind, "the diagnosis has no kind"
        assert status.diagnosis.message, "the diagnosis has no message"
        last = list(backend.events(ref))[-1]
        assert isinstance(last, StateEvent)
        assert (last.diagnosis or {}).get("kind") == status.diagnosis.kind, (
            "the last event has another diagnosis than the status"
        )
        with pytest.raises(RunNotReadyError):
            backend.collect(ref, tmp_path / "failed")

    def test_cancelling_twice_is_cancelling_once(self, tmp_path: Path) -> None:
        """A run that is cancelled twice ends, and then nothing changes it."""
        backend = self.make_backend(tmp_path)
        ref = self._submitted(backend)
        backend.cancel(ref)
        backend.cancel(ref)
        self.finish(backend, ref)
        state = backend.status(ref).state
        assert state in ("cancelled", "succeeded"), f"a run that was cancelled is {state}"
        self._is_deaf_to_cancel(backend, ref)
        if state == "cancelled":
            with pytest.raises(RunNotReadyError):
                backend.collect(ref, tmp_path / "cancelled")

    def test_cancelling_after_the_end_changes_nothing(self, tmp_path: Path) -> None:
        """A run that has succeeded stays so."""
        finished = self._finished(tmp_path)
        self._is_deaf_to_cancel(finished.backend, finished.ref)
        assert finished.backend.status(finished.ref).state == "succeeded"

    def _is_deaf_to_cancel(self, backend: Backend, ref: RunRef) -> None:
        status, events = backend.status(ref), list(backend.events(ref))
        backend.cancel(ref)
        assert backend.status(ref) == status, "cancelling after the end changed the status"
        assert list(backend.events(ref)) == events, "cancelling after the end changed the history"
