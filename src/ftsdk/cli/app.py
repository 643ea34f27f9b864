"""The commands. Each is a few lines; anything longer belongs in the SDK."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from ftsdk._format import money
from ftsdk.cli.amounts import amount
from ftsdk.cli.chat import chat_command
from ftsdk.cli.cost import advise_command, cost_app
from ftsdk.cli.data import data_app
from ftsdk.cli.doctor import doctor_command
from ftsdk.cli.evals import eval_app, finish
from ftsdk.cli.exit_codes import GATE_NOT_PASSED, INTERRUPTED, code_of_state
from ftsdk.cli.export import export_command
from ftsdk.cli.jobs import load_job
from ftsdk.cli.logs import log_to_stderr
from ftsdk.cli.models import models_app
from ftsdk.cli.monitor import monitor_command
from ftsdk.cli.prices import prices_app
from ftsdk.cli.printable_usage import PrintableUsage
from ftsdk.cli.record import record_command, reproduce_command
from ftsdk.cli.refs import Ref, complete_ref
from ftsdk.cli.route import route_app
from ftsdk.cli.runs import log_to_command, logs_command, resume_command, rm_command
from ftsdk.cli.serve import serve_command
from ftsdk.cli.show import out, plain, show_preview, show_runs, show_status, show_text, show_words
from ftsdk.cli.sweep import sweep_app

__all__ = ["app"]

app = typer.Typer(
    name="ftsdk",
    cls=PrintableUsage,
    help="Fine-tune an open LLM: know what it will cost, watch it, and see whether it was worth it.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

_PREPARE, _RUNS, _JUDGE, _SHIP = "Before a run", "Runs", "Judge a model", "Ship a model"
"""The headings of the commands in `ftsdk --help`."""

JobFile = Annotated[Path, typer.Argument(help="The job, as YAML.", metavar="JOB.yaml")]
BackendName = Annotated[str | None, typer.Option("--backend", help="The backend, instead of the one in the file.")]
Changes = Annotated[
    list[str] | None,
    typer.Option("--set", help="Change a field of the file: epochs=1, tuning.rank=8. Repeatable.", metavar="KEY=VALUE"),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def _show_version(asked: bool) -> None:
    """Print the version before a command is required."""
    if asked:
        import ftsdk

        out.print(ftsdk.__version__)
        raise typer.Exit


@app.callback()
def global_options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_show_version)
    ] = False,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, help="Log what is done to standard error; -vv logs details.")
    ] = 0,
) -> None:
    """Fine-tune an open LLM."""
    del version  # its callback has dealt with it
    if verbose:
        log_to_stderr(verbose)


@app.command(rich_help_panel=_PREPARE)
def plan(job: JobFile, backend: BackendName = None, changes: Changes = None, as_json: AsJson = False) -> None:
    """Show what would run and what it would cost. Starts and sends nothing."""
    made = load_job(job, backend, changes).plan()
    if as_json:
        out.print_json(json.dumps(made.to_dict()))
    else:
        out.print(made)


@app.command(rich_help_panel=_PREPARE)
def estimate(
    job: JobFile,
    backend: BackendName = None,
    usd_per_hour: Annotated[str | None, typer.Option(help="US dollars for an hour of your hardware.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Guess tokens from the text; don't load the tokenizer.")
    ] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Ask the provider for a quote; this may upload the data, and spends nothing.")
    ] = False,
    changes: Changes = None,
    as_json: AsJson = False,
) -> None:
    """Estimate tokens, time, memory and cost, each with an interval and its source."""
    price = None if usd_per_hour is None else amount("--usd-per-hour", usd_per_hour)
    found = load_job(job, backend, changes).estimate(is_exact=False if quick else None, usd_per_hour=price, live=live)
    show_text(found, as_json=as_json)


@app.command(rich_help_panel=_PREPARE)
def calibrate(
    model: Annotated[
        str, typer.Argument(help="A downloaded model, similar to the one that will be tuned.", metavar="MODEL")
    ],
    steps: Annotated[int, typer.Option(help="Optimizer steps.", min=16)] = 20,
    tuning: Annotated[str, typer.Option(help="lora, qlora, dora or full.")] = "lora",
) -> None:
    """Train for a few steps on this machine, so that estimates for it are measured."""
    from ftsdk.job.calibrate import calibrate as make
    from ftsdk.spec import TUNINGS

    if tuning not in TUNINGS:
        raise typer.BadParameter(f"{tuning!r} isn't one of {', '.join(TUNINGS)}", param_hint="--tuning")
    typer.echo(make(model, steps=steps, tuning=TUNINGS[tuning]()))


@app.command(rich_help_panel=_PREPARE)
def preview(
    job: JobFile,
    n: Annotated[int, typer.Option("-n", help="How many rows.", min=1)] = 3,
    changes: Changes = None,
) -> None:
    """Show the tokens that the model will see, and which of them it is trained on."""
    show_preview(load_job(job, None, changes).preview(n))


@app.command(rich_help_panel=_RUNS)
def run(
    job: JobFile,
    backend: BackendName = None,
    detach: Annotated[bool, typer.Option("--detach", help="Print only the ref and return; the run continues.")] = False,
    evaluate: Annotated[
        bool,
        typer.Option("--evaluate/--no-evaluate", help="Compare base and tuned model at the end, if the job has evals."),
    ] = True,
    changes: Changes = None,
) -> None:
    """Start a run and watch it until it ends. With evals and a gate, exit status 6 means that it isn't "ship"."""
    made = load_job(job, backend, changes)
    started = made.submit()
    if detach:
        typer.echo(started.ref)
        typer.echo(f"started; it continues if this terminal closes. Watch it: ftsdk watch {started.ref}", err=True)
        return
    out.print(
        f"[bold]{started.ref}[/] started; it continues if this terminal closes. Watch it: ftsdk watch {started.ref}"
    )
    _watch(started.ref)
    if evaluate and made.evals:
        finish(started.evaluate(), as_json=False, not_shipped=GATE_NOT_PASSED)
    elif made.gate is not None:
        typer.echo(f"the gate isn't judged; judge it: ftsdk eval {started.ref}", err=True)


