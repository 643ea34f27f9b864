"""Several processes, one for each device, under torchrun.

    python -m ftsdk.backends.hosted.ranks RUN_FOLDER        (torchrun calls this)

`accelerate launch` isn't used: on a CPU it starts one process and exits 0 (accelerate 1.15, seen 2026-11-23).
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ftsdk._files import replace_file
from ftsdk.backends.hosted.diagnosis import diagnose
from ftsdk.backends.hosted.log_lines import lines_as_events
from ftsdk.backends.hosted.progress import Progress
from ftsdk.backends.hosted.stop_condition import CANCEL, Stop
from ftsdk.backends.hosted.tracking import tracked
from ftsdk.backends.hosted.trainer import Cancelled, Context, Training, TrainingStopped, load_trainer
from ftsdk.errors import Diagnosis
from ftsdk.runfolder.event_log import EventWriter

__all__ = ["ATTEMPT", "CLUSTER", "Cluster", "RankLost", "agent_command", "main", "run_agent", "train"]


class RankLost(Exception):
    """A rank was killed: like a worker that is killed, this says nothing about the training, which can go on."""


CLUSTER = "FTSDK_CLUSTER"
"""Environment variable: the hosts that train together, as JSON. Absent: this one alone."""
ATTEMPT = "attempt.json"
_PORT = 29500
_OUTCOME = ".rank{rank}.json"
_LOST_PEER = (
    "Connection closed by peer",
    "Connection reset by peer",
    "ncclRemoteError",
    "remote process exited",
    "NCCL communicator was aborted",
)
"""What gloo and NCCL say; only gloo's words were seen here."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The hosts that train together, as one of them sees them."""

    nodes: int = 1
    rank: int = 0
    """Of this host; the worker runs on the first, rank 0."""
    address: str = ""
    """Of the first host."""

    @classmethod
    def of_environment(cls) -> Cluster:
        """Read FTSDK_CLUSTER."""
        return cls(**json.loads(os.environ.get(CLUSTER, "{}")))

    def to_json(self) -> str:
        """Give what FTSDK_CLUSTER has to be."""
        return json.dumps(asdict(self))


def train(folder: Path, into: Path, resume_from: Path | None, *, processes: int) -> Training:
    """Train with torchrun and wait for it.

    Args:
        folder: The run's folder.
        into: Where rank 0 saves the weights.
        resume_from: The checkpoint for every rank: decided here once, so that the ranks can't disagree.
        processes: How many ranks.

    Raises:
        Cancelled: The ranks saw that the run is cancelled.
        TrainingStopped: A rank failed; the diagnosis is that of the first one.
        RankLost: A rank was killed.
    """
    for rank in range(processes):
        (folder / _OUTCOME.format(rank=rank)).unlink(missing_ok=True)
    cluster = Cluster.of_environment()
    attempt = {"into": str(into), "resume_from": str(resume_from) if resume_from else None, "address": cluster.address}
    replace_file(folder / ATTEMPT, json.dumps(attempt).encode())
    code = run_agent(folder, processes=processes, cluster=cluster)
    outcomes = [
        json.loads(path.read_bytes())
        for rank in range(processes)
        if (path := folder / _OUTCOME.format(rank=rank)).exists()
    ]
    for path in folder.glob(".rank*.json"):
        path.unlink()
    failures = sorted((o for o in outcomes if o["outcome"] == "failed"), key=lambda o: o["at"])
    if failures:
        told: dict[str, Any] = failures[0]["diagnosis"]
        raise TrainingStopped(Diagnosis(told["kind"], told["message"], told["step"], tuple(told["suggestions"])))
    if any(o["outcome"] == "cancelled" for o in outcomes):
        raise Cancelled
    done = [o for o in outcomes if o["outcome"] == "trained" and o["training"]]
    if code != 0 or not done:
        # Whoever fails for a reason of its own has said so. Who says nothing was killed, and the others with it.
        raise RankLost(
            f"torchrun ended with status {code} and a rank said nothing, as if killed; the log of the ranks is in "
            "worker.log"
        )
    return Training(**done[0]["training"])


