"""A workspace: its rooms, built and connected, and all of it thrown away at a reset."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from google.protobuf.message import Message

from ftsdk.testing.modal.apps import Account, Apps
from ftsdk.testing.modal.blobs import Blobs
from ftsdk.testing.modal.calls import Calls
from ftsdk.testing.modal.containers import Containers
from ftsdk.testing.modal.functions import Functions
from ftsdk.testing.modal.logs import Logs
from ftsdk.testing.modal.processes import Reaper
from ftsdk.testing.modal.sources import Images, Mounts, Secrets, SourceFiles
from ftsdk.testing.modal.volumes import Volumes
from ftsdk.testing.modal.world import FaultScript, HostSettings

__all__ = ["ROOMS", "Answer", "Workspace"]

Answer = Callable[[Message], "Awaitable[Message] | AsyncIterator[Message]"]
ROOMS: tuple[type, ...] = (Account, Apps, Functions, Calls, Images, Mounts, SourceFiles, Secrets, Volumes, Blobs, Logs)
"""Where RPCs are answered: by the methods whose names begin with a capital."""


class Workspace:
    """Everything that a workspace holds."""

    def __init__(self, settings: HostSettings, root: Path, reaper: Reaper, mounts: Mounts) -> None:
        self.faults = FaultScript()
        self.blobs = Blobs(settings, root / "blobs")
        self.secrets = Secrets(settings)
        self.volumes = Volumes(settings, root / "volumes", self.blobs, mounts, self.faults)
        self.calls = Calls(settings)
        self.apps = Apps(settings, end_calls=self.calls.end, is_busy=self.calls.is_busy, running=self.calls.running)
        self.logs = Logs(self.apps.is_over)
        self.images = Images(settings, self.faults, self.logs)
        self.functions = Functions(settings, self.apps)
        self.containers = Containers(
            settings,
            root / "containers",
            reaper,
            self.faults,
            functions=self.functions,
            images=self.images,
            mounts=mounts,
            secrets=self.secrets,
            volumes=self.volumes,
            logs=self.logs,
            app_name=lambda app_id: self.apps.app(app_id).description,
        )
        self.calls.functions, self.calls.apps, self.calls.containers = self.functions, self.apps, self.containers
        self.answered: dict[tuple[str, str], Message] = {}
        """RPC and idempotency key -> what was answered."""
        rooms = (
            Account(),
            self.apps,
            self.functions,
            self.calls,
            self.images,
            mounts,
            SourceFiles(mounts, self.blobs),
            self.secrets,
            self.volumes,
            self.blobs,
            self.logs,
        )
        self.answers: dict[str, Answer] = {
            name: getattr(room, name) for room in rooms for name in vars(type(room)) if name[0].isupper()
        }

    async def close(self) -> None:
        """End every container, and wait until each of them is gone."""
        calls = self.calls.everyone()
        for call in calls:
            self.calls.terminate(call)
        runners = [call.runner for call in calls if call.runner is not None]
        await asyncio.gather(*runners, return_exceptions=True)
