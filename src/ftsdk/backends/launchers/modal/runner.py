"""What runs in the container: one attempt at a run, JSON in and JSON out.

The training is done by the same worker as on any other machine, in a child process: this one has to answer Modal's
heartbeats, commit the Volume, and watch the time. Errors that a new attempt may cure are raised, so that Modal retries;
all others, and every end that the worker has recorded, are returned, so that nothing is retried that can't succeed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ftsdk._files import replace_file
from ftsdk.backends.hosted.child_process import worker_child
from ftsdk.backends.hosted.followers import FirstHostMissing, follow
from ftsdk.backends.hosted.log_lines import LOG
from ftsdk.backends.hosted.ranks import ATTEMPT, CLUSTER, Cluster
from ftsdk.backends.hosted.worker import BLOCKED
from ftsdk.backends.launchers.modal.attempts import (
    ATTEMPTS,
    Attempt,
    Ending,
    allowance,
    attempts_from_json,
    attempts_to_json,
)
from ftsdk.backends.launchers.modal.cluster import this_cluster
from ftsdk.backends.launchers.modal.record import LAUNCH, LaunchRecord
from ftsdk.backends.launchers.recorded_end import RECORDED_END
from ftsdk.protocol import TERMINAL, CheckpointEvent, LogEvent, StateEvent
from ftsdk.runfolder import lock
from ftsdk.runfolder.event_log import EVENTS, EventWriter, parse_events

__all__ = ["RUNS", "run", "work"]

RUNS = "FTSDK_RUNS"
"""Environment variable: the folder of all runs, on the mounted Volume."""
_LOG_BYTES = 5_000_000
_BEAT_S = 15.0
_TAIL_LINES = 20


class _WorkerDied(RuntimeError):
    """Never leaves this module: the client may not have the class."""


def run(order: str) -> str:
    """Make one attempt. Modal calls this by name.

    Args:
        order: JSON: `run`, `token`, `volume`, `environment`, and the limits `timeout_s`, `max_attempts`, `total_s`.

    Returns:
        JSON: how the attempt ended. The Volume has the details.

    Raises:
        RuntimeError: The worker died or ran out of time: a new attempt resumes from its last whole checkpoint.
    """
    given: dict[str, Any] = json.loads(order)
    try:
        folder = Path(os.environ[RUNS]) / str(given["run"])
        cluster = this_cluster(int(given.get("nodes", 1)))
        if cluster.rank > 0:
            outcome = follow(folder, cluster, reload=_Volume(given).reload)
        else:
            os.environ[CLUSTER] = cluster.to_json()
            outcome = work(given, folder, commit=_Volume(given).commit)
    except (_WorkerDied, FirstHostMissing) as error:
        raise RuntimeError(str(error)) from None
    except Exception as error:  # noqa: BLE001 - what isn't cured by a new attempt must not be tried again
        outcome = {"outcome": "error", "message": f"{type(error).__name__}: {error}"[:2000]}
    return json.dumps(outcome)


def work(
    order: Mapping[str, Any], folder: Path, *, commit: Callable[[], None], clock: Callable[[], float] = time.time
) -> dict[str, Any]:
    """Make one attempt at the run in `folder`, and return how it ended.

    Raises:
        RuntimeError: A new attempt may cure it.
    """
    if (folder / RECORDED_END).exists():
        return {"outcome": "ended"}
    record = LaunchRecord.from_json(_read(folder / LAUNCH))
    if record is None or record.token != order["token"]:
        # Another launch took over while this one was waiting for a GPU.
        return {"outcome": "superseded"}
    before = attempts_from_json(_read(folder / ATTEMPTS))
    allowed = allowance(before, order)
    if allowed.refusal:
        _give_up(folder, order, len(before), allowed.refusal)
        commit()
        return {"outcome": "failed", "attempts": len(before)}
    now = clock()
    mine = Attempt(call_id=_call_id(), task_id=os.environ.get("MODAL_TASK_ID", ""), started_at=now, last_at=now)
    ledger = _Ledger(folder, before, mine, clock)
    ending: Ending = "died"
    try:
        # A little before Modal's own timeout, so that there is time for a last commit.
        margin_s = min(30.0, 0.1 * allowed.seconds)
        code = _train(folder, until=now + allowed.seconds - margin_s, ledger=ledger, commit=commit, clock=clock)
        ending = "over" if _terminal(folder) else "timeout" if code is None else "died"
    except Exception:
        raise
    except BaseException:
        # Modal interrupts a container that it needs elsewhere, and runs the same input again: the attempt wasn't one of
        # ours.
        ending = "preempted"
        raise
    finally:
        ledger.close(ending)
        if ending == "preempted":
            with contextlib.suppress(Exception):
                commit()
    last = _terminal(folder)
    if last is None:
        return _unfinished(folder, order, ledger, code, commit)
    commit()
    return {"outcome": BLOCKED if last.native == BLOCKED else last.state, "attempts": len(ledger.all)}


class _Ledger:
    """Keeps `attempts.json`, of which this attempt is the last entry."""

    def __init__(self, folder: Path, before: tuple[Attempt, ...], mine: Attempt, clock: Callable[[], float]) -> None:
        self._path = folder / ATTEMPTS
        self._clock = clock
        self._before = before
        self._mine = mine
        self._write()

    @property
    def all(self) -> tuple[Attempt, ...]:
        return (*self._before, self._mine)

    def beat(self) -> None:
        if self._clock() - self._mine.last_at >= _BEAT_S:
            self._mine = self._mine.alive_at(self._clock())
            self._write()

    def close(self, ending: Ending) -> None:
        self._mine = self._mine.alive_at(self._clock(), ending)
        self._write()

    def _write(self) -> None:
        replace_file(self._path, attempts_to_json(self.all))


def _train(
    folder: Path, *, until: float, ledger: _Ledger, commit: Callable[[], None], clock: Callable[[], float]
) -> int | None:
    """Run the worker. Return its exit status, or None if it ran out of time."""
    with (
        _held_lock() as held,
        worker_child(
            folder,
            env={**os.environ, lock.INHERITED: str(held), "PYTHONUNBUFFERED": "1"},
            pass_fds=(held,),
            most_log_bytes=_LOG_BYTES,
        ) as child,
    ):
        checkpoints, others = _Checkpoints(folder), _ForOthers(folder)
        commit()  # the attempt is on the record before it trains
        while True:
            try:
                return child.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                ledger.beat()
            if checkpoints.has_new() | others.has_new():
                commit()
            if clock() >= until:
                return None


class _Checkpoints:
    """Detects new checkpoints from the lines added to the event log."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / EVENTS
        self._read_to = self._path.stat().st_size if self._path.exists() else 0

    def has_new(self) -> bool:
        try:
            with self._path.open("rb") as file:
                file.seek(self._read_to)
                new = file.read()
        except FileNotFoundError:
            return False
        whole = new.rfind(b"\n") + 1
        self._read_to += whole
        return any(isinstance(event, CheckpointEvent) for event in parse_events(new[:whole]))


