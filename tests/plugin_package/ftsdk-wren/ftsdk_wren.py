"""A launcher for a folder that the user chooses: everything that ftsdk asks of one, and no more."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.hosted.launcher import Hardware, LaunchPlan
from ftsdk.backends.hosted.trainer import DEFAULT_TRAINER, load_trainer
from ftsdk.backends.launchers.local import LocalFiles
from ftsdk.protocol import TERMINAL, NotBilled, StateEvent
from ftsdk.runfolder import lock
from ftsdk.runfolder.event_log import EventWriter
from ftsdk.spec import JobSpec


class WrenLauncher:
    """Keeps runs below a folder, and starts workers as processes of this machine."""

    name = "wren"

    def __init__(self, root: str) -> None:
        self._root = Path(root)

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that rebuild it."""
        return {"root": str(self._root)}

    def hardware(self, spec: JobSpec) -> Hardware:
        """Describe what a worker finds: one CPU process."""
        del spec
        return Hardware(device="cpu", name="a CPU", has_bfloat16=False, reason="Wren trains on CPUs")

    def launch(self, spec: JobSpec) -> LaunchPlan:
        """Plan the start of a worker."""
        del spec
        return LaunchPlan(request={"processes": 1}, billing=NotBilled(note="the machine is yours"))

    def files(self, run_id: str) -> LocalFiles:
        """Return the files of a run."""
        return LocalFiles(self._folder(run_id))

    def start(self, run_id: str, request: Mapping[str, Any]) -> bool:
        """Start a worker in a session of its own, so that it outlives this process."""
        del request
        folder = self._folder(run_id)
        if lock.is_held(folder):
            return False
        with (folder / "worker.log").open("ab") as log:
            # Through a shell that ends at once, so that nobody has to wait for the worker.
            command = [
                "/bin/sh",
                "-c",
                '"$@" &',
                "sh",
                sys.executable,
                "-m",
                "ftsdk.backends.hosted.worker",
                str(folder),
            ]
            subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, check=True
            )
        deadline = time.monotonic() + 60
        events = folder / "events.jsonl"
        before = events.stat().st_size if events.exists() else -1
        # Until it has the lock or has come and gone: whoever asks next must not take it for dead.
        while (
            not lock.is_held(folder)
            and (events.stat().st_size if events.exists() else -1) == before
            and time.monotonic() < deadline
        ):
            time.sleep(0.01)
        return True

    def native(self, run_id: str) -> Mapping[str, str]:
        """Return no names: a run is called by its id."""
        del run_id
        return {}

    def is_running(self, run_id: str) -> bool:
        """Return whether a worker holds the run's lock."""
        return lock.is_held(self._folder(run_id))

    def stop(self, run_id: str) -> None:
        """Kill the worker."""
        holder = lock.holder_of(self._folder(run_id))
        if holder is not None:
            os.killpg(holder[1], signal.SIGKILL)

    def record_end(self, run_id: str, end: StateEvent) -> bool:
        """Append the last event of a run whose worker is gone, unless it has one."""
        folder = self._folder(run_id)
        with lock.hold(folder) as held:
            if held:
                with contextlib.closing(EventWriter(folder)) as log:
                    if not any(event.kind == "state" and event.state in TERMINAL for event in log.events):
                        log.append(end)
            return held

    def _folder(self, run_id: str) -> Path:
        return self._root / run_id


class Wren(HostedBackend):
    """A folder of your choice, and any trainer.

    Args:
        root: Where runs are kept.
        trainer: The training library.
    """

    def __init__(self, *, root: str, trainer: str = DEFAULT_TRAINER) -> None:
        super().__init__(name="wren", launcher=WrenLauncher(root), trainer=load_trainer(trainer))
