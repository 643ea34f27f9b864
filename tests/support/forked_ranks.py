"""The ranks of a training, forked from this process, which has loaded torch already; torchrun's part is done here.

Two ranks under torchrun load torch, transformers and TRL once each, which takes longer than what they train.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import sys
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ftsdk import FineTuneJob
from ftsdk.backends.hosted import ranks
from ftsdk.data import Store

__all__ = ["folder_of", "in_ranks", "train_in_ranks"]


def folder_of(job: FineTuneJob, folder: Path) -> Path:
    """A run's folder, as `submit` would write it."""
    plan = job.plan()
    (folder / "data").mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({**plan.request, "spec": plan.spec.to_dict()}))
    for part, data in (("train", job.train), ("validation", job.validation)):
        if data is not None:
            store = Store()
            store.put(data)
            shutil.copyfile(store.get(data.fingerprint), folder / "data" / f"{part}.arrow")
    return folder


def in_ranks(processes: int, work: Callable[[int], object], *, log: Path) -> list[int]:
    """Call a function in forked processes with the environment of torchrun, and return their exit codes.

    Args:
        processes: How many.
        work: Gets the rank; an int that it returns is the exit code.
        log: Where their output goes.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pids: list[int] = []
    for rank in range(processes):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            _run(rank, processes, port, work, log)
        pids.append(pid)
    try:
        return [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                if os.waitpid(pid, os.WNOHANG)[0] == 0:
                    os.kill(pid, 9)
                    os.waitpid(pid, 0)


def _run(rank: int, processes: int, port: int, work: Callable[[int], object], log: Path) -> None:
    code = 1
    try:
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(file, 1)
        os.dup2(file, 2)
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        warnings.simplefilter("default")
        os.environ.update(
            {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(processes),
                "LOCAL_WORLD_SIZE": str(processes),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "GLOO_SOCKET_IFNAME": "lo",
            }
        )
        result = work(rank)
        code = result if isinstance(result, int) else 0
    except BaseException:  # noqa: BLE001 - a child must never return into pytest
        traceback.print_exc()
    finally:
        os._exit(code)


def train_in_ranks(folder: Path, processes: int, *, resume_from: Path | None = None) -> list[Mapping[str, Any]]:
    """Train a run's folder in forked ranks, into `folder / "artifact"`, and return how each of them ended."""
    into = folder / "artifact"
    into.mkdir(exist_ok=True)
    attempt = {"into": str(into), "resume_from": None if resume_from is None else str(resume_from), "meeting": ""}
    (folder / ranks.ATTEMPT).write_text(json.dumps(attempt))
    log = folder / "worker.log"
    codes = in_ranks(processes, lambda _: ranks.main([str(folder)]), log=log)
    files = [folder / f".rank{rank}.json" for rank in range(processes)]
    assert all(file.exists() for file in files), f"{codes}\n{log.read_text()[-4000:]}"
    return [json.loads(file.read_bytes()) for file in files]