class _ForOthers:
    """Detects when there is something new for the other hosts of a cluster."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ATTEMPT
        self._is_known = Cluster.of_environment().nodes == 1

    def has_new(self) -> bool:
        if self._is_known:
            return False
        decided = json.loads(_read(self._path) or b"{}")
        self._is_known = decided.get("meeting") == Cluster.of_environment().meeting
        return self._is_known


def _unfinished(
    folder: Path, order: Mapping[str, Any], ledger: _Ledger, code: int | None, commit: Callable[[], None]
) -> dict[str, Any]:
    """Log that the worker exited without reporting, and raise for a new attempt if one is allowed."""
    how = "out of time" if code is None else f"killed by signal {-code}" if code < 0 else f"exit status {code}"
    tail = "\n".join((_read(folder / LOG) or b"")[-20_000:].decode("utf-8", "replace").splitlines()[-_TAIL_LINES:])
    message = f"attempt {len(ledger.all)}: the worker exited without reporting ({how})" + (
        f"; the last lines of its log:\n{tail}" if tail.strip() else ""
    )
    with contextlib.closing(EventWriter(folder)) as log:
        log.append(LogEvent(level="warning", message=message))
    refusal = allowance(ledger.all, order).refusal
    if refusal:
        _give_up(folder, order, len(ledger.all), refusal)
        commit()
        return {"outcome": "failed", "attempts": len(ledger.all)}
    commit()
    raise _WorkerDied(f"the worker exited without reporting: {how}")


def _give_up(folder: Path, order: Mapping[str, Any], attempts: int, refusal: str) -> None:
    from ftsdk.backends.launchers.modal.given_up import given_up

    with contextlib.closing(EventWriter(folder)) as log:
        last = log.events[-1] if log.events else None
        if not (isinstance(last, StateEvent) and last.state in TERMINAL):
            log.append(given_up(refusal, attempts=attempts, limits=order, events=log.events))


def _terminal(folder: Path) -> StateEvent | None:
    """Return the last event if the worker reported an end: the run is over, or blocked until a user acts."""
    events = parse_events(_read(folder / EVENTS) or b"")
    last = events[-1] if events else None
    if isinstance(last, StateEvent) and (last.state in TERMINAL or last.native == BLOCKED):
        return last
    return None


@contextlib.contextmanager
def _held_lock() -> Generator[int]:
    """Hold a lock for the worker on this container's own disk.

    A Volume has none, and Modal gives an input to one container only.
    """
    with tempfile.TemporaryFile() as file:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield file.fileno()


class _Volume:
    """Commit and reload, which need Modal only when they are called."""

    def __init__(self, order: Mapping[str, Any]) -> None:
        self._order = order

    def commit(self) -> None:
        self._found().commit()

    def reload(self) -> None:
        self._found().reload()

    def _found(self) -> Any:
        modal: Any = import_module("modal")
        return modal.Volume.from_name(self._order["volume"], environment_name=self._order.get("environment"))


def _call_id() -> str:
    with contextlib.suppress(Exception):  # outside of Modal there is none
        modal: Any = import_module("modal")
        return modal.current_function_call_id() or ""
    return ""


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