@app.command(rich_help_panel=_RUNS)
def runs(
    as_json: AsJson = False,
    costs: Annotated[bool, typer.Option("--costs", help="Compare estimates with actual values.")] = False,
    orphans: Annotated[
        bool, typer.Option("--orphans", help="List apps without a run, and runs without an app. Changes nothing.")
    ] = False,
    rebuild: Annotated[
        bool,
        typer.Option("--rebuild", help="First rebuild the ledger from the runs' folders."),
    ] = False,
) -> None:
    """List the runs, the newest first."""
    import ftsdk

    if orphans:
        _show_orphans(as_json)
        return
    found = ftsdk.runs(rebuild=rebuild)
    if costs:
        report = found.costs()
        show_text(report, as_json=as_json)
    elif as_json:
        keys = ("ref", "name", "state", "started", "model")
        out.print_json(json.dumps([dict(zip(keys, row, strict=True)) for row in found.rows()]))
    else:
        show_runs(found)


@app.command(rich_help_panel=_RUNS)
def watch(ref: Ref) -> None:
    """Show a run's progress until it ends. An interrupted run is resumed from its last checkpoint."""
    _watch(ref)


# `ftsdk --help` lists the commands in the order of this file, and so does the reference.
app.command("logs", rich_help_panel=_RUNS)(logs_command)
app.command("log-to", rich_help_panel=_RUNS)(log_to_command)
app.command("resume", rich_help_panel=_RUNS)(resume_command)
app.command("rm", rich_help_panel=_RUNS)(rm_command)


@app.command(rich_help_panel=_JUDGE)
def evaluate(ref: Ref, as_json: AsJson = False) -> None:
    """Compare base and tuned model of a finished run on the job's evals: `ftsdk eval REF`, in short."""
    from ftsdk.run.run import Run

    finish(Run.open(ref).evaluate(progress=not as_json), as_json=as_json)


@app.command(rich_help_panel=_JUDGE)
def diagnose(ref: Ref, as_json: AsJson = False) -> None:
    """Look at a run's losses and evaluation, and say what to change next."""
    from ftsdk.run.run import Run

    show_text(Run.open(ref).diagnose(), as_json=as_json)


@app.command(rich_help_panel=_JUDGE)
def diff(
    ref: Ref, other: Annotated[str, typer.Argument(help="Another run.", metavar="REF")], as_json: AsJson = False
) -> None:
    """Show what differs between two runs: their jobs, and their results."""
    from ftsdk.run.run import Run

    show_text(Run.open(ref).diff(Run.open(other)), as_json=as_json)


app.command("chat", rich_help_panel=_JUDGE)(chat_command)
app.command("record", rich_help_panel=_JUDGE)(record_command)
app.command("reproduce", rich_help_panel=_JUDGE)(reproduce_command)
app.command("export", rich_help_panel=_SHIP)(export_command)
app.command("serve", rich_help_panel=_SHIP)(serve_command)


