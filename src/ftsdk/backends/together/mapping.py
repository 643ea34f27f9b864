"""Maps the service's states, events and errors to ours. Pure; knows the client's classes by name only."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, cast

from ftsdk._secrets import redact
from ftsdk.backends.managed.event_mirror import Entry
from ftsdk.backends.managed.service import ManagedJob
from ftsdk.errors import (
    BackendError,
    BudgetExceededError,
    CredentialsError,
    DatasetError,
    Diagnosis,
    FtsdkError,
    RunNotFoundError,
    SpecError,
)
from ftsdk.protocol import TERMINAL, CheckpointEvent, EvalEvent, LogEvent, RunState, StateEvent, StepEvent

__all__ = [
    "diagnosis_of",
    "entries_of",
    "error_for",
    "is_closing",
    "is_restart",
    "job_of",
    "seconds",
    "state_of",
]

_STATES: Mapping[str, RunState] = {
    "pending": "queued",
    "queued": "queued",
    "model_downloading": "running",
    "running": "running",
    "compressing": "finalizing",
    "uploading": "finalizing",
    "cancel_requested": "cancelling",
    "cancelled": "cancelled",
    "error": "failed",
    "user_error": "failed",
    "completed": "succeeded",
}


_CLOSING = frozenset({"job_complete", "job_error", "job_user_error", "job_stopped", "job_cancelled"})
"""Types of events after which the service lists no more of a job."""


def state_of(word: str) -> RunState:
    """Return our state for a status of the service; an unknown status is `unknown`, which isn't terminal."""
    return _STATES.get(word.lower(), "unknown")


def job_of(job: Mapping[str, Any]) -> ManagedJob:
    """Read a job as the service lists it."""
    word = str(job.get("status") or "")
    state = state_of(word)
    total, price = job.get("total_steps"), job.get("total_price")
    return ManagedJob(
        id=str(job.get("id") or ""),
        state=state,
        native=word,
        label=str(job.get("suffix") or ""),
        model=str(job.get("model") or ""),
        created_at=seconds(job.get("created_at")),
        updated_at=seconds(job.get("updated_at")),
        total_steps=total if isinstance(total, int) and total else None,
        reason=_end_reason(job, word) if state in TERMINAL else _progress(job, state),
        # The service counts in nano-dollars.
        price_usd=str(Decimal(str(price)) / 10**9)
        if isinstance(price, int | float) and not isinstance(price, bool)
        else None,
        # After an internal error the service may run the job again under another id, with the same suffix.
        may_restart=word.lower() in ("error", "cancelled"),
    )


def _progress(job: Mapping[str, Any], state: RunState) -> str:
    done, total = job.get("steps_completed"), job.get("total_steps")
    if isinstance(done, int) and isinstance(total, int) and total:
        return f"{done} of {total} steps"
    depth = job.get("queue_depth")
    return f"{depth} jobs are ahead of it" if isinstance(depth, int) and depth > 0 and state == "queued" else ""


def _end_reason(job: Mapping[str, Any], word: str) -> str:
    if job.get("early_stopped"):
        best = job.get("early_stopping_best_step")
        return f"stopped early; the weights are those of step {best}" if best is not None else "stopped early"
    return "cancelled by user; the steps made until then are billed" if word == "cancelled" else ""


# Events


def entries_of(
    job_id: str,
    events: Iterable[Mapping[str, Any]],
    metrics: Iterable[Mapping[str, Any]],
    *,
    total_steps: int | None = None,
) -> list[Entry]:
    """Return our events for a job's events and metrics, in order of time, each once.

    What can't be read becomes a log line.

    Args:
        job_id: The job, which is part of every key, since a restarted job counts its steps again.
        events: As the service lists them: repeated, out of order, of unknown types.
        metrics: Rows of numbers.
        total_steps: Of the job, if known.
    """
    found = [_event(job_id, event) for event in events]
    for row in metrics:
        found += _metric(job_id, row, total_steps)
    once = {entry.key: entry for entry in reversed(found)}
    return sorted(
        once.values(),
        key=lambda entry: (
            entry.event.at,
            0 if isinstance(entry.event, LogEvent | StateEvent) else entry.event.step,
            not isinstance(entry.event, StepEvent),
            entry.key,
        ),
    )


def is_closing(event: Mapping[str, Any]) -> bool:
    """Return whether the event is the last one of its job."""
    return str(event.get("type") or "").lower() in _CLOSING