def run_agent(folder: Path, *, processes: int, cluster: Cluster) -> int:
    """Run this host's share of the ranks, and wait for them.

    Args:
        folder: The run's folder.
        processes: How many ranks over all hosts.
        cluster: The hosts.
    """
    here = processes // cluster.nodes
    # One thread a rank unless the user says otherwise: ranks that fight over cores are slower than one process.
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // here))
    command = agent_command(folder, processes=processes, cluster=cluster)
    agent = subprocess.Popen(command, env={**os.environ, "OMP_NUM_THREADS": threads}, preexec_fn=_die_with_parent)
    try:
        return agent.wait()
    finally:
        if agent.poll() is None:
            agent.kill()
            agent.wait()


def agent_command(folder: Path, *, processes: int, cluster: Cluster) -> list[str]:
    """Give the torchrun command of one host: alone, or as one of several that meet at the first one's address."""
    meeting = ["--standalone"]
    if cluster.nodes > 1:
        meeting = [
            *("--nnodes", str(cluster.nodes), "--node-rank", str(cluster.rank)),
            *("--master-addr", cluster.address, "--master-port", str(_PORT)),
        ]
    share = str(processes // cluster.nodes)
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        *meeting,
        "--nproc-per-node",
        share,
        "-m",
        __name__,
        str(folder),
    ]


def main(argv: list[str]) -> int:
    """Train as one rank. Only rank 0 writes events and weights; how each rank ended is left for `train` to read."""
    _die_with_parent()
    folder = Path(argv[0])
    rank = int(os.environ["RANK"])
    request = json.loads((folder / "run.json").read_bytes())
    attempt = json.loads((folder / ATTEMPT).read_bytes())
    outcome: dict[str, Any] = {"outcome": "trained", "training": None}
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(contextlib.closing(EventWriter(folder))) if rank == 0 else None
        if log is not None:
            stack.enter_context(tracked(folder, log))
        context = Context(
            folder=folder,
            emit=Progress(log) if log else _say_nothing,
            # Rank 0 knows what the run has cost; the trainer sees to it that all ranks stop when one of them has to.
            is_cancelled=Stop(folder, request, log.events) if log else (folder / CANCEL).exists,
            resume_from=Path(attempt["resume_from"]) if attempt["resume_from"] else None,
            is_main=rank == 0,
        )
        stack.enter_context(lines_as_events(folder, log, is_on=request["launch"].get("log_events", False)))
        try:
            training = load_trainer(request["trainer"]).train(request["training"], context, Path(attempt["into"]))
            outcome["training"] = asdict(training) if rank == 0 else None
        except Cancelled:
            outcome["outcome"] = "cancelled"
        except Exception as error:  # noqa: BLE001 - whatever it is, the worker must learn of it
            traceback.print_exc()
            # Whose peer is gone has no failure of its own to tell: the peer has, or was killed.
            word = "lost_peer" if _is_lost_peer(error) else "failed"
            outcome = {"outcome": word, "at": time.time(), "diagnosis": diagnose(error, step=None)._asdict()}
    replace_file(folder / _OUTCOME.format(rank=rank), json.dumps(outcome).encode())
    return 1 if outcome["outcome"] in ("failed", "lost_peer") else 0


def _is_lost_peer(error: BaseException) -> bool:
    """Did a collective break off because another rank went away? Both libraries say so in words only (torch 2.13)."""
    return any(word in str(error) for word in _LOST_PEER)


def _say_nothing(kind: str, fields: Mapping[str, Any]) -> None:
    del kind, fields


def _die_with_parent() -> None:
    """Ask the kernel to end this process when its parent is killed: an orphan would keep the port and the memory."""
    if sys.platform.startswith("linux"):
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
