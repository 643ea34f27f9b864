"""`ftsdk doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from ftsdk.cli.exit_codes import ERROR
from ftsdk.cli.show import show_text

__all__ = ["doctor_command"]


def doctor_command(
    online: Annotated[
        bool, typer.Option("--online", help="Ask providers and clusters, too. Starts and spends nothing.")
    ] = False,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="A machine to reach through ssh, instead of all backends; repeat it."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Don't measure bfloat16, which loads torch.")] = False,
    timeout_s: Annotated[
        float, typer.Option("--timeout-s", help="Seconds that each may take to answer.", min=0.1, max=600)
    ] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Show what is installed, which keys are there, who answers, and what fits here. Exit status 1: mend something."""
    from ftsdk.backends.ssh import SSH
    from ftsdk.checkup.doctor import doctor

    asked = [SSH(host=name) for name in host] if host else None
    found = doctor(online=online, backends=asked, measure=not quick, timeout_s=timeout_s)
    show_text(found, as_json=as_json)
    if not found.is_ok:
        raise typer.Exit(ERROR)
