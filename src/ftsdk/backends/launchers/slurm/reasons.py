"""Why a job waits, from the scheduler's word for it.

Source: "Job Reason Codes" in `man squeue` 22.05 and https://slurm.schedmd.com/job_reason_codes.html, read 2026-11-28.
"""

from __future__ import annotations

from ftsdk.backends.hosted.launcher import QueuedJob

__all__ = ["can_never_start", "explain"]

_PATIENCE = {
    "None": "the scheduler hasn't looked at it yet",
    "Resources": "the nodes that it needs are busy",
    "Priority": "jobs with a higher priority come first",
    "Dependency": "an earlier job of the same run is still ending",
    "BeginTime": "it was requeued, and Slurm waits about two minutes before it starts such a job again",
    "Cleaning": "it was requeued, and its previous attempt is still being cleaned up",
    "Licenses": "licences that it needs are in use",
    "Reservation": "its reservation hasn't begun",
}
"""Reasons that pass by themselves."""
_NEVER = {
    "PartitionConfig": "the partition can't give what it asks for; ask for less: nodes=, gpus=, cpus=, or time=",
    "PartitionNodeLimit": "it asks for more nodes than the partition has or allows; lower nodes=",
    "PartitionTimeLimit": "it asks for more time than the partition allows; lower time=",
    "BadConstraints": "no node has what it asks for; change sbatch=, gpus=, or cpus=",
    "AccountNotAllowed": "the account can't use this partition; change account= or partition=",
    "QOSNotAllowed": "the QOS can't be used there; change --qos in sbatch=, or partition=",
    "InvalidAccount": "the account doesn't exist or isn't yours; change account=",
    "InvalidQOS": "the QOS doesn't exist or isn't yours; change --qos in sbatch=",
}
"""Reasons that never pass, since the job asks for the impossible."""
_STUCK = {
    "DependencyNeverSatisfied": "it depends on a job that has failed",
    "JobHeldUser": "it is held; `scontrol release` lets it go",
    "JobHeldAdmin": "an administrator holds it; ask why",
    "PartitionDown": "the partition is down; choose another partition=, or ask its administrator",
    "PartitionInactive": "the partition takes no jobs to run; choose another partition=",
}
"""Reasons that need someone to act."""
_LIMIT = "it would go beyond a limit of {whose}; wait for your other jobs, or ask for less"


def explain(job: str, state: str, reason: str) -> QueuedJob:
    """Return why a job waits, and whether that passes by itself.

    Args:
        job: Its id.
        state: `PENDING`, `REQUEUE_HOLD`, ...
        reason: As squeue's `%r` prints it.
    """
    word = _word(reason)
    text = _NEVER.get(word) or _STUCK.get(word) or _PATIENCE.get(word)
    is_blocked = word in _NEVER or word in _STUCK or state in ("REQUEUE_HOLD", "SPECIAL_EXIT")
    if text is None and word.startswith(("ReqNodeNotAvail", "Nodes required")):
        text = "a node that it needs is down or reserved; it waits until that is over"
    if text is None and word.startswith(("QOS", "Assoc", "MaxMem")):
        # "...PerJob" is a limit that this job breaks by itself, however long it waits.
        is_blocked = can_never_start(word)
        whose = "one job" if is_blocked else "your account or QOS"
        text = _LIMIT.format(whose=whose)
    suffix = f": {text}" if text else ""
    return QueuedJob(native=state, reason=f"Slurm job {job} waits ({word}){suffix}", is_blocked=is_blocked)


def can_never_start(reason: str) -> bool:
    """Return whether a job with this reason asks for more than it could ever get."""
    word = _word(reason)
    return word in _NEVER or "PerJob" in word


def _word(reason: str) -> str:
    return reason.strip("()").partition(",")[0].strip()
