"""The batch script of a run. It holds paths and the user's own setup lines, and no keys."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote

from ftsdk.backends.hosted.stop_condition import INTERRUPT

__all__ = ["ENTRY", "batch_script"]

ENTRY = "ftsdk.backends.launchers.slurm.entry"
_PATIENCE_S = 60
"""How long a worker that was told to leave may take before the job is requeued without it, in seconds."""


def batch_script(*, folder: str, python: str, setup: Sequence[str], nodes: int, cpus: int | None, lead_s: int) -> str:
    """Return the script that sbatch gets.

    Args:
        folder: The run's folder on the cluster.
        python: The interpreter on the nodes.
        setup: Lines of the user's, run before the worker.
        nodes: Hosts that train together.
        cpus: Cores of each task; None: the cluster's default.
        lead_s: Seconds before the time limit at which the shell gets TERM.
    """
    command = f"{quote(python)} -m {ENTRY} {quote(folder)}"
    if nodes > 1:
        # srun doesn't take the cores from sbatch since 22.05.
        cores = "" if cpus is None else f" --cpus-per-task={cpus}"
        command = f"srun --nodes={nodes} --ntasks-per-node=1 --kill-on-bad-exit=1{cores} {command}"
    # Modules are functions that a login shell defines.
    shell = "/bin/bash -l" if setup else "/bin/bash"
    prepared = "".join(f"{line}\n" for line in setup)
    wait_s = max(5, min(_PATIENCE_S, lead_s - 30))
    return f"""#!{shell}
umask 077
interrupt={quote(f"{folder}/{INTERRUPT}")}
rm -f -- "$interrupt"
cd -- {quote(folder)} || exit 1
{prepared}requeue() {{
    # A job that somebody cancels isn't RUNNING any more, and stays cancelled.
    [ "$(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T)" = RUNNING ] && scontrol requeue "$SLURM_JOB_ID"
}}
leave() {{
    : > "$interrupt"
    (sleep {wait_s}; requeue) &
}}
trap leave TERM
{command} &
worker=$!
while :; do
    wait "$worker"
    status=$?
    kill -0 "$worker" 2>/dev/null || break
done
trap '' TERM
if [ "$status" -ne 0 ] && [ -e "$interrupt" ]; then requeue; fi
exit "$status"
"""
