"""A node's own copy of a run that is kept in an object store.

What was promised in the event log is in the store before the line that promises it: a checkpoint's files before its
manifest, both before its event, the weights before the run's end.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from ftsdk._files import make_folder, replace_file
from ftsdk.backends.hosted.checkpoints import CHECKPOINTS, step_of
from ftsdk.backends.hosted.heartbeat import HEARTBEAT
from ftsdk.backends.hosted.log_lines import LOG
from ftsdk.backends.hosted.ranks import ATTEMPT
from ftsdk.backends.hosted.stop_condition import CANCEL, INTERRUPT
from ftsdk.backends.hosted.worker import ARTIFACT, REQUEST
from ftsdk.backends.launchers.kept.jobs import JOBS, newest_job, number_of
from ftsdk.backends.launchers.kept.storage import StoredRun
from ftsdk.errors import BackendError, FtsdkError
from ftsdk.protocol import StateEvent
from ftsdk.runfolder.event_log import EVENTS, parse_events
from ftsdk.runfolder.manifest import MANIFEST

__all__ = ["Mirror", "Superseded"]

_LOG_BYTES = 5_000_000
_LOG_EVERY_S = 5.0
_INPUTS = ("data/", "inputs/")


class Superseded(RuntimeError):
    """A later job works on the run."""


class Mirror:
    """Copies a run from the store to a node, and back what the worker writes.

    Args:
        run: In the store.
        folder: On the node.
        job_id: The Ray job that the node works for.
        clock: Seconds; only differences count.
        sleep: Waits for some seconds.
    """

    def __init__(
        self,
        run: StoredRun,
        folder: Path,
        *,
        job_id: str,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._run, self._store, self.folder = run, run.store, folder
        self._job_id = job_id
        self._clock, self._sleep = clock, sleep
        self._sent: dict[str, int | bytes] = {}
        """What is known to be in the store: sizes of logs, and manifests of folders."""
        self._log_sent_at = -_LOG_EVERY_S

    def fetch(self) -> None:
        """Copy what a worker needs: the request, the rows, the model, the log, and the newest whole checkpoint.

        Raises:
            Superseded: A later job works on the run.
            BackendError: The store doesn't answer.
        """
        self.check_owner()
        make_folder(self.folder)
        there = self._store.sizes()
        for name in there:
            if name in (REQUEST, EVENTS, LOG, CANCEL) or name.startswith(_INPUTS):
                self._get(name)
        self._get_folder(ARTIFACT, there)
        steps = sorted({PurePosixPath(name).parts[1] for name in there if name.startswith(f"{CHECKPOINTS}/")})
        # All of them are known, so that the old ones are removed in time.
        self._sent.update({f"{CHECKPOINTS}/{name}": b"" for name in steps})
        for checkpoint in sorted(steps, key=lambda name: step_of(Path(name)), reverse=True):
            if self._get_folder(f"{CHECKPOINTS}/{checkpoint}", there):
                break
        beat = self._store.read(HEARTBEAT)
        if beat is not None:
            self._restore_heartbeat(beat)
        for name in (EVENTS, LOG):
            path = self.folder / name
            self._sent[name] = path.stat().st_size if path.exists() else 0

    def fetch_attempt(self, meeting: str) -> None:
        """Copy what the first node decided, once it has: the checkpoint to resume from, then the file that names it.

        Args:
            meeting: What the nodes of this attempt have in common.
        """
        content = self._store.read(ATTEMPT)
        decided = json.loads(content or b"{}")
        if content is None or decided.get("meeting") != meeting:
            return
        resume_from = decided.get("resume_from")
        if resume_from and not (self.folder / resume_from / MANIFEST).exists():
            name = str(PurePosixPath(str(resume_from)))
            if not self._get_folder(name, self._store.sizes()):
                return
        replace_file(self.folder / ATTEMPT, content)

    def sync(self, *, is_last: bool = False) -> None:
        """Send what is new, and learn whether the run was cancelled.

        Args:
            is_last: Send the whole log, too.

        Raises:
            Superseded: A later job works on the run, so nothing more is sent.
            BackendError: The store doesn't answer; what wasn't sent is sent next time.
        """
        self.check_owner()
        for name in (CANCEL, INTERRUPT):
            if not (self.folder / name).exists() and (content := self._store.read(name)) is not None:
                replace_file(self.folder / name, content)
        # Read first: whatever these lines promise is on this disk by now.
        events = _content(self.folder / EVENTS)
        events = events[: events.rfind(b"\n") + 1]
        self._send_attempt()
        whole = [p for p in (self.folder / CHECKPOINTS).glob("checkpoint-*") if (p / MANIFEST).is_file()]
        for checkpoint in sorted(whole, key=step_of):
            self._send_folder(checkpoint, f"{CHECKPOINTS}/{checkpoint.name}")
        if (self.folder / ARTIFACT / MANIFEST).is_file():
            self._send_folder(self.folder / ARTIFACT, ARTIFACT)
        if is_last or self._clock() >= self._log_sent_at + _LOG_EVERY_S:
            self._log_sent_at = self._clock()
            self._send_grown(LOG, _content(self.folder / LOG)[:_LOG_BYTES])
            self._send_heartbeat()
        # Before the last event: afterwards, nobody comes back for what was left.
        self._prune([] if _has_succeeded(events) else whole, is_over=_has_succeeded(events))
        self._send_grown(EVENTS, events)

    def finish(self, *, patience_s: float = 300.0) -> None:
        """Send everything, for some minutes if the store doesn't answer.

        Raises:
            Superseded: A later job works on the run.
            BackendError: The store didn't answer in all that time.
        """
        deadline = self._clock() + patience_s
        while True:
            try:
                self.sync(is_last=True)
            except FtsdkError as error:
                if self._clock() >= deadline:
                    raise BackendError(f"the results can't be kept: {error}", retryable=True) from error
                self._sleep(5.0)
            else:
                return

    def check_owner(self) -> None:
        """Check that no later job was submitted for the run: after a restart of the head, two may be at work.

        Raises:
            Superseded: There is one.
        """
        newest = newest_job(self._store.read(JOBS))
        if newest is not None and number_of(newest) > number_of(self._job_id):
            raise Superseded(f"job {newest} works on the run now, so job {self._job_id} leaves")

    def _get(self, name: str) -> None:
        target = self.folder / name
        if not target.resolve().is_relative_to(self.folder.resolve()):
            raise BackendError(f"the storage has a file with an unsafe name: {name[:200]!r}")
        with contextlib.suppress(FileNotFoundError):
            self._store.download(name, target)

    def _get_folder(self, folder: str, there: dict[str, int]) -> bool:
        """Copy a folder if it is whole, its manifest last."""
        if f"{folder}/{MANIFEST}" not in there:
            return False
        names = [name for name in there if name.startswith(f"{folder}/")]
        for name in sorted(names, key=lambda n: (n == f"{folder}/{MANIFEST}", n)):
            self._get(name)
        self._sent[folder] = _content(self.folder / folder / MANIFEST)
        return True

    def _send_folder(self, folder: Path, name: str) -> None:
        try:
            manifest = (folder / MANIFEST).read_bytes()
            if self._sent.get(name) == manifest:
                return
            # What is replaced isn't whole any more.
            self._store.remove(f"{name}/{MANIFEST}")
            for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST):
                self._store.upload(path, f"{name}/{path.relative_to(folder).as_posix()}")
            self._store.write(f"{name}/{MANIFEST}", manifest)
            self._sent[name] = manifest
        except FileNotFoundError:
            pass  # the worker has removed it in the meantime, since a newer one is there

    def _send_grown(self, name: str, content: bytes) -> None:
        if len(content) > int(self._sent.get(name, 0)):
            self._store.write(name, content)
            self._sent[name] = len(content)

    def _send_attempt(self) -> None:
        content = _content(self.folder / ATTEMPT)
        if content and self._sent.get(ATTEMPT) != content:
            self._store.write(ATTEMPT, content)
            self._sent[ATTEMPT] = content

    def _send_heartbeat(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._store.write(HEARTBEAT, f"{(self.folder / HEARTBEAT).stat().st_mtime:.3f}".encode())

    def _restore_heartbeat(self, content: bytes) -> None:
        with contextlib.suppress(ValueError):
            at = float(content)
            (self.folder / HEARTBEAT).touch()
            os.utime(self.folder / HEARTBEAT, (at, at))

    def _prune(self, whole: list[Path], *, is_over: bool) -> None:
        """Remove from the store the checkpoints that the worker has removed here, the newest one only at the end."""
        kept = {f"{CHECKPOINTS}/{path.name}" for path in whole}
        sent = sorted((n for n in self._sent if n.startswith(f"{CHECKPOINTS}/")), key=lambda n: step_of(Path(n)))
        for name in sent if is_over else sent[:-1]:
            if name not in kept:
                files = [f"{name}/{file}" for file in self._store.sizes(name)]
                self._store.remove(*sorted(files, key=lambda n: n != f"{name}/{MANIFEST}"))
                del self._sent[name]


def _has_succeeded(events: bytes) -> bool:
    start = events[:-1].rfind(b"\n") + 1
    return any(isinstance(e, StateEvent) and e.state == "succeeded" for e in parse_events(events[start:]))


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
