"""`ftsdk logs`, `ftsdk log-to`, `ftsdk resume` and `ftsdk rm`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from ftsdk._format import gigabytes, printable
from ftsdk.cli.exit_codes import INTERRUPTED, code_of_state
from ftsdk.cli.refs import Ref
from ftsdk.cli.show import out, plain, show_status

__all__ = ["log_to_command", "logs_command", "resume_command", "rm_command"]

_POLL_S = 1.0


def logs_command(
    ref: Ref, follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False
) -> None:
    """Print a run's events, the oldest first. Resumes nothing; `ftsdk watch` does."""
    from ftsdk.run.event_lines import event_line
    from ftsdk.run.run import Run

    run = Run.open(ref)
    seen = -1
    try:
        while True:
            # Before the events: what is written until the end is printed, too.
            status = run.status()
            for event in run.events(after=seen):
                seen = event.seq
                typer.echo(event_line(event))
            if not follow or status.is_terminal:
                break
            time.sleep(_POLL_S)
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    if seen < 0:
        typer.echo(f"run {printable(ref)} has no events yet; it is {status.state}", err=True)
    if status.state == "failed" and status.log_tail:
        out.print(plain(f"last lines of the worker's log:\n{status.log_tail}"))
    if follow and (code := code_of_state(status.state)):
        raise typer.Exit(code)


def log_to_command(
    ref: Ref,
    tracker: Annotated[str, typer.Argument(help="trackio, tensorboard, wandb, mlflow, or another tracker.")],
) -> None:
    """Send a run's whole history to an experiment tracker; its keys come from the environment."""
    from ftsdk.run.run import Run

    count = Run.open(ref).log_to(tracker)
    out.print(plain(f"{count:,} events of {ref} are in {tracker}"))


def resume_command(ref: Ref) -> None:
    """Resume a run that was never submitted, was killed, or ran out of disk, and return at once."""
    from ftsdk.run.run import Run

    run = Run.open(ref)
    is_resumed = run.resume()
    show_status(ref, run.status())
    out.print(f"resumed; watch it: ftsdk watch {plain(ref)}" if is_resumed else "there is nothing to resume")


def rm_command(
    ref: Ref, yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove it without asking.")] = False
) -> None:
    """Remove a run that has ended, with its checkpoints, weights, logs and results on this machine."""
    from ftsdk.run.removal import plan_removal

    removal = plan_removal(ref)
    out.print(plain(f"{removal.ref} ({removal.state}), {gigabytes(removal.bytes, places=3)}:"))
    for what in (*map(str, removal.folders), "its record in the ledger"):
        out.print(plain(f"  {what}"), soft_wrap=True)
    out.print("What a provider keeps of it stays there.")
    if not yes:
        typer.confirm("Remove all of this?", abort=True)
    removal.remove()
    out.print(f"{plain(ref)} is removed")
