"""`ftsdk record` and `ftsdk reproduce`: how a model was made, for those who answer for it, and made again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ftsdk.cli.show import err, out, plain, show_text

__all__ = ["record_command", "reproduce_command"]

Ref = Annotated[str, typer.Argument(help="A run's ref, such as local:20261123-ab12cd.", metavar="RUN")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]


def record_command(
    ref: Ref,
    statements: Annotated[
        Path | None, typer.Option("--statements", help="What only a person can say, as a YAML file; see --form.")
    ] = None,
    form: Annotated[
        bool, typer.Option("--form", help="Print an empty form of statements, with the digest to sign.")
    ] = False,
    into: Annotated[Path | None, typer.Option("--into", help="Write it here: .md, .html or .json.")] = None,
    region: Annotated[
        str | None, typer.Option("--region", help="Whose grid it ran on, as an ISO code, for emissions: DE.")
    ] = None,
    power_w: Annotated[
        float | None, typer.Option("--power-w", help="Measured mean power of the machine, in watts.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show a record of how a run's model was made: data, licences, job, versions, energy, evals, and who signed."""
    from ftsdk.run.run import Run
    from ftsdk.run.technical_record.statements import form as empty_form

    made = Run.open(ref).technical_record(statements, region=region, power_w=power_w)
    if form:
        typer.echo(empty_form(made.digest), nl=False)
        return
    if into is not None:
        out.print(plain(f"{made.write(into)} written; digest {made.digest}"))
        return
    show_text(made, as_json=as_json)


def reproduce_command(
    ref: Ref,
    against: Annotated[
        str | None, typer.Option("--against", help="Compare with this run, which is a repeat already; starts nothing.")
    ] = None,
    backend: Annotated[str | None, typer.Option("--backend", help="Run it again there, and not where it was.")] = None,
    evaluate: Annotated[
        bool,
        typer.Option("--evaluate/--no-evaluate", help="Evaluate both runs on the job's evals, if they aren't yet."),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run a job again on the same rows, and compare losses, weights and evals. Exit status 1: it came out otherwise."""
    from ftsdk.job.reproducing import changed_versions, reproduce
    from ftsdk.run.run import Run

    run = Run.open(ref)
    if against is None:
        for change in changed_versions(run):
            err.print(plain(f"{change.field}: {change.first} then, {change.second} here"))
        repeat = reproduce(run, backend=backend)
        err.print(plain(f"started {repeat.ref}; compare later with: ftsdk reproduce {ref} --against {repeat.ref}"))
        repeat.wait(progress=not as_json)
    else:
        repeat = Run.open(against)
    if evaluate:
        for one in (run, repeat):
            one.evaluate(progress=not as_json)
    found = run.compare_repeat(repeat)
    show_text(found, as_json=as_json)
    if found.verdict == "differs":
        raise typer.Exit(1)
