"""The scheduler, through its commands. Nothing here goes through a shell."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ftsdk._secrets import redact
from ftsdk.errors import BackendError

__all__ = ["Job", "cancel_job", "describe_cluster", "find_jobs", "kill_job", "submit_job"]

_TIMEOUT_S = 60.0
_ENDED = frozenset(
    {
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "LAUNCH_FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
        *("PREEMPTED", "RECONFIG_FAIL", "REVOKED", "TIMEOUT"),
    }
)
"""States of a job that is over. An unknown one counts as alive: no second job is started beside it."""
_WAITING = frozenset({"PENDING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT"})
_REFUSAL = re.compile(r"(?:error|failure): (?P<text>.+)")
_UNCERTAIN = ("timed out", "unable to contact", "zero bytes", "connection", "communication", "protocol", "munge")
"""Words of errors after which a job may be there all the same."""


class Job(NamedTuple):
    """A job as the scheduler knows it."""

    id: str
    state: str
    reason: str

    @property
    def is_alive(self) -> bool:
        """Whether it runs, waits, or is on its way out."""
        return self.state not in _ENDED

    @property
    def is_waiting(self) -> bool:
        """Whether it has no nodes yet."""
        return self.state in _WAITING


def find_jobs(name: str) -> list[Job]:
    """Return the user's jobs of a name, oldest first: those that are over, too, until the scheduler forgets them.

    Raises:
        BackendError: The scheduler doesn't answer.
    """
    answer = _run(
        "squeue", "--noheader", "--states=all", f"--name={name}", f"--user={os.getuid()}", "--format=%i|%T|%r"
    )
    if answer.returncode != 0:
        raise _failure("squeue", answer)
    rows = [line.split("|", 2) for line in answer.stdout.splitlines() if line.count("|") >= 2]
    jobs = [Job(*(field.strip() for field in row)) for row in rows]
    return sorted(jobs, key=lambda job: int(job.id) if job.id.isdigit() else 0)


def submit_job(flags: Sequence[str], script: str, environment: Mapping[str, str]) -> str:
    """Submit a batch script, and return the job's id.

    Raises:
        BackendError: It was refused; or its answer was lost (retryable), and the job may be there all the same.
    """
    answer = _run("sbatch", "--parsable", *flags, given=script, environment=environment)
    identifier = answer.stdout.strip().partition(";")[0]
    if answer.returncode != 0 or not identifier.isdigit():
        raise _failure("sbatch", answer)
    return identifier


def cancel_job(job: str) -> None:
    """End a job: it gets TERM, and KILL after the cluster's KillWait."""
    _run("scancel", job)


def kill_job(job: str) -> None:
    """End a job that may be running without any delay. It doesn't matter if it is over."""
    cancel_job(job)
    _run("scancel", "--full", "--signal=KILL", job)


def describe_cluster(*, timeout_s: float) -> str:
    """Return the partitions and their nodes, in a few words.

    Raises:
        BackendError: There is no Slurm here, or the scheduler doesn't answer.
    """
    answer = _run("sinfo", "--noheader", "--format=%P|%a|%D", timeout_s=timeout_s)
    if answer.returncode != 0:
        failure = _failure("sinfo", answer)
        if failure.retryable:
            raise failure
        said = redact(" ".join((answer.stderr or answer.stdout).split()))[:300]
        raise BackendError(
            f"this machine belongs to no Slurm cluster, or can't read its configuration ({said}); run this on a login "
            "node, or name one: Slurm(host='login.example.org')"
        )
    rows = [line.strip().split("|") for line in answer.stdout.splitlines() if line.count("|") == 2]
    nodes: dict[str, int] = {}
    for partition, available, count in rows:
        name = partition if available == "up" else f"{partition} ({available})"
        nodes[name] = nodes.get(name, 0) + (int(count) if count.isdigit() else 0)
    shown = ", ".join(f"{name} with {count} node{'s' if count != 1 else ''}" for name, count in sorted(nodes.items()))
    return f"partitions: {shown or 'none'}"


def _run(
    command: str,
    *arguments: str,
    given: str = "",
    environment: Mapping[str, str] | None = None,
    timeout_s: float = _TIMEOUT_S,
) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [command, *arguments],
            input=given,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env=None if environment is None else dict(environment),
            check=False,
        )
    except FileNotFoundError as error:
        raise BackendError(
            f"there is no {command} here, so this machine can't submit to Slurm; run this on a login node, or name "
            "one: Slurm(host='login.example.org')"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"{command} didn't answer within {timeout_s:g} s; try again", retryable=True) from error


def _failure(command: str, answer: subprocess.CompletedProcess[str]) -> BackendError:
    said = " ".join((answer.stderr or answer.stdout).split())
    if any(word in said.lower() for word in _UNCERTAIN) or not said:
        text = redact(said)[:500] or f"it exited with status {answer.returncode} and said nothing"
        return BackendError(f"Slurm didn't answer ({command}: {text}); try again", retryable=True)
    found = [match["text"] for match in _REFUSAL.finditer(answer.stderr)]
    text = redact("; ".join(dict.fromkeys(found)) or said)[:500]
    return BackendError(
        f"Slurm refuses the job: {text}. `sinfo` shows what there is; change partition=, account=, nodes=, gpus=, "
        "cpus=, time= or sbatch="
    )
