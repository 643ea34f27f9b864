"""Training in several processes, one for each device, under torchrun.

    python -m ftsdk.backends.hosted.ranks RUN_FOLDER        (torchrun calls this)

`accelerate launch` isn't used: on a CPU it starts one process and exits 0 (accelerate 1.15, seen 2026-11-23).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ftsdk._files import replace_file
from ftsdk.backends.hosted.child_process import die_with_parent
from ftsdk.backends.hosted.diagnosis import diagnose
from ftsdk.backends.hosted.log_lines import lines_as_events
from ftsdk.backends.hosted.progress import Progress
from ftsdk.backends.hosted.stop_condition import CANCEL, INTERRUPT, StopCondition
from ftsdk.backends.hosted.tracking import tracked
from ftsdk.backends.hosted.trainer import Cancelled, Context, Interrupted, TrainingResult, TrainingStopped, load_trainer
from ftsdk.errors import Diagnosis
from ftsdk.protocol import Event
from ftsdk.runfolder.event_log import EventWriter

__all__ = ["ATTEMPT", "CLUSTER", "Cluster", "RankLost", "agent_command", "main", "run_agent", "train"]


class RankLost(Exception):
    """A rank was killed. That says nothing about the training, which can be resumed, as after a killed worker."""


CLUSTER = "FTSDK_CLUSTER"
"""Environment variable: the hosts that train together, as JSON. Not set: this host trains alone."""
ATTEMPT = "attempt.json"
_OUTCOME = ".rank{rank}.json"
_LOST_PEER = (
    "Connection closed by peer",
    "Connection reset by peer",
    "ncclRemoteError",
    "remote process exited",
    "NCCL communicator was aborted",
)
"""Messages of gloo and NCCL. Only gloo's were observed; NCCL's are from its source."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The hosts that train together, as one of them sees them."""

    nodes: int = 1
    rank: int = 0
    """The rank of this host. The worker runs on rank 0."""
    address: str = ""
    """The address of rank 0."""
    port: int = 29500
    """Where rank 0 listens; another one for each job, if jobs share hosts."""
    attempt: str = ""
    """What tells this attempt from the one before; empty if its address does."""

    @property
    def meeting(self) -> str:
        """What the hosts of one attempt have in common."""
        return self.attempt or self.address

    @classmethod
    def of_environment(cls) -> Cluster:
        """Read FTSDK_CLUSTER."""
        return cls(**json.loads(os.environ.get(CLUSTER, "{}")))

    def to_json(self) -> str:
        """Return the value of FTSDK_CLUSTER."""
        return json.dumps(asdict(self))


def train(folder: Path, into: Path, resume_from: Path | None, *, processes: int) -> TrainingResult:
    """Train under torchrun, and wait until it exits.

    Args:
        folder: The run's folder.
        into: Where rank 0 saves the weights.
        resume_from: The checkpoint for every rank. It is chosen once, so that the ranks can't disagree.
        processes: The number of ranks.

    Raises:
        Cancelled: The run was cancelled.
        Interrupted: The worker had to leave, and a checkpoint is saved.
        TrainingStopped: A rank failed; the diagnosis is that of the rank that failed first.
        RankLost: A rank was killed.
    """
    for rank in range(processes):
        (folder / _OUTCOME.format(rank=rank)).unlink(missing_ok=True)
    cluster = Cluster.of_environment()
    # Relative to the run's folder, which may have another path on each host.
    attempt = {
        "into": os.path.relpath(into, folder),
        "resume_from": os.path.relpath(resume_from, folder) if resume_from else None,
        "meeting": cluster.meeting,
    }
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
        raise TrainingStopped(Diagnosis.from_dict(failures[0]["diagnosis"]))
    if any(o["outcome"] == "cancelled" for o in outcomes):
        raise Cancelled
    if any(o["outcome"] == "interrupted" for o in outcomes):
        raise Interrupted
    done = [o for o in outcomes if o["outcome"] == "trained" and o["training"]]
    if code != 0 or not done:
        # A rank that fails by itself reports why. One that doesn't report was killed, and torchrun killed the others.
        raise RankLost(
            f"torchrun exited with status {code}, and a rank didn't report, so it was probably killed; the log of the "
            "ranks is in worker.log"
        )
    return TrainingResult(**done[0]["training"])


