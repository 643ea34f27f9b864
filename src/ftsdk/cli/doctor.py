"""`ftsdk doctor`."""

from __future__ import annotations

from typing import Annotated

import typer

from ftsdk._format import printable
from ftsdk.cli.exit_codes import ERROR
from ftsdk.cli.show import out, show_text

__all__ = ["doctor_command"]


def doctor_command(
    online: Annotated[
        bool, typer.Option("--online", help="Also ask providers and clusters. Starts and spends nothing.")
    ] = False,
    host: Annotated[
        list[str] | None,
        typer.Option("--host", help="Check this machine over ssh instead of every backend. Repeatable."),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Skip the bfloat16 measurement, which loads torch.")] = False,
    timeout_s: Annotated[
        float, typer.Option("--timeout-s", help="Seconds to wait for each answer.", min=0.1, max=600)
    ] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Check what is installed, which keys are set, who answers, and what fits here. Exit status 1: a problem."""
    from ftsdk.backends.ssh import SSH
    from ftsdk.checkup.doctor import doctor

    asked = [SSH(host=name) for name in host] if host else None
    found = doctor(online=online, backends=asked, measure=not quick, timeout_s=timeout_s)
    if out.is_terminal and not as_json:
        typer.echo(printable(found.to_text(min(out.width, 110))))
    else:
        show_text(found, as_json=as_json)
    if not found.is_ok:
        raise typer.Exit(ERROR)
