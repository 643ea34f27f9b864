"""What can happen to jobs, files and requests at the stand-in for Together.

Frozen values, and the usual ones by name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from ftsdk.spec import Value

__all__ = ["SCENARIOS", "Chaos", "FaultKind", "Scenario", "WireFault"]

FaultKind = Literal[
    "400", "401", "402", "403", "404", "408", "413", "422", "429", "500", "502", "503", "504", "529",
    "garbage", "closed", "half_upload",
    "late", "closed_after", "500_after", "garbage_after", "truncated",
]  # fmt: skip
"""How a request fails.

- A number: answered so, and nothing is done. 429 carries `Retry-After`.
- `garbage`: answered 200 with a page of HTML, and nothing is done, as by a proxy that has lost its server.
- `closed`: the connection is closed without an answer, and nothing is done.
- `half_upload`: half of what was sent is read, then the connection is closed.
- `late`, `closed_after`, `500_after`, `garbage_after`, `truncated`: the request is carried out; then the answer comes
  too late, not at all, as a 500, as a page of HTML, or in part.

A refusal repeats the key that came with the request, as careless services do.
"""

Share = Annotated[float, Field(ge=0, le=1)]


class WireFault(Value):
    """Some requests fail."""

    kind: FaultKind
    on: str = "*"
    """Which requests: a pattern of `fnmatch` over `"METHOD /path"`, such as `"POST /v1/fine-tunes"` or `"PUT *"`."""
    skip: Annotated[int, Field(ge=0)] = 0
    """How many matching requests succeed first."""
    times: Annotated[int, Field(ge=1)] | None = None
    """How many fail after that; None: all, until it is switched off."""
    retry_after_s: Annotated[float, Field(ge=0)] = 7
    """The `Retry-After` of a 429, in seconds."""
    delay_s: Annotated[float, Field(ge=0)] = 30
    """The delay of `late`, in seconds of the real clock.

    Cut short when the fault is switched off or the service closes.
    """
    at: Share = 0.5
    """The share of the body that `truncated` sends and `half_upload` reads."""
    min_bytes: Annotated[int, Field(ge=0)] = 2
    """Shorter bodies aren't truncated."""


class Chaos(Value):
    """Every request fails with the same probability, in a way drawn from a seeded generator."""

    seed: int
    probability: Share = 0.2
    kinds: tuple[FaultKind, ...] = ("500", "500_after", "closed", "closed_after", "429", "truncated")
    """A 429 has `Retry-After: 0` here."""
    on: str = "*"
    """Which requests: as in `WireFault`."""


