"""What a managed job runs on its machine: attempts at the run, until it is over.

python -m ftsdk.backends.launchers.skypilot.entry STORAGE RUN JOB VERSION

After a preemption SkyPilot starts the same command on another machine, which goes on from what the storage has.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from ftsdk.backends.hosted.ranks import Cluster
from ftsdk.backends.hosted.stop_condition import INTERRUPT
from ftsdk.backends.hosted.worker import REQUEST
from ftsdk.backends.launchers.kept.attempts import make_attempts, read_command, say
from ftsdk.backends.launchers.kept.node import NodeOrder, work_on_node
from ftsdk.backends.launchers.kept.storage import KeptRun, kept_run

__all__ = ["CLAIM", "is_claimed_by_another", "main", "work"]

CLAIM = "claim.json"
"""A file in the run's folder: which managed job works on the run."""
_SETTLE_S = 2.0


def main(argv: list[str] | None = None) -> int:
    """Work on a run.

    Returns:
        The exit status: 0 if the run is over, or another job has it.
    """
    arguments = sys.argv[1:] if argv is None else argv
    command = read_command(__spec__.name, arguments, place="this machine", remedy="install that one in setup=")
    if command is None:
        return 2
    storage, run_id, job_id = command
    run = kept_run(storage, run_id)
    # It is the same one after a preemption, and another one for a second job of the same name.
    if is_claimed_by_another(run, job_id, os.environ.get("SKYPILOT_TASK_ID", "")):
        say(f"another managed job works on run {run_id}")
        return 0
    told = _Told(run)
    signal.signal(signal.SIGTERM, told)
    return work(storage, run_id, job_id, is_told_to_leave=told.is_so)


def is_claimed_by_another(
    run: KeptRun, job_id: str, task_id: str, *, sleep: Callable[[float], None] = time.sleep
) -> bool:
    """Claim a run for a managed job, and return whether another job of the same number has claimed it before.

    Args:
        run: The run's files.
        job_id: Which of the run's jobs it is; a later one takes the run over.
        task_id: SkyPilot's own id, which outlives preemptions.
        sleep: Waits for some seconds, in which a job that claims it at the same time is heard of.
    """
    mine = {"job": job_id, "task": task_id}
    claimed = _claim(run)
    if claimed.get("job") == job_id:
        return claimed != mine
    run.write(CLAIM, json.dumps(mine).encode())
    sleep(_SETTLE_S)
    return _claim(run) != mine


def work(
    storage: str,
    run_id: str,
    job_id: str,
    *,
    is_told_to_leave: Callable[[], bool],
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Make attempts until the run is over, can't go on, or has to leave the machine.

    Returns:
        The job's exit status: 0 if the run is over, or another job has it.
    """
    run = kept_run(storage, run_id)
    request: dict[str, Any] = json.loads(run.read(REQUEST) or b"{}")["launch"]
    processes = max(1, int(request["processes"]))
    threads = max(1, int(request.get("cpus") or os.cpu_count() or 1) // processes)
    say(f"job {job_id} of run {run_id}")

    def attempt(name: str) -> bool:
        order = NodeOrder(
            storage=storage,
            run=run_id,
            job=job_id,
            device=str(request["device"]),
            threads=threads,
            cluster=Cluster(attempt=name),
        )
        end = work_on_node(order.to_dict())
        if end["status"] != 0:
            say(f"the worker ended: {end['said'] or end['status']}")
        return True

    return make_attempts(
        run,
        job_id,
        attempt,
        nobody_started="no worker could be started here; see the lines above",
        is_told_to_leave=is_told_to_leave,
        sleep=sleep,
    )


class _Told:
    """Remembers that the job was asked to stop, and lets the worker save a checkpoint."""

    def __init__(self, run: KeptRun) -> None:
        self._run = run
        self._is_so = False

    def __call__(self, *_: object) -> None:
        if not self._is_so:
            self._is_so = True
            # Elsewhere: the signal may have come in the middle of a look at the storage.
            threading.Thread(target=self._run.write, args=(INTERRUPT, b""), daemon=True).start()

    def is_so(self) -> bool:
        return self._is_so


def _claim(run: KeptRun) -> dict[str, Any]:
    try:
        found: Any = json.loads(run.read(CLAIM) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}  # pyright: ignore[reportUnknownVariableType]


if __name__ == "__main__":
    # The run's files are for this user only.
    os.umask(0o077)
    sys.exit(main())
