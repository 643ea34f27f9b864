"""Snapshots of the workspace for tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from modal_proto import api_pb2 as pb

from ftsdk.testing.modal.apps import App
from ftsdk.testing.modal.calls import Call
from ftsdk.testing.modal.volumes import Volume

__all__ = ["AppSnapshot", "CallSnapshot", "VolumeSnapshot", "snapshot_app", "snapshot_call", "snapshot_volume"]


@dataclass(frozen=True, kw_only=True)
class AppSnapshot:
    """An app, as of the query."""

    id: str
    name: str
    state: str
    """`ephemeral`, `detached`, `deployed`, `detached_disconnected`, `stopped`, ..."""
    tags: Mapping[str, str]
    functions: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class CallSnapshot:
    """A call, as of the query."""

    id: str
    app_id: str
    function_id: str
    result: str | None
    """`success`, `failure`, `terminated`, `timeout`, `internal_failure`, `kernel_oom_kill`, ....

    None until it is over.
    """
    containers: int
    """How many have been started for it."""
    retries: int
    preemptions: int
    crashes: int
    process_id: int | None
    """The process id of the container that is running; None: there is none."""
    has_taken_input: bool


@dataclass(frozen=True, kw_only=True)
class VolumeSnapshot:
    """A Volume: its folder on this machine, and how often it was committed and reloaded by request."""

    id: str
    folder: Path
    commits: int
    reloads: int


def snapshot_app(app: App) -> AppSnapshot:
    """Describe an app."""
    return AppSnapshot(
        id=app.id,
        name=app.name or app.description,
        state=pb.AppState.Name(app.state).removeprefix("APP_STATE_").lower(),
        tags=dict(app.tags),
        functions=dict(app.functions),
    )


def snapshot_volume(volume: Volume) -> VolumeSnapshot:
    """Describe a Volume."""
    return VolumeSnapshot(id=volume.id, folder=volume.folder, commits=volume.commits, reloads=volume.reloads)


def snapshot_call(call: Call) -> CallSnapshot:
    """Describe a call."""
    status = None if call.output is None else pb.GenericResult.GenericStatus.Name(call.output.result.status)
    container = call.container
    return CallSnapshot(
        id=call.id,
        app_id=call.function.app_id,
        function_id=call.function.id,
        result=None if status is None else status.removeprefix("GENERIC_STATUS_").lower(),
        containers=call.containers,
        retries=call.attempts.retries,
        preemptions=call.attempts.preemptions,
        crashes=call.attempts.crashes,
        process_id=container.process.pid if container is not None and container.process is not None else None,
        has_taken_input=container is not None and container.taken is not None,
    )