def is_restart(event: Mapping[str, Any]) -> bool:
    """Return whether the event announces that the service runs the job again under another id."""
    return str(event.get("type") or "").lower() == "job_restarted"


def _event(job_id: str, event: Mapping[str, Any]) -> Entry:
    kind = str(event.get("type") or "event")
    message = str(event.get("message") or "")
    at = seconds(event.get("created_at"))
    step = event.get("step")
    key = _key(job_id, str(event.get("created_at")), kind, step, message)
    if kind.lower() == "checkpoint_save" and isinstance(step, int) and not isinstance(step, bool) and step > 0:
        return Entry(key=key, event=CheckpointEvent(at=at, step=step, path=str(event.get("checkpoint_path") or "")))
    level = str(event.get("level") or "").lower()
    if level.endswith("error") or kind.lower() in ("job_error", "job_user_error"):
        ours: Literal["info", "warning", "error"] = "error"
    elif level.endswith("warning") or kind.lower() in ("warning", "billing_limit", "job_restarted", "refund"):
        ours = "warning"
    else:
        ours = "info"
    text = f"{kind}: {message}"[:2000] if message else kind
    return Entry(key=key, event=LogEvent(at=at, message=text, level=ours))


_TRAIN = {
    "train/loss": "loss",
    "train/learning_rate": "learning_rate",
    "train/grad_norm": "grad_norm",
    "train/epoch": "epoch",
}


