"""The launcher for this machine: a worker is a process in a session of its own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, cast

from ftsdk._files import replace_file, replacing
from ftsdk._home import home
from ftsdk._numbers import as_json_number
from ftsdk._secrets import looks_like_key
from ftsdk.backends.hosted.launcher import Hardware, LaunchPlan
from ftsdk.backends.hosted.run_end import record_end_in
from ftsdk.backends.launchers.hourly import billing_by_hour, hourly_price, price_in, with_price
from ftsdk.backends.launchers.this_machine import describe_machine, find_hardware
from ftsdk.backends.launchers.worker_environment import worker_environment
from ftsdk.errors import BackendError, Gap, SpecError
from ftsdk.protocol import Adjustment, StateEvent
from ftsdk.runfolder import lock
from ftsdk.runfolder.manifest import MANIFEST
from ftsdk.spec import JobSpec
from ftsdk.spec.amounts import check_amount

__all__ = ["LocalFiles", "LocalLauncher"]

_MALLOC = ":".join(
    f"glibc.malloc.{name}={value}"
    for name, value in (("hugetlb", 1), ("mmap_max", 0), ("trim_threshold", 2**35), ("top_pad", 2**28))
)
"""glibc settings that keep freed memory in the worker, in huge pages.

A training step on a CPU frees and allocates gigabytes; without this every page is returned and faulted in again, which
took four fifths of the time on a virtual machine (log-softmax over SmolLM2's logits, batch of 16: 344,000 page faults
and 9 to 20 s a pass, against none; 2026-11-23). Names: the GNU C library manual, "Memory Allocation Tunables"; other C
libraries ignore the variable.
"""


def _checked_names(names: Sequence[str]) -> tuple[str, ...]:
    # A key in place of a name would be kept with each run, so it isn't shown either.
    given: Sequence[object] = (0,) if isinstance(names, str) else names
    if not all(isinstance(name, str) and name.isidentifier() and not looks_like_key(name) for name in given):
        raise SpecError(
            "env takes the names of environment variables, without their values: Local(env=['MY_API_KEY']); set the "
            "values in the environment"
        )
    return tuple(names)


def _parts(folder: Path) -> list[str]:
    """Return the names of the trainer and the trackers, whose own variables the worker gets."""
    try:
        request: object = json.loads((folder / "run.json").read_bytes())
    except (OSError, ValueError):
        return []
    if not isinstance(request, dict):
        return []
    known = cast("dict[str, Any]", request)
    trackers = [one.get("name") if isinstance(one, dict) else one for one in known.get("trackers") or ()]
    return [str(name) for name in (known.get("trainer"), *trackers) if name]


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class LocalFiles:
    """The files of one run, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, name: str, *, start: int = 0) -> bytes | None:
        """Return the bytes from `start` on, or None if there is no such file."""
        path = self.folder / name
        try:
            # Without blocking: opening a named pipe would wait for a writer.
            with open(path, "rb", opener=lambda file, flags: os.open(file, flags | os.O_NONBLOCK)) as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise BackendError(f"{path} isn't a regular file; remove it, or the run with `ftsdk rm`")
                file.seek(start)
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise BackendError(f"{path} can't be read ({error.strerror or error}); check its permissions") from error

    def write(self, name: str, content: bytes) -> None:
        """Write a small file, whole or not at all."""
        replace_file(self.folder / name, content)

    def put(self, sources: Mapping[str, Path]) -> None:
        """Link or copy files into the folder."""
        for name, source in sources.items():
            self._put(source, self.folder / name)

    def _put(self, source: Path, target: Path) -> None:
        if target.exists() and target.stat().st_size == source.stat().st_size:
            return
        with replacing(target) as draft:
            try:
                os.link(source, draft)
            except OSError:
                shutil.copyfile(source, draft)

    def age_s(self, name: str) -> float | None:
        """Return the seconds since the file was written, or None if there is no such file."""
        try:
            return max(0.0, time.time() - (self.folder / name).stat().st_mtime)
        except FileNotFoundError:
            return None

    def fetch(self, folder: str, into: Path) -> None:
        """Copy a folder, its manifest last."""
        source = self.folder / folder
        into.mkdir(parents=True, exist_ok=True)
        (into / MANIFEST).unlink(missing_ok=True)
        names = sorted(p.relative_to(source) for p in source.rglob("*") if p.is_file())
        for name in sorted(names, key=lambda n: n == Path(MANIFEST)):
            target = into / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source / name, target)


