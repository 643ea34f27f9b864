"""Modal on loopback, for the unmodified `modal` client; calls run in the client's own container entry point.

```python
with ModalService() as service:
    os.environ.update(service.env)      # MODAL_SERVER_URL, tokens, and a MODAL_CONFIG_PATH that doesn't exist
    ...                                 # modal.App(...).run(detach=True), .spawn(...), FunctionCall.from_id(...)
    service.requests("AppCreate")       # the requests, in order; secrets and tokens are never kept
    service.script(Interruption(how="preempt", at=FileLines(pattern="runs/*/events.jsonl", lines=4)))
    service.reset()                     # as new, in milliseconds: nothing runs, nothing is stored; same address
```

It is one gRPC server, made from the `modal_proto` that is installed, and one HTTP server for files and large values,
both on 127.0.0.1. Nothing of `modal` is replaced. It needs the extra `modal`, but no account and no
network.

**The client.** Without `client=`, `modal` makes one client per process and keeps it, with the address it saw first. So
either one service serves the whole process, or each caller makes its own client when the address changes
(`modal.Client.from_credentials(...)` reads `MODAL_SERVER_URL` when it is called). `MODAL_CONFIG_PATH` is read when
`modal` is
imported: set the environment before, or a developer's real profile is read (the address and the tokens above win over
it).

**Where a Volume is.** There is no mount namespace, so a container can't see a Volume at its mount path. Every
environment variable of the function (`env=`, Secrets, and `Image.env`) whose value is a mount path, or lies below one,
is given to the container with the host's path in place of it:

```python
app.function(volumes={"/runs": runs, "/cache": cache}, env={"FTSDK_RUNS": "/runs", "HF_HOME": "/cache/huggingface"})
```

On Modal the container reads `FTSDK_RUNS=/runs`; here it reads `FTSDK_RUNS=<a folder of the host>`. Code that asks the
environment where its Volumes are runs the same in both places, and needs no branch for tests.

**The container.** Its interpreter is this one, so it can import what is installed here; it sees the source files that
were added to the image (`add_local_python_source`), before everything else. It gets the image's and the function's
environment, and of this process's only what `PASSED_ON` names: no key that wasn't sent as a Secret is in it.

**Faults** are data, scripted with `script`: `Interruption` (a container is preempted, crashes, is killed for
memory, or is timed out, at an event), `WireFault` (answers of the wire), `BrokenBuild` (an image), `BrokenUpload`
(files of a Volume), `ExpiredResult`.

**Differences from Modal**, to be stated with every result from here:

- Images aren't built, only recorded, and refused if a fault says so.
- A Volume's files are visible everywhere at once, so that a missing commit isn't noticed, unless
  `ModalService(commit_every_s=...)` makes commits matter. A missing reload never is, and neither are open files.
- There are no GPUs, queues, scale-down or clusters. GPU names and counts, timeouts, retries and cluster sizes are
  checked as documented; clustered functions can be created but not called.
- Every attempt has a fresh container. One that dies is run again a few times, then its call fails; when Modal gives up
  isn't known.
- Calls have one input (`spawn`, `remote`); there is no `map`, no `with_options`, no class, no sandbox, no billing
  report.
- One workspace, one environment. The wording of Modal's own messages, and the keys of its rates, are mostly unknown.
"""

from __future__ import annotations

from ftsdk.errors import MissingExtraError

try:
    import modal_proto as _  # noqa: F401 - only to check that it is installed
except ImportError as error:
    raise MissingExtraError("modal", needed_for="ftsdk.testing.modal", missing="modal") from error

from ftsdk.testing.modal.faults import (
    FAULTS,
    BrokenBuild,
    BrokenUpload,
    Fault,
    FileLines,
    InputTaken,
    Interruption,
    LogLine,
    ProcessStarted,
    WireFault,
)
from ftsdk.testing.modal.service import PASSED_ON, ModalService
from ftsdk.testing.modal.snapshots import AppSnapshot, CallSnapshot, VolumeSnapshot
from ftsdk.testing.modal.wire import Request

__all__ = [
    "FAULTS",
    "PASSED_ON",
    "AppSnapshot",
    "BrokenBuild",
    "BrokenUpload",
    "CallSnapshot",
    "Fault",
    "FileLines",
    "InputTaken",
    "Interruption",
    "LogLine",
    "ModalService",
    "ProcessStarted",
    "Request",
    "VolumeSnapshot",
    "WireFault",
]
