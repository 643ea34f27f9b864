"""A job at the service, watched from here: its state, its history, its end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from ftsdk.backends.managed.event_mirror import History, end_of, last_state
from ftsdk.backends.managed.run_state import RunFolder
from ftsdk.backends.together.client import Wire
from ftsdk.backends.together.mapping import Entry, diagnosis_of, entries_of, is_restart, seconds, state_of
from ftsdk.backends.together.submission import newest_with
from ftsdk.errors import BackendError, Diagnosis, RunNotFoundError, SpecError
from ftsdk.protocol import TERMINAL, Event, LogEvent, RunStatus, StateEvent, StepEvent

__all__ = ["Watch", "status_at_end"]

_CLOSING = frozenset({"job_complete", "job_error", "job_user_error", "job_stopped", "job_cancelled"})
"""Native events after which the service tells nothing more."""
_PATIENCE_S = 0.2
_LATE_S = 60.0
"""How long the last native event may come after the state that it belongs to."""


def status_at_end(folder: RunFolder) -> RunStatus | None:
    """Give the last status of a run whose history has its last event, from this machine's files alone; None if it goes on."""
    events = folder.events()
    last = end_of(events)
    if last is None:
        return None
    facts = folder.end()
    price = facts.get("price_usd")
    found = last.diagnosis
    return RunStatus(
        state=last.state,
        native=last.native or last.state,
        reason=last.reason,
        diagnosis=None if found is None else Diagnosis.from_dict(found, message=last.reason),
        log_tail=_log_tail(events) if last.state == "failed" else "",
        attempts=max(1, len(folder.jobs())),
        price_usd=None if price is None else Decimal(price),
    )


