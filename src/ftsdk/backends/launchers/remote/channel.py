"""A conversation with the agent on another machine, through the system's own ssh.

The user's configuration, agent and jump hosts apply. The connection is made at the first call, kept, and made again
when it is lost.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import re
import select
import shlex
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import IO, Any

from ftsdk._secrets import redact
from ftsdk.backends.launchers.remote.frames import HELLO, Frame, FrameError, as_bytes, read_frame
from ftsdk.errors import BackendError, CredentialsError, FtsdkError, RunNotFoundError, SpecError

__all__ = ["Channel", "channel_to", "check_host", "close_channels", "ssh_command"]

_AGENT = "ftsdk.backends.launchers.remote.agent"
_HOST = re.compile(r"(?:[A-Za-z0-9_.][A-Za-z0-9_.-]*@)?[A-Za-z0-9_\[:.][A-Za-z0-9_\[\]:.-]*\Z")
_VERSION = version("ftsdk")
_HELLO_S = 60.0
_ANSWER_S = 120.0
_MOST_NOISE = 2**20
"""Bytes that a login shell may print before the agent speaks."""
_READS = frozenset({"read", "read_part", "list", "age_s", "native", "is_running", "queued"})
"""Calls that change nothing, and are made again on a new connection if the old one turns out to be lost."""
_ERRORS: Mapping[str, type[FtsdkError]] = {
    "RunNotFoundError": RunNotFoundError,
    "SpecError": SpecError,
    "CredentialsError": CredentialsError,
}


def check_host(host: object) -> str:
    """Return the name of a machine, as ssh knows it.

    Raises:
        SpecError: It could be taken for something else, such as an option.
    """
    if not isinstance(host, str) or not _HOST.match(host) or len(host) > 255:
        raise SpecError(f"host={host!r} isn't a machine's name for ssh: write 'login.example.org', or 'user@host'")
    return host


def ssh_command(host: str, python: str, ssh: Sequence[str] = ()) -> list[str]:
    """Return the command that starts the agent."""
    # The far shell sees one quoted command; only a leading "~/" is left for it to expand.
    quoted = f"~/{shlex.quote(python[2:])}" if python.startswith("~/") else shlex.quote(python)
    options = ("BatchMode=yes", "ConnectTimeout=20", "ServerAliveInterval=15", "ServerAliveCountMax=4")
    flags = [part for option in options for part in ("-o", option)]
    return ["ssh", "-T", *ssh, *flags, "--", host, f"{quoted} -m {_AGENT}"]


class Channel:
    """Calls the agent. Safe to use from several threads, and after a fork.

    Args:
        command: Starts the agent: see `ssh_command`.
        host: The machine, for messages.
        opening: The arguments of the agent's call `open`.
        hello_s: Seconds that the agent may take to start.
        answer_s: Seconds that a call may take.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        host: str,
        opening: Mapping[str, Any],
        hello_s: float = _HELLO_S,
        answer_s: float = _ANSWER_S,
    ) -> None:
        self._command, self._host, self._opening = list(command), host, dict(opening)
        self._hello_s, self._answer_s = hello_s, answer_s
        self._lock = threading.RLock()
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self._owner = 0
        self._unread = bytearray()

    def call(self, name: str, content: bytes = b"", /, **arguments: Any) -> Any:
        """Call the agent, and return its answer: JSON, or bytes.

        Raises:
            BackendError: The machine can't be reached, or the call failed there.
            CredentialsError: ssh wasn't let in.
        """
        with self._lock:
            was_open = self._is_open
            try:
                return self._call(name, content, arguments)
            except BackendError as error:
                if not (was_open and not self._is_open and name in _READS and error.retryable):
                    raise
                return self._call(name, content, arguments)

    def close(self) -> None:
        """End the agent."""
        with self._lock:
            process, self._process = self._process, None
            self._unread.clear()
            if process is None:
                return
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    if stream is not None:
                        stream.close()
            if self._owner == os.getpid():
                try:
                    process.wait(timeout=2.0)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
            if self._errors is not None:
                self._errors.close()
                self._errors = None

    @property
    def _is_open(self) -> bool:
        return self._process is not None and self._owner == os.getpid()

    def _call(self, name: str, content: bytes, arguments: Mapping[str, Any]) -> Any:
        if not self._is_open:
            self._open()
        return self._ask(name, content, arguments)

    def _ask(self, name: str, content: bytes, arguments: Mapping[str, Any]) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(as_bytes({"call": name, "arguments": dict(arguments)}, content))
            header, answer = self._frame()
        except (OSError, FrameError) as error:
            raise self._lost(str(error)) from error
        failure = header.get("error")
        if isinstance(failure, dict):
            raise _error_of(failure, self._host)  # pyright: ignore[reportUnknownArgumentType]
        return answer if header.get("is_content") else header.get("value")

    def _open(self) -> None:
        self.close()
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the channel
        self._owner = os.getpid()
        try:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                bufsize=0,
                # An interrupt in the terminal is for this process.
                start_new_session=True,
            )
        except OSError as error:
            raise BackendError(f"{self._command[0]} can't be started ({error.strerror}); install OpenSSH") from error
        hello = self._hello()
        if hello.get("version") != _VERSION:
            self.close()
            raise BackendError(
                f"{self._host} has ftsdk {hello.get('version')}, and this machine {_VERSION}; a worker reads what "
                f'this one writes, so install the same there: pip install "ftsdk[local]=={_VERSION}"'
            )
        self._ask("open", b"", self._opening)

    def _hello(self) -> dict[str, Any]:
        deadline = time.monotonic() + self._hello_s
        heard = bytearray()
        while len(heard) < _MOST_NOISE:
            try:
                line = self._line(deadline, most=_MOST_NOISE)
            except (OSError, FrameError) as error:
                raise self._lost(str(error)) from error
            if not line:
                raise self._lost("it ended")
            heard += line
            if line.startswith(HELLO):
                with contextlib.suppress(ValueError):
                    found: object = json.loads(line[len(HELLO) :])
                    if isinstance(found, dict):
                        return found  # pyright: ignore[reportUnknownVariableType]
        raise self._lost("it says something else")

    def _frame(self) -> Frame:
        deadline = time.monotonic() + self._answer_s
        frame = read_frame(lambda most: self._line(deadline, most=most), lambda size: self._bytes(deadline, size))
        if frame is None:
            raise FrameError("it ended")
        return frame

    def _line(self, deadline: float, *, most: int) -> bytes:
        while (end := self._unread.find(b"\n")) < 0:
            if len(self._unread) > most or not self._receive(deadline):
                raise FrameError("it ended" if len(self._unread) <= most else "a line is too long")
        line = bytes(self._unread[: end + 1])
        del self._unread[: end + 1]
        return line

    def _bytes(self, deadline: float, size: int) -> bytes:
        while len(self._unread) < size and self._receive(deadline):
            pass
        content = bytes(self._unread[:size])
        del self._unread[:size]
        return content

    def _receive(self, deadline: float) -> bool:
        """Wait for more; False at the end of the stream."""
        assert self._process is not None
        assert self._process.stdout is not None
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
            raise FrameError("it doesn't answer")
        part = os.read(self._process.stdout.fileno(), 2**16)
        self._unread += part
        return bool(part)

    def _lost(self, what: str) -> FtsdkError:
        """Close the channel, and return the error for it, from what ssh and the far shell said."""
        process, said, status = self._process, "", None
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = process.wait(timeout=0.5)
        if self._errors is not None:
            with contextlib.suppress(OSError, ValueError):
                self._errors.seek(0, os.SEEK_END)
                self._errors.seek(max(0, self._errors.tell() - 4000))
                said = self._errors.read().decode("utf-8", "replace")
        self.close()
        return lost(self._host, what, said, command=self._command[-1], status=status)


