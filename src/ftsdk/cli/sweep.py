"""`ftsdk sweep`: runs of one job that differ in its settings, within one budget."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftsdk.cli.amounts import amount
from ftsdk.cli.default_command import DefaultCommand
from ftsdk.cli.exit_codes import ERROR, GATE_NOT_PASSED, INTERRUPTED
from ftsdk.cli.jobs import load_job
from ftsdk.cli.show import out, plain, show_text
from ftsdk.errors import SpecError

if TYPE_CHECKING:
    from ftsdk.job.sweep.sweep import Sweep

__all__ = ["settings_of", "sweep_app"]

_NO_POINT = re.compile(r"[+-]?\d{1,20}[eE][+-]?\d{1,3}")

sweep_app = typer.Typer(
    name="sweep",
    cls=DefaultCommand,
    help="Try settings of a job within one budget; `run` may be left out: ftsdk sweep job.yaml --set epochs=1,2.",
    no_args_is_help=True,
)

Id = Annotated[str, typer.Argument(help="A sweep's id, such as 20261128-ab12cd.", metavar="ID")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Html = Annotated[Path | None, typer.Option("--html", help="Write table, plot and verdict as an HTML page.")]
Plot = Annotated[Path | None, typer.Option("--plot", help="Write the plot, as an .svg file.")]
Evaluate = Annotated[
    bool, typer.Option("--evaluate/--no-evaluate", help="Judge the winner on the job's evals at the end.")
]


@sweep_app.command("run")
def run_command(
    job: Annotated[Path, typer.Argument(help="The job, as YAML.", metavar="JOB.yaml")],
    settings: Annotated[
        list[str],
        typer.Option("--set", help="A field and its values: learning_rate=1e-4,2e-4; repeat it.", metavar="KEY=V1,V2"),
    ],
    budget: Annotated[
        str | None, typer.Option("--budget-usd", help="The most that all runs may cost, in US dollars.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option("--backend", help="The backend, instead of the one in the file.")
    ] = None,
    grid: Annotated[bool, typer.Option("--grid", help="Run each combination, not one change at a time.")] = False,
    stop: Annotated[str, typer.Option("--stop", help="Stop runs early: median, halving or none.")] = "median",
    choose_by: Annotated[str, typer.Option("--choose-by", help="The validation metric of the winner.")] = "loss",
    parallel: Annotated[int, typer.Option("--parallel", help="Runs at the same time.", min=1, max=64)] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan; start and send nothing.")] = False,
    evaluate: Evaluate = True,
    html: Html = None,
    plot: Plot = None,
    as_json: AsJson = False,
) -> None:
    """Start a sweep and watch it until it ends; the winner is then judged on the job's evals.

    Exit status 1: no run was trained to its end. With a gate, 6: the verdict on the winner isn't "ship".
    """
    from ftsdk.job.sweep.plan import plan_sweep
    from ftsdk.job.sweep.start import start_sweep

    plan = plan_sweep(
        load_job(job, backend),
        settings_of(settings),
        budget_usd=None if budget is None else amount("--budget-usd", budget),
        grid=grid,
        stop=None if stop == "none" else stop,
        choose_by=choose_by,
        parallel=parallel,
    )
    if dry_run:
        show_text(plan, as_json=as_json)
        return
    if not as_json:
        out.print(plan)
    started = start_sweep(plan)
    if not as_json:
        out.print(f"[bold]{started.id}[/] started. If this terminal closes: ftsdk sweep wait {started.id}")
    _finish(started, evaluate=evaluate, html=html, plot=plot, as_json=as_json)


@sweep_app.command("wait")
def wait_command(
    identifier: Id, evaluate: Evaluate = True, html: Html = None, plot: Plot = None, as_json: AsJson = False
) -> None:
    """Go on with a sweep whose terminal was closed, until it ends. Nothing is started twice."""
    from ftsdk.job.sweep.sweep import Sweep

    _finish(Sweep.open(identifier), evaluate=evaluate, html=html, plot=plot, as_json=as_json)


@sweep_app.command("show")
def show_command(identifier: Id, html: Html = None, plot: Plot = None, as_json: AsJson = False) -> None:
    """Show what a sweep has found so far. Starts nothing, and asks no backend."""
    from ftsdk.job.sweep.sweep import Sweep

    _show(Sweep.open(identifier), html=html, plot=plot, as_json=as_json)


@sweep_app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """List the sweeps, the newest first."""
    from ftsdk.job.sweep.sweep import sweeps

    tables = [one.table() for one in sweeps()]
    if as_json:
        typer.echo(json.dumps([table.to_dict() for table in tables]))
        return
    for table in tables:
        out.print(plain(table.summary))
    if not tables:
        out.print("no sweeps yet; start one with `ftsdk sweep job.yaml --set learning_rate=1e-4,2e-4`")


@sweep_app.command("cancel")
def cancel_command(identifier: Id) -> None:
    """Stop all runs of a sweep, and start no more."""
    from ftsdk.job.sweep.sweep import Sweep

    opened = Sweep.open(identifier)
    opened.cancel()
    out.print(plain(opened.table().summary))


def settings_of(assignments: list[str]) -> dict[str, list[Any]]:
    """Return the settings in `--set KEY=V1,V2` options: the values are YAML, as a list without its brackets.

    Raises:
        SpecError: It isn't `key=values`, the values aren't YAML, or a key comes twice.
    """
    from ftsdk._yaml import parse_yaml

    found: dict[str, list[Any]] = {}
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        key, text = key.strip(), text.strip()
        if not equals or not key or not text:
            raise SpecError(f"--set {assignment}: write key=value,value, such as --set learning_rate=1e-4,2e-4")
        if key in found:
            raise SpecError(f"--set {key} comes twice; write all its values after one another: {key}=a,b")
        values: Any = parse_yaml(text if text.startswith("[") else f"[{text}]", f"--set {key}")
        found[key] = [_number(value) for value in values] if isinstance(values, list) else [values]
    return found


def _number(value: object) -> object:
    """Return a number that YAML takes for text, since it has no point: `1e-4`."""
    return float(value) if isinstance(value, str) and _NO_POINT.fullmatch(value) else value


def _finish(sweep: Sweep, *, evaluate: bool, html: Path | None, plot: Path | None, as_json: bool) -> None:
    try:
        sweep.wait(progress=not as_json)
    except KeyboardInterrupt:
        out.print(
            f"\nStopped watching; runs that were started continue. Go on: ftsdk sweep wait {plain(sweep.id)}   "
            f"Stop them: ftsdk sweep cancel {plain(sweep.id)}"
        )
        raise typer.Exit(INTERRUPTED) from None
    best = sweep.table().best
    report = None
    if evaluate and best is not None and sweep.job.evals:
        report = sweep.evaluate(progress=not as_json)
    _show(sweep, html=html, plot=plot, as_json=as_json)
    if best is None:
        raise typer.Exit(ERROR)
    if report is not None and report.verdict is not None and not report.verdict.is_ship:
        raise typer.Exit(GATE_NOT_PASSED)


def _show(sweep: Sweep, *, html: Path | None, plot: Path | None, as_json: bool) -> None:
    table = sweep.table()
    show_text(table, as_json=as_json)
    if html is not None:
        from ftsdk._files import replace_file

        replace_file(html.expanduser(), table.to_html().encode(), is_private=False)
    if plot is not None:
        sweep.plot(plot)