@app.command(rich_help_panel=_RUNS)
def cancel(ref: Ref) -> None:
    """Stop a run."""
    from ftsdk.run.run import Run

    show_status(ref, Run.open(ref).cancel())


@app.command(rich_help_panel=_RUNS)
def collect(
    ref: Ref, into: Annotated[Path, typer.Argument(help="A new folder for the weights.", metavar="FOLDER")]
) -> None:
    """Download a finished run's weights into a folder."""
    from ftsdk.run.run import Run

    artifact = Run.open(ref).collect(into)
    out.print(plain(f"{artifact.kind} of {artifact.base} in {artifact.path}"))


@app.command(rich_help_panel=_SHIP)
def deployments() -> None:
    """List deployments at providers that may still bill, and servers that run on this machine."""
    from ftsdk.deploy.deployments import deployments as find
    from ftsdk.deploy.servers import servers

    found, here = find(), servers()
    for record in found:
        show_words(f"{record.ref}  {record}")
    for server in here:
        show_words(str(server))
    if not found and not here:
        out.print("no deployments, and no servers on this machine")
    else:
        out.print(f"\n`ftsdk stop {plain(here[-1].name if here else found[-1].ref)}` stops the last one.")


@app.command(rich_help_panel=_SHIP)
def stop(
    ref: Annotated[
        str,
        typer.Argument(
            help="A run's ref, or the name of a server (see `ftsdk deployments`).",
            metavar="REF|SERVER",
            autocompletion=complete_ref,
        ),
    ],
) -> None:
    """Stop every deployment of a run's model, or a server on this machine, and wait until it is gone."""
    from ftsdk.deploy.servers import servers, stop_server
    from ftsdk.run.run import Run

    if ":" not in ref:  # a run's ref names its backend; one that has ended already is fine
        is_running = any(server.name == ref for server in servers())
        stop_server(ref)
        out.print(plain(f"{ref} is stopped" if is_running else f"{ref} had ended already"))
        return
    found = Run.open(ref).deployments()
    for deployment in found:
        deployment.stop()
        out.print(
            plain(f"{deployment.record.name} is stopped; it cost at most {money(deployment.record.cost_usd or 0)}")
        )
    if not found:
        show_words(
            f"run {ref} has no deployment to stop. Servers on this machine are stopped by name, which "
            "`ftsdk deployments` lists."
        )


@app.command(rich_help_panel=_PREPARE)
def schema() -> None:
    """Print the JSON Schema of a job file, for editors."""
    from ftsdk.job.job import FineTuneJob

    typer.echo(json.dumps(FineTuneJob.json_schema(), indent=2))


app.command("doctor", rich_help_panel=_PREPARE)(doctor_command)
app.command("monitor", rich_help_panel=_SHIP)(monitor_command)
app.command("advise", rich_help_panel=_PREPARE)(advise_command)
app.add_typer(cost_app, rich_help_panel=_PREPARE)
app.add_typer(data_app, rich_help_panel=_PREPARE)
app.add_typer(eval_app, rich_help_panel=_JUDGE)
app.add_typer(models_app, rich_help_panel=_PREPARE)
app.add_typer(prices_app, rich_help_panel=_PREPARE)
app.add_typer(route_app, rich_help_panel=_SHIP)
app.add_typer(sweep_app, rich_help_panel=_RUNS)


def _show_orphans(as_json: bool) -> None:
    from ftsdk.run.orphans import find_orphans

    orphans = find_orphans()
    if as_json:
        out.print_json(json.dumps([orphan.to_dict() for orphan in orphans]))
    elif not orphans:
        out.print("no orphans")
    for orphan in [] if as_json else orphans:
        out.print(plain(f"{orphan.kind} {orphan.native or orphan.run_id} ({orphan.name}): {orphan.advice}"))


def _watch(ref: str) -> None:
    from ftsdk.run.run import Run

    opened = Run.open(ref)
    try:
        opened.wait()
    except KeyboardInterrupt:
        out.print(
            "\nStopped watching; the run continues. "
            f"Watch again: ftsdk watch {plain(ref)}   Stop it: ftsdk cancel {plain(ref)}"
        )
        raise typer.Exit(INTERRUPTED) from None
    status = opened.status()
    show_status(ref, status)
    if code := code_of_state(status.state):
        raise typer.Exit(code)