def _metric(job_id: str, row: Mapping[str, Any], total_steps: int | None) -> list[Entry]:
    numbers = {
        name: float(value)
        for name, value in row.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    odd = {name: value for name, value in numbers.items() if not math.isfinite(value)}
    at = seconds(numbers.get("timestamp"))
    global_step = numbers.get("train/global_step", math.nan)
    if not math.isfinite(global_step):
        return [Entry(key=_key(job_id, "metric", row), event=LogEvent(at=at, message=f"metrics: {_as_json(row)}"))]
    step = int(global_step)
    entries: list[Entry] = []
    fields: dict[str, Any] = {
        ours: numbers[name] for name, ours in _TRAIN.items() if name in numbers and name not in odd
    }
    if "loss" in fields or "learning_rate" in fields or "grad_norm" in fields:
        event = StepEvent(at=at, step=step, total_steps=total_steps, **fields)
        entries.append(Entry(key=_key(job_id, "train", step), event=event))
    measured = {
        name.removeprefix("eval/"): value
        for name, value in numbers.items()
        if name.startswith("eval/") and name not in odd
    }
    if measured:
        entries.append(Entry(key=_key(job_id, "eval", step), event=EvalEvent(at=at, step=step, metrics=measured)))
    for name in sorted(odd):
        message = f"{name} at step {step} is {odd[name]}"
        event = LogEvent(at=at, message=message, level="warning")
        entries.append(Entry(key=_key(job_id, "odd", step, name), event=event))
    return entries


def seconds(stamp: object) -> float:
    """Read a time, as ISO text, or in (milli)seconds since the epoch; 0 if it can't be read."""
    if isinstance(stamp, int | float) and not isinstance(stamp, bool) and math.isfinite(stamp):
        return stamp / 1000 if stamp > 1e11 else float(stamp)
    if isinstance(stamp, str):
        try:
            parsed = datetime.fromisoformat(stamp)
        except ValueError:
            return 0.0
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    return 0.0


def _key(*parts: object) -> str:
    return hashlib.sha256(_as_json(parts).encode()).hexdigest()[:24]


def _as_json(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)


def diagnosis_of(word: str, messages: Sequence[str], *, step: int | None) -> Diagnosis:
    """Return why a job failed, as the service reported it, and what to try.

    Args:
        word: The service's status.
        messages: The error lines of its log, the newest last.
        step: The last optimizer step that was reported.
    """
    said = messages[-1] if messages else "the service gave no reason"
    if word.lower() == "user_error":
        return Diagnosis(
            "refused",
            f"the service refused the data or the arguments: {said}",
            step,
            (
                "look at the rows as they are trained on: job.preview()",
                "change what the message names and submit again; failed jobs are refunded",
            ),
        )
    return Diagnosis(
        "provider",
        f"the service failed: {said}",
        step,
        (
            "submit the job again; failed jobs are refunded",
            "if it fails again, contact Together's support with the job's id",
        ),
    )


# Errors


def error_for(error: BaseException, *, doing: str, secrets: Sequence[str] = ()) -> FtsdkError:
    """Return our error for an error of the client: what happened, and what to do.

    Args:
        error: What the client, or what it is built on, raised.
        doing: What was requested, as in "Together, asked for the job's status, ...".
        secrets: Texts that must not appear in the error.
    """
    code = getattr(error, "status_code", None)
    names = {cls.__name__ for cls in type(error).__mro__}
    said = redact(_said(error), secrets, limit=1000)
    if isinstance(code, int) and "APIStatusError" in names:
        return _status_error(code, doing, said, _retry_after_s(error), is_upload="upload" in doing)
    if "APITimeoutError" in names or "TimeoutException" in names:
        return BackendError(
            f"Together, {doing}, didn't answer in time. The same key is safe to send again.", retryable=True
        )
    if names & {"APIConnectionError", "TransportError", "RequestError", "ConnectionError"}:
        return BackendError(
            f"Together, {doing}, can't be reached ({said}). Check the network and base_url; the same key is safe.",
            retryable=True,
        )
    if names & {"FileTypeError", "InvalidFileFormatError"}:
        return DatasetError(f"the client refused the file: {said}", hint="Check the rows: job.preview().")
    if "DownloadError" in names:
        return BackendError(
            f"the download was interrupted ({said}); collect() resumes where it stopped.", retryable=True
        )
    if type(error) is ValueError:
        return SpecError(f"Together's client refused the arguments, {doing}: {said}")
    if isinstance(error, OSError):
        return BackendError(f"a file or a connection failed, {doing}: {said}", retryable=True)
    # A body that isn't JSON, or has another shape: reading it raised whatever this is.
    return BackendError(
        f"Together, {doing}, sent an answer that can't be read ({type(error).__name__}: {said}). Check base_url: is it "
        "the service, or a proxy?",
        status_code=code if isinstance(code, int) else None,
    )


def _status_error(code: int, doing: str, said: str, retry_after_s: float | None, *, is_upload: bool) -> FtsdkError:
    if code == 401:
        # On upload the client says "free trial credits" to any 401; what the service means is the key.
        return CredentialsError(
            f"Together refused the key, {doing}. Set TOGETHER_API_KEY to a key of api.together.ai that is valid."
        )
    if code == 403:
        return CredentialsError(
            f"Together's key isn't allowed to do this, {doing}: {said}. Use a key of the right project (project_id=)."
        )
    if code == 402:
        return BudgetExceededError(
            f"the Together account can't pay, {doing}: {said}. Raise its balance or limit under Settings, Billing, "
            "then try again."
        )
    if code == 404:
        return RunNotFoundError(f"Together, {doing}, found nothing ({said}). Check the key's project and base_url.")
    if code == 413:
        return DatasetError(f"the file is too large for Together: {said}.", hint="Split the data, or train on less.")
    if code in (400, 422) and not is_upload:
        return SpecError(f"Together refused the arguments, {doing}: {said}. Nothing was started; change what it names.")
    if code in (400, 422):
        return DatasetError(f"Together refused the file: {said}.", hint="Check the rows: job.preview().")
    if code == 429:
        when = f"in {retry_after_s:g} s" if retry_after_s is not None else "later"
        return BackendError(
            f"Together, {doing}, is limiting requests; try again {when}.",
            retryable=True,
            retry_after_s=retry_after_s,
            status_code=code,
        )
    if code >= 500 or code in (408, 409, 425):
        return BackendError(
            f"Together, {doing}, answered {code}: {said}. Try again; the same key is safe.",
            retryable=True,
            retry_after_s=retry_after_s,
            status_code=code,
        )
    return BackendError(f"Together, {doing}, answered {code}: {said}", retry_after_s=retry_after_s, status_code=code)


def _said(error: BaseException) -> str:
    """Return the service's own message, from the body or else from the exception."""
    body = getattr(error, "body", None)
    while isinstance(body, Mapping):
        inner = cast("Mapping[str, object]", body)
        for name in ("error", "message", "detail"):
            if inner.get(name):
                body = inner[name]
                break
        else:
            return _as_json(inner)
    return " ".join(str(body if body else error).split())


def _retry_after_s(error: BaseException) -> float | None:
    headers = getattr(getattr(error, "response", None), "headers", None)
    if headers is None:
        return None
    try:
        wait = (
            float(headers["retry-after-ms"]) / 1000
            if "retry-after-ms" in headers
            else float(headers.get("retry-after", "nan"))
        )
    except ValueError:
        return None
    return wait if math.isfinite(wait) and wait >= 0 else None
