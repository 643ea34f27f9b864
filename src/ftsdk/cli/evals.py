"""`ftsdk eval`: evaluate a run, a job or a file of data; show a report; compare answers by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ftsdk._format import printable
from ftsdk.cli.default_command import DefaultCommand
from ftsdk.cli.eval_compare import compare_command
from ftsdk.cli.exit_codes import NOT_SHIPPED
from ftsdk.cli.show import out
from ftsdk.errors import SpecError

if TYPE_CHECKING:
    from ftsdk.evals import EvalReport

__all__ = ["eval_app", "finish"]


eval_app = typer.Typer(
    name="eval",
    cls=DefaultCommand,
    help="Evaluate a run, a job or a file; `run` may be left out: ftsdk eval local:20261123-ab12cd.",
    no_args_is_help=True,
)

Html = Annotated[Path | None, typer.Option("--html", help="Write the report as an HTML page.")]
Junit = Annotated[Path | None, typer.Option("--junit", help="Write the report as JUnit XML, for CI.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


@eval_app.command("run")
def run_command(
    what: Annotated[
        str,
        typer.Argument(
            help="A run's ref; a JOB.yaml, whose evals are measured on its base model; or a data file.",
            metavar="RUN|JOB|FILE",
        ),
    ],
    model: Annotated[
        str | None, typer.Option("--model", help="For a file: the model, as an id on the hub, a folder or a run's ref.")
    ] = None,
    endpoint: Annotated[
        str | None, typer.Option("--endpoint", help="For a file: URL#MODEL of an OpenAI-compatible server.")
    ] = None,
    against: Annotated[
        list[str] | None,
        typer.Option("--against", help="Compare with this, too: a model, a run or URL#MODEL. Repeatable."),
    ] = None,
    api_key_env: Annotated[
        str | None, typer.Option("--api-key-env", help="The variable with the endpoint's key; for one server.")
    ] = None,
    price: Annotated[
        str | None,
        typer.Option("--price", help="For the endpoint: a row of the price book, or INPUT/OUTPUT dollars per Mtok."),
    ] = None,
    scorer: Annotated[
        str | None, typer.Option("--scorer", help="For a file: what judges the answers. Default: exact_match.")
    ] = None,
    metric: Annotated[list[str] | None, typer.Option("--metric", help="For a file: what sums up. Repeatable.")] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", help="An option of the scorer: ignore_case=true. Repeatable.", metavar="KEY=VALUE"),
    ] = None,
    slices: Annotated[
        list[str] | None, typer.Option("--slice", help="For a file: a column to report on by value. Repeatable.")
    ] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="For a table: the template of the prompt.")] = None,
    completion: Annotated[
        str | None, typer.Option("--completion", help="For a table: the template of the reference.")
    ] = None,
    system: Annotated[
        str | None, typer.Option("--system", help="For a table: the template of the system message.")
    ] = None,
    at_least: Annotated[
        float | None,
        typer.Option(
            "--gate-at-least", help="Exit with 1 unless the first metric is shown to reach this.", min=0, max=1
        ),
    ] = None,
    budget: Annotated[str | None, typer.Option("--budget", help="The most to spend, in US dollars.")] = None,
    usd_per_hour: Annotated[
        float | None, typer.Option("--usd-per-hour", help="What an hour of this machine costs.", min=0)
    ] = None,
    into: Annotated[
        Path | None, typer.Option("--into", help="The folder for the answers. Default: one in ftsdk's home.")
    ] = None,
    html: Html = None,
    junit: Junit = None,
    as_json: AsJson = False,
) -> None:
    """Measure, compare and report. With a gate, the exit status is 0 for "ship", and 1 otherwise."""
    from ftsdk.cli.eval_targets import EvalRequest

    request = EvalRequest(
        what=what,
        model=model,
        endpoint=endpoint,
        against=tuple(against or ()),
        api_key_env=api_key_env,
        price=price,
        scorer=scorer,
        metrics=tuple(metric or ()),
        options=tuple(option or ()),
        slices=tuple(slices or ()),
        prompt=prompt,
        completion=completion,
        system=system,
        at_least=at_least,
        budget=budget,
        usd_per_hour=usd_per_hour,
        into=into,
    )
    finish(request.evaluate(progress=not as_json), html, junit, as_json=as_json)


@eval_app.command("show")
def show_command(
    what: Annotated[
        str, typer.Argument(help="A run's ref, or the folder of an evaluation, with report.json.", metavar="RUN|FOLDER")
    ],
    html: Html = None,
    junit: Junit = None,
    as_json: AsJson = False,
) -> None:
    """Show the report of an earlier evaluation again. Measures nothing."""
    from ftsdk.evals import EvalReport

    finish(EvalReport.read(_folder_of_report(what)), html, junit, as_json=as_json)


eval_app.command("compare")(compare_command)


def _folder_of_report(what: str) -> Path:
    folder = Path(what).expanduser()
    if folder.exists() or ":" not in what:
        return folder
    from ftsdk.run.evaluation import results_folder
    from ftsdk.run.run import Run

    found = results_folder(Run.open(what).ref) / "evals"
    if not (found / "report.json").exists():
        raise SpecError(f"run {what} wasn't evaluated yet; evaluate it: ftsdk eval {what}")
    return found


def finish(
    report: EvalReport,
    html: Path | None = None,
    junit: Path | None = None,
    *,
    as_json: bool,
    not_shipped: int = NOT_SHIPPED,
) -> None:
    """Print a report, write it to the files that are named, and exit with a code unless its verdict is "ship"."""
    if as_json:
        typer.echo(json.dumps(report.to_dict()))
    elif out.is_terminal:
        out.print(report)
    else:
        typer.echo(printable(str(report)))
    for option, path, make in (("--html", html, report.to_html), ("--junit", junit, report.to_junit)):
        if path is not None:
            try:
                path.write_text(make(), encoding="utf-8")
            except OSError as error:
                raise SpecError(f"{option}: {path} can't be written: {error.strerror or error}") from error
            typer.echo(f"report: {printable(str(path))}", err=True)
    if report.verdict is not None and not report.verdict.is_ship:
        raise typer.Exit(not_shipped)