def lost(host: str, what: str, said: str, *, command: str, status: int | None) -> FtsdkError:
    """Return the error for a connection that couldn't be made, or was lost.

    Args:
        host: The machine.
        what: What was seen here.
        said: What ssh and the far shell said.
        command: What was to start the agent.
        status: The exit status of ssh, which is that of the command unless ssh itself failed; None: not known.
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    text = redact("; ".join(lines[-3:]))[:500]
    low = said.lower()
    if "permission denied" in low or "too many authentication failures" in low:
        return CredentialsError(
            f"ssh to {host} was refused ({text}); ftsdk can't type a password: load a key into your agent (ssh-add), "
            f"or name it in ~/.ssh/config, until `ssh {host} true` works by itself"
        )
    if "host key verification failed" in low:
        return CredentialsError(
            f"ssh doesn't know {host}, or its key has changed ({text}); check the key with its owner, then accept it: "
            f"ssh {host}"
        )
    if "no module named" in low and "ftsdk" in low:
        return BackendError(
            f'{host} has no ftsdk ({command}): pip install "ftsdk[local]=={_VERSION}" there, and name that '
            "interpreter with python=, such as python='~/venv/bin/python'"
        )
    if status in (126, 127):  # a shell's own: it can't be run, or isn't there
        return BackendError(f"{host} can't run the interpreter ({text}); name one that has ftsdk with python=")
    detail = f"{what}: {text}" if text else what
    return BackendError(f"{host} can't be reached through ssh, or the connection was lost ({detail})", retryable=True)


def _error_of(failure: Mapping[str, Any], host: str) -> FtsdkError:
    message = f"on {host}: {redact(str(failure.get('message')))[:2000]}"
    kind = _ERRORS.get(str(failure.get("type")))
    return kind(message) if kind is not None else BackendError(message, retryable=failure.get("retryable") is True)


_shared: dict[str, Channel] = {}
_SHARING = threading.Lock()


def channel_to(command: Sequence[str], *, host: str, opening: Mapping[str, Any]) -> Channel:
    """Return this process's channel for such calls, so that a hundred runs on one machine need one connection.

    Args:
        command: Starts the agent: see `ssh_command`.
        host: The machine, for messages.
        opening: The arguments of the agent's call `open`.
    """
    key = json.dumps([list(command), dict(opening)], sort_keys=True)
    with _SHARING:
        if key not in _shared:
            _shared[key] = Channel(command, host=host, opening=opening)
        return _shared[key]


def close_channels() -> None:
    """Close the connections to all machines. They are made again when they are needed."""
    for channel in list(_shared.values()):
        channel.close()


atexit.register(close_channels)
