"""The far end of a remote launcher.

    python -m ftsdk.backends.launchers.remote.agent

A client starts it through ssh and calls a launcher's methods, one frame each; it ends when the client does. Nothing
that a client sends goes into a shell here.
"""

from __future__ import annotations

import io
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any, cast

from ftsdk._files import is_run_id, make_folder
from ftsdk.backends.hosted.launcher import CanAnswer, CanQueue, Launcher
from ftsdk.backends.launchers.local import LocalFiles, LocalLauncher
from ftsdk.backends.launchers.remote.frames import HELLO, PART, as_bytes, read_frame
from ftsdk.backends.launchers.slurm.launcher import SlurmLauncher
from ftsdk.backends.launchers.slurm.options import Options
from ftsdk.errors import BackendError, FtsdkError, RunNotFoundError
from ftsdk.protocol import StateEvent

__all__ = ["Agent", "main"]


def main() -> int:
    """Answer calls until the client is gone."""
    os.umask(0o077)
    # Whatever else prints here must not get between the frames.
    wire = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    calls = io.BufferedReader(io.FileIO(0, closefd=False))
    hello = {"version": version("ftsdk"), "host": platform.node(), "python": platform.python_version()}
    _send(wire, b"\n" + HELLO + json.dumps(hello).encode() + b"\n")
    agent = Agent()
    while (frame := read_frame(calls.readline, calls.read)) is not None:
        _send(wire, agent.answer(*frame))
    return 0


def _send(wire: Any, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[wire.write(view) :]


class Agent:
    """Calls a launcher for a client."""

    def __init__(self) -> None:
        self._launcher: Launcher | None = None

    def answer(self, header: dict[str, Any], content: bytes) -> bytes:
        """Return the frame that answers a call."""
        try:
            value = self._call(str(header.get("call")), dict(header.get("arguments") or {}), content)
        except FtsdkError as error:
            said = {
                "type": type(error).__name__,
                "message": str(error),
                "retryable": getattr(error, "retryable", False),
            }
            return as_bytes({"error": said})
        except Exception as error:  # noqa: BLE001 - the client has to know, whatever it is
            return as_bytes({"error": _said("", f"{type(error).__name__}: {error}", False)})
        if isinstance(value, bytes):
            return as_bytes({"value": None, "is_content": True}, value)
        return as_bytes({"value": value})

    def _call(self, call: str, given: dict[str, Any], content: bytes) -> object:
        if call == "open":
            self._launcher = _launcher(given)
            return None
        if self._launcher is None:
            raise BackendError("no launcher is open")
        if call == "answer":
            return (
                self._launcher.answer(timeout_s=float(given["timeout_s"]))
                if isinstance(self._launcher, CanAnswer)
                else ""
            )
        run_id = str(given["run_id"])
        if not is_run_id(run_id):
            raise RunNotFoundError(f"there is no run {run_id!r}: that can't be the name of its folder")
        found = _FILE_CALLS.get(call)
        if found is not None:
            files = cast("LocalFiles", self._launcher.files(run_id))
            return found(files, given, content)
        return _launcher_call(self._launcher, call, run_id, given)


def _said(kind: str, message: str, is_retryable: object) -> dict[str, object]:
    return {"type": kind, "message": message, "retryable": is_retryable is True}


def _launcher(given: dict[str, Any]) -> Launcher:
    if given.get("folder"):
        os.environ["FTSDK_HOME"] = str(Path(str(given["folder"])).expanduser())
    options = dict(given["options"])
    match given["kind"]:
        case "local":
            return LocalLauncher(**options)
        case "slurm":
            for name in ("setup", "sbatch"):
                options[name] = tuple(options.get(name, ()))
            return SlurmLauncher(Options(**options))
        case kind:
            raise BackendError(f"there is no launcher {kind!r}")


def _launcher_call(launcher: Launcher, call: str, run_id: str, given: dict[str, Any]) -> object:
    match call:
        case "start":
            return launcher.start(run_id, given["request"])
        case "native":
            return dict(launcher.native(run_id))
        case "is_running":
            return launcher.is_running(run_id)
        case "queued":
            job = launcher.queued(run_id) if isinstance(launcher, CanQueue) else None
            return job and {"native": job.native, "reason": job.reason, "is_blocked": job.is_blocked}
        case "stop":
            launcher.stop(run_id)
            return None
        case "record_end":
            return launcher.record_end(run_id, StateEvent.from_dict(given["end"]))
        case _:
            raise BackendError(f"there is no call {call!r}")


def _name(given: dict[str, Any]) -> str:
    name = str(given["name"])
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or not path.parts:
        raise BackendError(f"{name!r} isn't the name of a file in the run's folder")
    return name


def _read(files: LocalFiles, given: dict[str, Any], content: bytes) -> object:
    del content
    return files.read(_name(given), start=int(given.get("start", 0)))


def _write(files: LocalFiles, given: dict[str, Any], content: bytes) -> object:
    files.write(_name(given), content)
    return None


def _age_s(files: LocalFiles, given: dict[str, Any], content: bytes) -> object:
    del content
    return files.age_s(_name(given))


def _list(files: LocalFiles, given: dict[str, Any], content: bytes) -> object:
    """Return the files below a folder, by name, with their sizes."""
    del content
    folder = files.folder if given["name"] == "." else files.folder / _name(given)
    return {str(p.relative_to(folder)): p.stat().st_size for p in sorted(folder.rglob("*")) if p.is_file()}


def _read_part(files: LocalFiles, given: dict[str, Any], content: bytes) -> object:
    del content
    with (files.folder / _name(given)).open("rb") as file:
        file.seek(int(given["start"]))
        return file.read(PART)


def _write_part(files: LocalFiles, given: dict[str, Any], content: bytes) -> object:
    """Write a part of a large file, which appears with its last part."""
    target = files.folder / _name(given)
    start, draft = int(given["start"]), target.with_name(f".{target.name}.upload")
    if start == 0:
        make_folder(target.parent)
        draft.unlink(missing_ok=True)
    with draft.open("ab") as file:
        if file.tell() != start:
            raise BackendError(
                f"the upload of {given['name']} was mixed up with another one; try again", retryable=True
            )
        file.write(content)
        file.flush()
        if given["is_last"]:
            os.fsync(file.fileno())
    if given["is_last"]:
        draft.replace(target)
    return None


_FILE_CALLS = {
    "read": _read,
    "write": _write,
    "age_s": _age_s,
    "list": _list,
    "read_part": _read_part,
    "write_part": _write_part,
}


if __name__ == "__main__":
    sys.exit(main())