class LocalLauncher:
    """Starts workers on this machine.

    Args:
        processes: Worker processes; None means one for each CUDA device, else one.
        device: `"cuda"`, `"mps"` or `"cpu"`; None takes the best that is there.
        usd_per_hour: What an hour of this machine costs its owner, in US dollars; None: nothing is billed.
        env: Names of further environment variables that the worker gets.

    Raises:
        SpecError: `usd_per_hour` isn't a price, or `env` holds something else than names.
    """

    name = "local"

    def __init__(
        self,
        *,
        processes: int | None = None,
        device: Literal["cuda", "mps", "cpu"] | None = None,
        usd_per_hour: Decimal | float | None = None,
        env: Sequence[str] = (),
    ) -> None:
        self._env = _checked_names(env)
        if processes is not None:
            check_amount("processes", processes, at_least=0, at_most=1024, is_whole=True)
        self._processes = processes
        self._device: Literal["cuda", "mps", "cpu"] | None = device
        self._usd_per_hour = None if usd_per_hour is None else hourly_price(usd_per_hour)

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that rebuild it."""
        usd_per_hour = None if self._usd_per_hour is None else as_json_number(self._usd_per_hour)
        given = {
            "processes": self._processes,
            "device": self._device,
            "usd_per_hour": usd_per_hour,
            "env": list(self._env) or None,
        }
        return {key: value for key, value in given.items() if value is not None}

    def options_of(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the arguments that can be read from a run's launch request: what an hour costs."""
        return with_price({}, price_in(request))

    def hardware(self, spec: JobSpec) -> Hardware:  # noqa: ARG002 - this machine is what it is
        """Return this machine's hardware, found without loading torch."""
        return find_hardware(device=self._device, processes=self._processes)

    def launch(self, spec: JobSpec) -> LaunchPlan:
        """Plan one process, or torchrun with several."""
        hardware = self.hardware(spec)
        gaps: list[Gap] = []
        if hardware.device == "mps" and hardware.processes > 1:
            gaps.append(
                Gap("backend.processes", hardware.processes, (1,), "an Apple GPU can be used by one process only")
            )
        how = "one process" if hardware.processes == 1 else f"torchrun, {hardware.processes} processes"
        request: dict[str, Any] = {"launcher": "local", "processes": hardware.processes, "device": hardware.device}
        if self._usd_per_hour is not None:
            request["usd_per_hour"] = str(self._usd_per_hour)
        return LaunchPlan(
            request=request,
            adjustments=(
                Adjustment(
                    field="device", chosen=f"{hardware.device} ({hardware.name}), {how}", reason=hardware.reason
                ),
            ),
            gaps=tuple(gaps),
            billing=billing_by_hour(spec, self._usd_per_hour, what="this machine", argument="Local(usd_per_hour=)"),
        )

    def answer(self, *, timeout_s: float) -> str:  # noqa: ARG002 - nobody has to be waited for
        """Return the hardware of this machine, and the version of torch.

        Raises:
            MissingExtraError: torch isn't installed.
        """
        return describe_machine(device=self._device, processes=self._processes)

    def files(self, run_id: str) -> LocalFiles:
        """Return the run's files."""
        return LocalFiles(self.folder(run_id))

    def folder(self, run_id: str) -> Path:
        """Return the path of a run's folder, whether it exists or not."""
        return home() / "runs" / run_id

    def start(self, run_id: str, request: Mapping[str, Any]) -> bool:
        """Start a worker in a session of its own, so that it outlives this process and its terminal."""
        folder = self.folder(run_id)
        held = lock.acquire(folder)
        if held is None:
            return False
        try:
            with open(folder / "worker.log", "ab", opener=_private) as log:
                environment = {
                    **worker_environment(os.environ, parts=_parts(folder), names=self._env),
                    lock.INHERITED: str(held),
                    "PYTHONUNBUFFERED": "1",
                    "TOKENIZERS_PARALLELISM": "false",
                    "HF_HUB_DISABLE_TELEMETRY": "1",
                    # Waiting threads spin briefly, then sleep. Spinning longer is a hundred times slower as soon as
                    # anything else runs (a step of a tiny model took 10 s in place of 0.1 s beside a busy machine's
                    # other work); sleeping at once costs a third of SmolLM2's step (GNU's OpenMP; other runtimes ignore
                    # the variable; 2026-11-24).
                    "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "5000"),
                }
                if request.get("device") == "cpu":
                    environment["CUDA_VISIBLE_DEVICES"] = ""
                    environment.setdefault("GLIBC_TUNABLES", _MALLOC)
                # The shell exits at once and leaves the worker to init: no zombie while this process is alive, and no
                # warning about a running child when it exits.
                subprocess.run(
                    [
                        "/bin/sh",
                        "-c",
                        '"$@" &',
                        "sh",
                        sys.executable,
                        "-m",
                        "ftsdk.backends.hosted.worker",
                        str(folder),
                    ],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=environment,
                    cwd=folder,
                    pass_fds=(held,),
                    start_new_session=True,
                    check=True,
                )
        except (OSError, subprocess.CalledProcessError) as error:
            raise BackendError(f"the worker for run {run_id} could not be started: {error}", retryable=True) from error
        finally:
            os.close(held)
        return True

    def native(self, run_id: str) -> Mapping[str, str]:  # noqa: ARG002 - a run has no other name here
        """Return nothing: a run on this machine has no other id."""
        return {}

    def is_running(self, run_id: str) -> bool:
        """Return whether a worker holds the folder's lock."""
        return lock.is_held(self.folder(run_id))

    def stop(self, run_id: str) -> None:
        """Kill the worker's whole process group."""
        folder = self.folder(run_id)
        holder = lock.holder_of(folder)
        if holder is None:
            return
        try:
            os.killpg(holder[1], signal.SIGKILL)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + 5
        while lock.is_held(folder) and time.monotonic() < deadline:
            time.sleep(0.01)

    def record_end(self, run_id: str, end: StateEvent) -> bool:
        """Append the run's last event under the lock, unless a worker is running or the run has an end."""
        return record_end_in(self.folder(run_id), end)
