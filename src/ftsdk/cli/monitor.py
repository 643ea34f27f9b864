"""`ftsdk monitor`: how a router does, in a terminal or as a page on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ftsdk._files import replace_file
from ftsdk.cli.amounts import amount
from ftsdk.cli.exit_codes import INTERRUPTED
from ftsdk.cli.show import out, plain, show_text
from ftsdk.errors import SpecError

if TYPE_CHECKING:
    from ftsdk.deploy.drift import Fingerprint

__all__ = ["monitor_command"]


def monitor_command(
    router: Annotated[
        str | None, typer.Argument(help="The router's name, or the folder of its records.", metavar="ROUTER")
    ] = None,
    run: Annotated[
        str | None, typer.Option("--run", help="Watch for drift from the data that this run trained on.")
    ] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Watch for drift from this file of chat rows.")] = None,
    slice_by: Annotated[str | None, typer.Option("--slice-by", help="With --data: the column to slice by.")] = None,
    fingerprint: Annotated[
        Path | None,
        typer.Option("--fingerprint", help="Watch for drift from a fingerprint that Fingerprint.save wrote."),
    ] = None,
    promise: Annotated[
        Path | None,
        typer.Option(
            "--promise", help="Compare the cost with an estimate: the output of `ftsdk cost crossover --json`."
        ),
    ] = None,
    option: Annotated[str, typer.Option("--option", help="With --promise: the option that you run.")] = "self-hosted",
    hours: Annotated[float, typer.Option("--hours", help="How many hours back to look.", min=0.01)] = 24.0,
    usd_per_hour: Annotated[
        str | None, typer.Option("--usd-per-hour", help="What your own servers cost per hour, in US dollars.")
    ] = None,
    window: Annotated[int, typer.Option("--window", help="Answers per drift check.", min=200)] = 500,
    traffic: Annotated[
        Path | None, typer.Option("--traffic", help="A TrafficFolder with kept texts, to show those behind an alarm.")
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Print the report and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --once: print JSON, for scripts.")] = False,
    html: Annotated[Path | None, typer.Option("--html", help="With --once: write the page to this file.")] = None,
    port: Annotated[
        int, typer.Option("--port", help="The port of the page; 0 takes a free one.", min=0, max=65535)
    ] = 0,
    grafana: Annotated[
        Path | None, typer.Option("--grafana", help="Write a Grafana board for the router's metrics, and stop.")
    ] = None,
) -> None:
    """Show how a router is doing, on a local page that reloads itself, until Ctrl-C.

    Reads the router's records and changes nothing.
    """
    if grafana is not None:
        from ftsdk.deploy.telemetry import grafana_board

        _write(grafana, grafana_board())
        return
    if router is None:
        raise typer.BadParameter("name a router, or a folder of its records", param_hint="ROUTER")
    if not once and (html is not None or as_json):
        raise typer.BadParameter("--html and --json go with --once", param_hint="--once")
    from ftsdk.deploy.monitor import Monitor, Promise
    from ftsdk.deploy.monitor.server import MonitorServer

    monitor = Monitor(
        router,
        fingerprint=_fingerprint(run, data, slice_by, fingerprint),
        promise=None if promise is None else Promise.from_file(promise, option),
        hours=hours,
        usd_per_hour=0.0 if usd_per_hour is None else float(amount("--usd-per-hour", usd_per_hour)),
        window=window,
        traffic=traffic,
    )
    report = monitor.report()
    if once:
        if html is not None:
            _write(html, report.to_html())
        if html is None or as_json:
            show_text(report, as_json=as_json)
        return
    server = MonitorServer(monitor, port=port)
    typer.echo(f"{server.address}   Ctrl-C stops it")
    try:
        server.serve()
    except KeyboardInterrupt:
        out.print()
        raise typer.Exit(INTERRUPTED) from None


def _fingerprint(run: str | None, data: Path | None, slice_by: str | None, file: Path | None) -> Fingerprint | None:
    from ftsdk.deploy.drift import Fingerprint

    given = [name for name, value in (("--run", run), ("--data", data), ("--fingerprint", file)) if value is not None]
    if len(given) > 1:
        raise typer.BadParameter(f"one of them names the training data, not {' and '.join(given)}", param_hint=given[1])
    if slice_by is not None and data is None:
        raise typer.BadParameter("goes with --data", param_hint="--slice-by")
    if file is not None:
        return Fingerprint.load(file)
    if data is not None:
        from ftsdk.data import Dataset

        return Fingerprint.of(Dataset.from_file(data), slice_by=slice_by)
    if run is not None:
        from ftsdk.run.run import Run

        return Fingerprint.of(Run.open(run).training_data())
    return None


def _write(path: Path, text: str) -> None:
    try:
        replace_file(path, text.encode(), is_private=False)
    except OSError as error:
        raise SpecError(f"{path} can't be written: {error.strerror or error}") from error
    out.print(plain(f"written: {path}"))
