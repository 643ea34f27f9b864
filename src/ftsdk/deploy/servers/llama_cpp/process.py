"""The process that llama.cpp runs in, from the side that starts, watches and stops it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ftsdk._files import make_folder, replace_file
from ftsdk._secrets import check_key
from ftsdk.deploy.servers.engines import LlamaCpp
from ftsdk.deploy.servers.llama_cpp.child import CONFIG, KEY, READY
from ftsdk.deploy.servers.llama_cpp.files import LlamaFiles
from ftsdk.errors import BackendError, CredentialsError, MissingExtraError
from ftsdk.evals.endpoint import Endpoint
from ftsdk.protocol.serving import ServingStatus
from ftsdk.runfolder.lock import holder_of, is_held

__all__ = ["LLAMA_LOG", "LlamaProcess", "stop_process"]

LLAMA_LOG = "log.txt"
_TAIL = 2000
"""Bytes of the log in an error."""


class LlamaProcess:
    """A process with llama.cpp and its front, started by this one.

    Args:
        engine: Its settings.
        files: What it loads.
        folder: Of its own, for its settings, its log and its lock.
        context: Tokens of each request.
        threads: Threads that compute.
        monotonic: Seconds; only differences count.
        sleep: Waits for some seconds.
    """

    def __init__(
        self,
        engine: LlamaCpp,
        files: LlamaFiles,
        *,
        folder: Path,
        context: int,
        threads: int,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._engine = engine
        self._folder = folder
        self._monotonic = monotonic
        self._sleep = sleep
        self._url = ""
        self._is_stopped = False
        self._process = self._started(files, context, threads)

    @property
    def log(self) -> Path:
        """llama.cpp's log."""
        return self._folder / LLAMA_LOG

    def wait_until_ready(self, timeout_s: float) -> None:
        """Wait until it answers.

        Raises:
            BackendError: It ended; with the end of its log.
            TimeoutError: `timeout_s` is over.
        """
        deadline = self._monotonic() + timeout_s
        while not self._url:
            found = _read_json(self._folder / READY)
            if found is not None:
                self._url = str(found["url"])
            elif self._process.poll() is not None:
                raise BackendError(f"llama.cpp ended with status {self._process.returncode}: {self._tail()}")
            elif self._monotonic() >= deadline:
                raise TimeoutError(
                    f"llama.cpp didn't answer within {timeout_s:g} s, and was stopped; raise timeout_s. Log: {self.log}"
                )
            else:
                self._sleep(0.02)

    def endpoint(self, name: str) -> Endpoint:
        """Return the endpoint of a model."""
        engine = self._engine
        return Endpoint(
            url=self._url,
            model=name,
            api_key_env=engine.api_key_env,
            allow_http=True,
            concurrency=engine.parallel,
            timeout_s=600.0,
        )

    def status(self) -> ServingStatus:
        """Return whether it runs."""
        code = self._process.poll()
        if code is None:
            return ServingStatus(state="ready" if self._url else "starting", native=f"process {self._process.pid}")
        return ServingStatus(
            state="gone", native=f"exit status {code}", reason="" if self._is_stopped else self._tail()
        )

    def stop(self, *, wait_s: float) -> None:
        """End the process. It has nothing to save, so it is killed if it doesn't end by itself."""
        process = self._process
        self._is_stopped = self._is_stopped or process.poll() is None
        assert process.stdin is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(min(wait_s, 2.0))
        except subprocess.TimeoutExpired:
            process.kill()
            try:
                process.wait(max(wait_s, 5.0))
            except subprocess.TimeoutExpired as error:
                raise BackendError(f"process {process.pid} of llama.cpp can't be killed; see {self.log}") from error

    def _started(self, files: LlamaFiles, context: int, threads: int) -> subprocess.Popen[bytes]:
        if find_spec("xllamacpp") is None:
            raise MissingExtraError("export", needed_for="serving by llama.cpp", missing="xllamacpp")
        engine = self._engine
        config: dict[str, Any] = {
            "base": str(files.base),
            "adapters": [str(path) for path in files.adapters],
            "models": files.models,
            "host": engine.host,
            "port": engine.port,
            "context": context,
            "parallel": engine.parallel,
            "threads": threads,
            "gpu_layers": -1 if engine.gpu_layers is None else engine.gpu_layers,
        }
        make_folder(self._folder)
        (self._folder / READY).unlink(missing_ok=True)
        replace_file(self._folder / CONFIG, json.dumps(config, indent=1).encode())
        with self.log.open("ab") as log:
            return subprocess.Popen(
                # The package has imported the module already, which runpy finds worth a line of the log.
                [
                    sys.executable,
                    "-W",
                    "ignore::RuntimeWarning:runpy",
                    "-m",
                    "ftsdk.deploy.servers.llama_cpp.child",
                    str(self._folder),
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=_environment(_key(engine.api_key_env)),
                start_new_session=True,  # Ctrl-C in a terminal is for the parent, which stops it
            )

    def _tail(self) -> str:
        with contextlib.suppress(OSError):
            text = self.log.read_bytes()[-_TAIL:].decode("utf-8", "replace").strip()
            if text:
                return f"the end of {self.log}:\n{text}"
        return f"see {self.log}"


def stop_process(folder: Path, *, wait_s: float, sleep: Callable[[float], None] = time.sleep) -> None:
    """End the server of a folder, whichever process has started it.

    Its process id is trusted only while its lock is held, so no other process can be hit.

    Raises:
        BackendError: It is still there.
    """
    deadline = time.monotonic() + wait_s
    sent = signal.SIGTERM
    while is_held(folder):
        holder = holder_of(folder)
        if holder is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(holder[0], sent)
            sent = signal.SIGKILL
        if time.monotonic() >= deadline:
            raise BackendError(f"the server in {folder} can't be stopped; end its process by hand", retryable=True)
        sleep(0.1)


def _environment(key: str | None) -> Mapping[str, str]:
    # The packages of this process, from wherever they were imported, and none of its keys.
    kept = {name: value for name, value in os.environ.items() if not name.endswith(("_KEY", "_TOKEN", "_SECRET"))}
    kept["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return kept if key is None else {**kept, KEY: key}


def _key(name: str | None) -> str | None:
    if name is None:
        return None
    key = check_key(os.environ.get(name, ""), source=name)
    if not key:
        raise CredentialsError(f"the server asks its clients for a key; set the environment variable {name} to one")
    return key


def _read_json(path: Path) -> dict[str, Any] | None:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
