"""What can go wrong on the loopback Modal, as data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ftsdk.spec import Value

__all__ = [
    "FAULTS",
    "BrokenBuild",
    "BrokenUpload",
    "Fault",
    "FileLines",
    "InputTaken",
    "Interruption",
    "LogLine",
    "Moment",
    "ProcessStarted",
    "WireFault",
]

StatusWord = Literal[
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
]
"""gRPC status names; the client itself retries CANCELLED, UNKNOWN, DEADLINE_EXCEEDED, INTERNAL and UNAVAILABLE."""

Times = Annotated[int, Field(ge=1)]


class ProcessStarted(Value):
    """The container's process has started, and hasn't requested its input yet."""

    kind: Literal["process_started"] = "process_started"


class InputTaken(Value):
    """The container has just received its input."""

    kind: Literal["input_taken"] = "input_taken"


class FileLines(Value):
    """A file in a mounted Volume has so many complete lines, counted over all attempts.

    Checked every few hundredths of a second.
    """

    kind: Literal["file_lines"] = "file_lines"
    pattern: str
    """The file, relative to the Volume's root; `*`, `?` and `**` stand for any names. Lines of several files add up."""
    lines: Times
    containing: str = ""
    """Only lines with this text in them count."""


class LogLine(Value):
    """The container wrote a line with this text to its standard output or error."""

    kind: Literal["log_line"] = "log_line"
    containing: str


Moment = Annotated[ProcessStarted | InputTaken | FileLines | LogLine, Field(discriminator="kind")]


class Interruption(Value):
    """Something happens to a container at a moment of its life.

    Interruptions apply in the order in which they were added, at most one to a container: three of them interrupt three
    attempts.
    """

    kind: Literal["interruption"] = "interruption"
    how: Literal["preempt", "crash", "oom", "timeout"]
    """What happens.

    - `preempt`: SIGINT, then SIGKILL after the grace period; the same input runs again, which isn't a retry.
    - `crash`: SIGKILL.
    - `oom`: SIGKILL, reported as killed for memory.
    - `timeout`: as if the function's timeout had passed.
    """
    at: Moment = Field(default_factory=InputTaken)
    app: str = "*"
    """The name of the app, with `*` and `?`."""
    times: Times = 1
    """How many containers in a row it happens to."""


class WireFault(Value):
    """Requests get a wrong answer, before they have taken effect or, with `loses_answer`, after that."""

    kind: Literal["wire_fault"] = "wire_fault"
    rpc: str = "*"
    """The RPC's name, such as `AppCreate`; `*` and `?` stand for any."""
    answer: Literal["status", "garbage", "silence"] = "status"
    """`status`: a gRPC error. `garbage`: bytes that are no message.

    `silence`: no answer until the fault is removed.
    """
    status: StatusWord = "UNAVAILABLE"
    message: str = "the loopback service was set to fail"
    retry_after_s: Annotated[float, Field(ge=0)] | None = None
    """Seconds the client waits before it retries by itself, without end unless MODAL_MAX_THROTTLE_WAIT is set."""
    skip: Annotated[int, Field(ge=0)] = 0
    """So many requests are answered correctly first."""
    times: Times | None = None
    """How many requests get a wrong answer; None: all until the fault is removed.

    Each of the client's own retries counts.
    """
    loses_answer: bool = False
    """Whether the service carries out the request and only its answer is lost."""
    caller: Literal["client", "container", "anybody"] = "client"


class BrokenBuild(Value):
    """Building an image fails."""

    kind: Literal["broken_build"] = "broken_build"
    message: str = ""
    """The message of the client's error; empty: it only has how to see the log."""
    log: tuple[str, ...] = ("Building image", "error: no matching distribution found")
    """The lines of the build log."""
    times: Times | None = None
    """How many builds fail; None: all until the fault is removed."""


class BrokenUpload(Value):
    """The upload of a batch of files into a Volume is interrupted: the first files arrive, the others don't."""

    kind: Literal["broken_upload"] = "broken_upload"
    files: Annotated[int, Field(ge=0)] = 0
    """How many files of the batch arrive."""
    status: StatusWord = "ABORTED"
    message: str = "the upload broke off"
    times: Times = 1


Fault = Annotated[Interruption | WireFault | BrokenBuild | BrokenUpload, Field(discriminator="kind")]

FAULTS: dict[str, WireFault] = {
    "401": WireFault(status="UNAUTHENTICATED", message="Token validation failed"),
    "404": WireFault(status="NOT_FOUND", message="not found"),
    "429": WireFault(status="RESOURCE_EXHAUSTED", message="rate limit exceeded", retry_after_s=7.0),
    "503": WireFault(status="UNAVAILABLE", message="service unavailable"),
    "timeout": WireFault(status="DEADLINE_EXCEEDED", message="upstream request timeout"),
    "garbage": WireFault(answer="garbage"),
}
"""What the conformance suite calls these faults, as Modal's wire has them.

`retry_after_s` is what the suite expects of 429.
"""