def run_agent(folder: Path, *, processes: int, cluster: Cluster) -> int:
    """Run this host's share of the ranks under torchrun, and return torchrun's exit status.

    Args:
        folder: The run's folder.
        processes: The number of ranks over all hosts.
        cluster: The hosts.
    """
    here = processes // cluster.nodes
    # Each rank gets its share of the cores unless the user sets it: ranks that compete are slower than one process.
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // here))
    command = agent_command(folder, processes=processes, cluster=cluster)
    agent = subprocess.Popen(
        command,
        env={**os.environ, "OMP_NUM_THREADS": threads},
        # The model's folders are named relative to the run's; the worker is there already, another host isn't.
        cwd=folder,
        preexec_fn=die_with_parent,
    )
    try:
        return agent.wait()
    finally:
        if agent.poll() is None:
            agent.kill()
            agent.wait()


def agent_command(folder: Path, *, processes: int, cluster: Cluster) -> list[str]:
    """Return the torchrun command of one host: alone, or one of several that connect to the first one's address."""
    rendezvous = ["--standalone"]
    if cluster.nodes > 1:
        rendezvous = [
            *("--nnodes", str(cluster.nodes), "--node-rank", str(cluster.rank)),
            *("--master-addr", cluster.address, "--master-port", str(cluster.port)),
        ]
    share = str(processes // cluster.nodes)
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        *rendezvous,
        "--nproc-per-node",
        share,
        "-m",
        __name__,
        str(folder),
    ]


def main(argv: list[str]) -> int:
    """Train as one rank, and leave a file for `train` about how it ended. Only rank 0 writes events and weights."""
    die_with_parent()
    folder = Path(argv[0])
    rank = int(os.environ["RANK"])
    request = json.loads((folder / "run.json").read_bytes())
    attempt = json.loads((folder / ATTEMPT).read_bytes())
    outcome: dict[str, Any] = {"outcome": "trained", "training": None}
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(contextlib.closing(EventWriter(folder))) if rank == 0 else None
        if log is not None:
            stack.enter_context(tracked(folder, log))
        # Rank 0 knows what the run has cost; the trainer makes all ranks stop when one of them has to.
        stop = StopCondition(folder, request, log.events) if log else None
        context = Context(
            folder=folder,
            emit=Progress(log, stop.meter) if log and stop else _emit_nothing,
            is_cancelled=stop or (folder / CANCEL).exists,
            is_interrupted=(folder / INTERRUPT).exists,
            resume_from=folder / attempt["resume_from"] if attempt["resume_from"] else None,
            is_main=rank == 0,
        )
        stack.enter_context(lines_as_events(folder, log, is_on=request["launch"].get("log_events", False)))
        try:
            training = load_trainer(request["trainer"]).train(request["training"], context, folder / attempt["into"])
            outcome["training"] = asdict(training) if rank == 0 else None
        except Cancelled:
            outcome["outcome"] = "cancelled"
        except Interrupted:
            outcome["outcome"] = "interrupted"
        except Exception as error:  # noqa: BLE001 - whatever it is, the worker has to know
            traceback.print_exc()
            # A rank that has lost its peer isn't the cause: the peer reports its own failure, or was killed.
            word = "lost_peer" if _is_lost_peer(error) else "failed"
            outcome = {"outcome": word, "at": time.time(), "diagnosis": diagnose(error, step=None)._asdict()}
    replace_file(folder / _OUTCOME.format(rank=rank), json.dumps(outcome).encode())
    return 1 if outcome["outcome"] in ("failed", "lost_peer") else 0


def _is_lost_peer(error: BaseException) -> bool:
    """Return whether a collective operation failed because another rank is gone.

    Both libraries say so only in the message (torch 2.13).
    """
    return any(word in str(error) for word in _LOST_PEER)


def _emit_nothing(event: Event) -> None:
    del event


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