class Watch:
    """One run's job, asked about."""

    def __init__(self, wire: Wire, folder: RunFolder, *, settle_s: float, clock: Callable[[], float]) -> None:
        self._wire = wire
        self._folder = folder
        self._settle_s = settle_s
        self._clock = clock

    def status(self) -> RunStatus:
        """Ask for the state. An end is told only once the whole history is written down here."""
        job, is_restarting = self._job()
        word = str(job["status"])
        state = state_of(word)
        attempts = max(1, len(self._folder.jobs()))
        if is_restarting:
            return RunStatus(state="queued", native="job_restarted", reason=f"the service starts it again (it was {word})", attempts=attempts)
        if state in TERMINAL:
            self.mirror()
            over = status_at_end(self._folder)
            reason = "the job is over; its last events are still coming"
            return over or RunStatus(state="finalizing", native=word, reason=reason, attempts=attempts)
        return RunStatus(state=state, native=word, reason=_progress(job), attempts=attempts)

    def cancel(self) -> None:
        """Ask the job to stop, unless it is over or was asked."""
        job, is_restarting = self._job()
        if is_restarting:
            raise BackendError(f"the service is starting run {self._folder.key} again under another id; cancel it again in a moment", retryable=True)
        if state_of(str(job["status"])) in (*TERMINAL, "cancelling"):
            return
        try:
            self._wire.cancel(str(job["id"]))
        except (SpecError, BackendError):
            # It may have ended between the two requests; then there was nothing left to refuse.
            if state_of(str(self._wire.job(str(job["id"]))["status"])) not in (*TERMINAL, "cancelling"):
                raise

    def mirror(self) -> None:
        """Write down what the service has told since the last time. Does nothing while another process is at it."""
        with self._folder.held(patience_s=_PATIENCE_S) as is_mine:
            if not is_mine:
                return
            with History(self._folder.path) as history:
                if not history.has_ended:
                    self._mirror(history)

    def _mirror(self, history: History) -> None:
        # The state first: what is read after it is all that there is.
        job, is_restarting = self._job()
        job_ids = self._folder.jobs()
        for number, job_id in enumerate(job_ids[1:], start=2):
            history.say("log", _restart_line(job_id, number), key=f"restart {job_id}")
        told: list[dict[str, Any]] = []
        entries: list[Entry] = []
        for job_id in job_ids:
            events = self._list(self._wire.events, job_id)
            entries += entries_of({**job, "id": job_id}, events, self._list(self._wire.metrics, job_id))
            told = events
        if any(is_restart(event) for event in told) and self._follower(job_ids) is not None:
            # Whatever the old job says of itself: it goes on under another id.
            self._mirror(history)
            return
        self._say_state(history, job, is_restarting)
        history.add(self._with_paths(entry for entry in entries if not history.has(entry.key)))
        state = state_of(str(job["status"]))
        if state in TERMINAL and not is_restarting and self._is_drained(told):
            self._say_end(history, job)

    def _with_paths(self, entries: Iterable[Entry]) -> list[Entry]:
        """Say where new checkpoints lie: the event that tells of one often doesn't, and the list of them does."""
        found = list(entries)
        if not any(entry.kind == "checkpoint" and not entry.fields["path"] for entry in found):
            return found
        kept = self._list(self._wire.checkpoints, self._folder.jobs()[-1])
        # A LoRA job has an adapter and a merged model of each step; the adapter is what was trained.
        paths = {row.get("step"): str(row.get("path") or "") for row in sorted(kept, key=lambda row: row.get("checkpoint") == "adapter")}
        return [
            replace(entry, fields={**entry.fields, "path": entry.fields["path"] or paths.get(entry.fields["step"], "")})
            if entry.kind == "checkpoint"
            else entry
            for entry in found
        ]

    def _job(self) -> tuple[dict[str, Any], bool]:
        """Look at the job, or at the one that the service started in its place; says too if one is about to be.

        An internal error may start a job again under another id, with the same suffix.
        """
        job_ids = self._folder.jobs()
        job_id = job_ids[-1]
        try:
            job = {**self._wire.job(job_id), "id": job_id}
        except RunNotFoundError:
            follower = self._follower(job_ids)
            if follower is None:
                raise
            return {**self._wire.job(follower), "id": follower}, False
        if str(job["status"]).lower() not in ("error", "cancelled"):
            return job, False
        follower = self._follower(job_ids)
        if follower is not None:
            return {**self._wire.job(follower), "id": follower}, False
        return job, any(is_restart(event) for event in self._list(self._wire.events, job_id))

    def _follower(self, job_ids: list[str]) -> str | None:
        suffix = str(self._folder.submission().get("suffix") or "")
        newest = newest_with(suffix, self._wire.jobs()) if suffix else None
        if newest is None or str(newest["id"]) in job_ids:
            return None
        self._folder.add_job(str(newest["id"]))
        return str(newest["id"])

    def _list(self, ask: Callable[[str], list[dict[str, Any]]], job_id: str) -> list[dict[str, Any]]:
        try:
            return ask(job_id)
        except RunNotFoundError:
            return []  # the job itself was there a moment ago: it only has nothing to tell yet

    def _say_state(self, history: History, job: Mapping[str, Any], is_restarting: bool) -> None:
        word = str(job["status"])
        state = "queued" if is_restarting else state_of(word)
        last = last_state(history.events)
        if state in TERMINAL or (last is not None and (last.state, last.native) == (state, word)):
            return
        # Between what was told and what comes now: the service doesn't say when the state changed.
        at = history.events[-1].at if history.events else seconds(job.get("created_at"))
        history.say("state", {"state": state, "native": word, "reason": _progress(job)}, at=at)

    def _is_drained(self, told: list[dict[str, Any]]) -> bool:
        if any(str(event.get("type") or "").lower() in _CLOSING for event in told):
            return True
        # The state may be ahead of the events; wait for the last one, but not for ever: types of events change.
        since = self._folder.end().get("over_since")
        if since is None:
            self._folder.keep_end({"over_since": self._clock()})
            return False
        return self._clock() - float(since) >= min(_LATE_S, self._settle_s)

    def _say_end(self, history: History, job: Mapping[str, Any]) -> None:
        word = str(job["status"])
        state = state_of(word)
        fields: dict[str, Any] = {"state": state, "native": word, "reason": _end_reason(job, word)}
        if state == "failed":
            errors = [e.message for e in history.events if isinstance(e, LogEvent) and e.level == "error"]
            steps = [e.step for e in history.events if isinstance(e, StepEvent)]
            diagnosis = diagnosis_of(word, errors, step=steps[-1] if steps else None)
            fields.update(reason=diagnosis.message, diagnosis=diagnosis._asdict())
        price = job.get("total_price")
        facts: dict[str, Any] = {"job": job["id"]}
        if isinstance(price, int | float) and not isinstance(price, bool):
            facts["price_usd"] = str(Decimal(str(price)) / 10**9)  # the service counts in nano-dollars
        self._folder.keep_end(facts)
        history.say("state", fields, at=seconds(job.get("updated_at")))


def _restart_line(job_id: str, number: int) -> dict[str, str]:
    return {"message": f"the service started the job again, as {job_id} (attempt {number})", "level": "warning"}


def _progress(job: Mapping[str, Any]) -> str:
    done, total = job.get("steps_completed"), job.get("total_steps")
    if isinstance(done, int) and isinstance(total, int) and total:
        return f"{done} of {total} steps"
    depth = job.get("queue_depth")
    return f"{depth} jobs are before it" if isinstance(depth, int) and depth > 0 and state_of(str(job["status"])) == "queued" else ""


def _end_reason(job: Mapping[str, Any], word: str) -> str:
    if job.get("early_stopped"):
        best = job.get("early_stopping_best_step")
        return f"stopped early; the weights are those of step {best}" if best is not None else "stopped early"
    return "as asked; the steps made until then are billed" if word == "cancelled" else ""


def _log_tail(events: list[Event], *, lines: int = 20) -> str:
    told = [e.message if isinstance(e, LogEvent) else f"state: {e.native}" for e in events if isinstance(e, LogEvent | StateEvent)]
    return "\n".join(told[-lines:])
