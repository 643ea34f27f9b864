"""Servers on this machine, on record: a folder for each, found again from any process."""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from ftsdk._files import read_regular_file, replace_file
from ftsdk._format import printable
from ftsdk._home import home
from ftsdk._rich_text import rich_text
from ftsdk.deploy.servers.llama_cpp.child import READY
from ftsdk.deploy.servers.llama_cpp.process import stop_process
from ftsdk.errors import SpecError
from ftsdk.runfolder.lock import is_held
from ftsdk.spec import Value

__all__ = ["ServerRecord", "is_asked_to_stop", "servers", "servers_folder", "stop_server"]

_log = logging.getLogger(__name__)

_RECORD = "record.json"
_STOP = "stop-asked"
_MOST_BYTES = 1 << 20
_KEPT_S = 7 * 86_400
"""How long the log of a server that has ended is kept, in seconds."""


class ServerRecord(Value):
    """A server that runs in a process of this machine. Holds no secrets."""

    name: str
    """Chosen by ftsdk."""
    engine: str
    models: tuple[str, ...]
    """The names of its models."""
    owner_pid: int
    """The process that started it, and whose end it doesn't outlive."""
    started_at: float
    """Seconds since the epoch."""

    def __str__(self) -> str:
        url = self.read_url()
        where = "starting" if url is None else f"at {url}"
        return f"{self.name} [{self.engine}] {where}, of process {self.owner_pid}: {', '.join(self.models)}"

    __rich__ = rich_text

    def read_url(self) -> str | None:
        """Return its address; None: it doesn't answer yet."""
        try:
            return str(json.loads((servers_folder() / self.name / READY).read_bytes())["url"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self) -> Path:
        """Write the record, before anything is started; return its folder."""
        folder = servers_folder() / self.name
        replace_file(folder / _RECORD, self.to_json(indent=1).encode())
        return folder


def servers_folder() -> Path:
    """Return the folder of all records."""
    return home() / "servers" / "running"


def servers() -> list[ServerRecord]:
    """Return the servers that run in processes of this machine, whoever has started them.

    A server ends with its process. So there is one that nobody uses only if that process hangs; `stop_server` ends it.
    """
    return [record for folder, record in _records() if is_held(folder)]


def stop_server(name: str, *, wait_s: float = 30.0) -> None:
    """Stop a server by its name, and return once it is gone. One that has ended already is fine.

    Raises:
        SpecError: There is no record of it.
        BackendError: It is still there.
    """
    for folder, record in _records():
        if record.name == name:
            (folder / _STOP).touch()
            stop_process(folder, wait_s=wait_s)
            return
    running = ", ".join(record.name for record in servers()) or "none is running"
    raise SpecError(f"no server {name!r} on this machine ({running}); a run's ref is like local:20261123-ab12cd")


def is_asked_to_stop(folder: Path) -> bool:
    """Return whether `stop_server` was called for the server of this folder, by whatever process."""
    return (folder / _STOP).exists()


def forget_old(*, now: float | None = None) -> None:
    """Remove the folders of servers that ended long ago."""
    at = time.time() if now is None else now
    for folder, record in _records():
        if at - record.started_at > _KEPT_S and not is_held(folder):
            shutil.rmtree(folder, ignore_errors=True)


def _records() -> Iterator[tuple[Path, ServerRecord]]:
    """Yield the records; one that can't be read hides no other: its server ends with the process that started it."""
    for file in sorted(servers_folder().glob(f"*/{_RECORD}")):
        try:
            record = ServerRecord.from_json(read_regular_file(file, most_bytes=_MOST_BYTES))
        except (OSError, ValueError, SpecError) as error:
            _log.warning("the record of a server can't be read: %s: %s", file, printable(str(error), 300))
            continue
        if record.name == file.parent.name:
            yield file.parent, record
