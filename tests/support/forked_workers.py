"""Workers for tests: the real worker, forked from this process, which has loaded torch already.

Loading torch, transformers and TRL takes most of the time of a short run. The tests that need many workers fork them;
`test_local_process.py` and a part of `test_kill.py` start them as users do.
"""

from __future__ import annotations

import contextlib
import gc
import os
import resource
import traceback
import warnings
from collections.abc import Mapping
from typing import Any

from ftsdk.backends.hosted import worker
from ftsdk.backends.hosted.backend import HostedBackend
from ftsdk.backends.launchers.local import LocalLauncher
from ftsdk.backends.trainers.trl import TRLTrainer
from ftsdk.runfolder import lock

__all__ = ["ForkedLocal", "ForkingLauncher", "load_torch"]


class ForkingLauncher(LocalLauncher):
    """Starts the worker by a fork; everything else is the local launcher."""

    def __init__(
        self, *, file_size_limit: int | None = None, usd_per_hour: float | None = None, pids: list[int] | None = None
    ) -> None:
        super().__init__(device="cpu", usd_per_hour=usd_per_hour)
        self.file_size_limit = file_size_limit
        self.pids: list[int] = [] if pids is None else pids

    def start(self, run_id: str, request: Mapping[str, Any]) -> bool:
        folder = self.folder(run_id)
        held = lock.acquire(folder)
        if held is None:
            return False
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads; none of ours holds a lock
            pid = os.fork()
        if pid:
            os.close(held)
            self.pids.append(pid)
            return True
        code = 1
        try:
            os.setsid()
            log = os.open(folder / "worker.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.environ[lock.INHERITED] = str(held)
            warnings.simplefilter("default")
            if self.file_size_limit is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (self.file_size_limit, resource.RLIM_INFINITY))
            code = worker.main([str(folder)])
        except BaseException:  # noqa: BLE001 - the child must never return into pytest
            traceback.print_exc()
        finally:
            os._exit(code)

    def end(self) -> None:
        """Kill what is left, and wait for it."""
        for pid in self.pids:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, 9)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        self.pids.clear()


class ForkedLocal(HostedBackend):
    """The local backend with forked workers; `launcher` is shared by all objects, as this machine is.

    With a price the launcher is another one, and only the workers to be ended are shared.
    """

    launcher = ForkingLauncher()

    def __init__(self, *, device: str = "cpu", usd_per_hour: float | None = None) -> None:
        assert device == "cpu"
        launcher = (
            self.launcher
            if usd_per_hour is None
            else ForkingLauncher(usd_per_hour=usd_per_hour, pids=self.launcher.pids)
        )
        super().__init__(name="local", launcher=launcher, trainer=TRLTrainer(), cancel_grace_s=2.0)


def load_torch() -> None:
    """Load what a worker loads, so that its forks have it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import trl.trainer.dpo_trainer
        import trl.trainer.sft_trainer  # noqa: F401

        import ftsdk.backends.trainers.trl.train  # noqa: F401
    # A worker collects garbage before it trains: going through what was loaded here takes it longer than its steps, and
    # copies the pages that it shares with this process.
    gc.collect()
    gc.freeze()