class Scenario(Value):
    """What happens to files and jobs that are created while this scenario is set. By default everything succeeds."""

    ending: Literal["completed", "error", "user_error"] = "completed"
    fails_at: Share = 0.5
    """The share of the steps after which a job fails or restarts."""
    reason: str = "the loss became NaN at step {step}"
    """The message of a failed job's last event."""
    restarts: bool = False
    """Half-way, the job is replaced by one with a new id and the same suffix.

    `job_restarted` and `refund` are its last events.
    """
    old_status: str = "error"
    """The status of a job that was restarted under a new id.

    Nothing published says what the service does.
    """
    new_status: str = ""
    """A status during training that no client knows."""
    new_event: str = ""
    """A type of event during training that no client knows."""
    hangs: bool = False
    """The job never leaves `running`."""
    stops_early: bool = False
    """The validation loss stops falling, so a job with early stopping stops early."""
    cancel_comes_too_late: bool = False
    """A job whose cancellation was requested completes nevertheless."""
    queue_polls: Annotated[int, Field(ge=1)] = 1
    """For how many polls a job stays `queued`."""
    training_polls: Annotated[int, Field(ge=1)] = 3
    """For how many polls a job trains."""

    doubles_events: bool = False
    """Each event is listed twice."""
    shuffles_events: bool = False
    """Events are listed out of order."""
    hidden_lists: Annotated[int, Field(ge=0)] = 0
    """For how many listings a new job is missing from the list of jobs."""

    file_status: Literal["", "INVALID_FORMAT", "FAILED"] = ""
    """The final status of every file; empty: as its content deserves."""
    file_error: str = "line 1: expected one of 'messages', 'text', 'prompt'"
    """The message in the report of a file that `file_status` rejects."""
    file_polls: Annotated[int, Field(ge=0)] = 2
    """After how many polls a file is processed."""

    unavailable_reason: str = ""
    """Why there is no price estimate; empty: there is one, once the files are processed."""
    price_factor: Annotated[float, Field(ge=0)] = 1
    """A factor on the estimate and the price."""
    user_limit_usd: Annotated[float, Field(ge=0)] = 100
    """Estimates above it aren't `allowed_to_proceed`.

    The job can be created nevertheless: the service doesn't enforce it.
    """
    omits_revisions: bool = False
    """A completed job doesn't name the revisions of the models that it made."""
    omits_allowed: bool = False
    """The estimate has no `allowed_to_proceed`."""

    archive: Literal["", "parent", "absolute", "symlink", "hardlink", "device"] = ""
    """A hostile archive in place of the weights; see `weights.hostile_archive`."""
    deployment: Literal["ready", "fails", "never_ready"] = "ready"
    """The fate of deployments."""
    deployment_state: str = ""
    """The state of a provisioned deployment, in place of `READY`: `DEGRADED`, `SCALING`, or a word no client knows."""
    provisioning_polls: Annotated[int, Field(ge=0)] = 1
    """For how many polls a deployment is provisioning, and stopping."""

    wire: tuple[WireFault, ...] = ()
    """Requests that fail while this scenario is set."""


_CREATE = "POST /v1/fine-tunes"
_DOWNLOAD = "GET /v1/finetune/download"

SCENARIOS: Mapping[str, Scenario] = {
    "succeeds": Scenario(),
    "fails": Scenario(ending="error"),
    "user_error": Scenario(
        ending="user_error", fails_at=0, reason="the training file has no sample that fits max_seq_length"
    ),
    "restarts": Scenario(restarts=True),
    "unknown_state": Scenario(new_status="defragmenting", new_event="defragmentation"),
    "hangs": Scenario(hangs=True),
    "stops_early": Scenario(stops_early=True),
    "doubles_events": Scenario(doubles_events=True, shuffles_events=True),
    "lists_late": Scenario(hidden_lists=2),
    "cancel_comes_too_late": Scenario(cancel_comes_too_late=True),
    "rejects_the_file": Scenario(file_status="INVALID_FORMAT"),
    "fails_to_process_the_file": Scenario(file_status="FAILED"),
    "costs_too_much": Scenario(price_factor=1000),
    "may_not_proceed": Scenario(user_limit_usd=0),
    "has_no_estimate": Scenario(unavailable_reason="multimodal_dataset"),
    "payment_required": Scenario(wire=(WireFault(kind="402", on=_CREATE),)),
    "rate_limits": Scenario(wire=(WireFault(kind="429", times=2, on="GET /v1/fine-tunes/*"),)),
    "loses_the_response_of_create": Scenario(wire=(WireFault(kind="closed_after", times=1, on=_CREATE),)),
    "fails_after_creating": Scenario(wire=(WireFault(kind="500_after", times=1, on=_CREATE),)),
    "drops_the_upload": Scenario(wire=(WireFault(kind="half_upload", times=1, on="PUT *"),)),
    # The short answer about the size isn't truncated: the download itself is.
    "drops_the_download": Scenario(wire=(WireFault(kind="truncated", times=1, at=0.9, on=_DOWNLOAD, min_bytes=64),)),
    "sends_unsafe_archives": Scenario(archive="parent"),
    "never_provisions": Scenario(deployment="never_ready"),
    "fails_to_provision": Scenario(deployment="fails"),
}
"""The usual scenarios by name."""
