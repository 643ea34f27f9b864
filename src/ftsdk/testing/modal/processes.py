"""The processes of a container: found and ended, all of them, wherever they hide."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

__all__ = ["Reaper", "end_container"]

_SEPARATED = "MODAL_TASK_ID={}"


def end_container(process_id: int, task_id: str) -> None:
    """Kill a container's process group, and every process with the container's id in its environment.

    A real container takes everything in it along when it ends; children that got a session of their own would stay
    here. The second half needs `/proc`.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process_id, signal.SIGKILL)
    mark = _SEPARATED.format(task_id).encode()
    for environment in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):
            if mark in environment.read_bytes().split(b"\0"):
                os.kill(int(environment.parent.name), signal.SIGKILL)


class Reaper:
    """A shell that waits for this process to end, and then ends every container and removes the service's folder.

    So nothing is left behind even by a process that is killed: the shell notices that its standard input is closed.
    """

    def __init__(self, root: Path, tag: str) -> None:
        self._groups = root / "groups"
        self._groups.mkdir()
        script = (
            "read -r _;"
            'for group in "$1"/groups/*; do [ -e "$group" ] && kill -9 -- "-${group##*/}"; done;'
            'for process in /proc/[0-9]*; do grep -qs "$2" "$process/environ" && kill -9 "${process##*/}"; done;'
            # What was killed just now may still be writing its last file.
            'for second in 1 2 3; do rm -rf -- "$1" && break; sleep 1; done'
        )
        # A session of its own: Ctrl-C in the terminal isn't meant for it.
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", script, "sh", str(root), _SEPARATED.format(f"ta-{tag}")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def watch(self, process_id: int) -> None:
        """Remember a container's process group."""
        (self._groups / str(process_id)).touch()

    def forget(self, process_id: int) -> None:
        """Forget a group that has ended, before its number is reused."""
        (self._groups / str(process_id)).unlink(missing_ok=True)

    def close(self) -> None:
        """Let the container start its work."""
        if self._shell.stdin is not None:
            self._shell.stdin.close()
        self._shell.wait(timeout=30)
