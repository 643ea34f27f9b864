"""`ftsdk data report`: what is wrong with a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ftsdk._format import printable
from ftsdk.cli.exit_codes import ERROR
from ftsdk.cli.jobs import load_job
from ftsdk.cli.show import show_text
from ftsdk.errors import SpecError

if TYPE_CHECKING:
    from ftsdk.data import Dataset
    from ftsdk.data.report import DataReport

__all__ = ["report_command"]


def report_command(
    file: Annotated[
        str | None,
        typer.Argument(help="A data file or a Hugging Face dataset; with --job, leave it out.", metavar="[FILE]"),
    ] = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help='A template for what the user says: "{text}".')] = None,
    completion: Annotated[
        str | None, typer.Option("--completion", help='A template for what the assistant answers: "{category}".')
    ] = None,
    system: Annotated[str | None, typer.Option("--system", help="A template for a system message.")] = None,
    messages: Annotated[str | None, typer.Option("--messages", help="The column that holds conversations.")] = None,
    job: Annotated[
        Path | None,
        typer.Option("--job", help="Check the data of this job, as it will be trained.", metavar="JOB.yaml"),
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Count tokens with this model's tokenizer.")] = None,
    max_length: Annotated[
        int | None, typer.Option("--max-length", help="Tokens that training keeps of a row.", min=1)
    ] = None,
    against: Annotated[
        list[Path] | None,
        typer.Option(
            "--against", help="A file of the same form that must share no rows, such as a test set. Repeatable."
        ),
    ] = None,
    queries: Annotated[
        Path | None, typer.Option("--queries", help="What users ask, one a line: is it covered?")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write the report as an HTML page.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
    fail_on: Annotated[
        str | None,
        typer.Option("--fail-on", help="Exit with 1 if there is such a finding: error, warning, note, or its code."),
    ] = None,
) -> None:
    """Report duplicates, label errors, personal data, truncation and more, each with the call that fixes it."""
    if (file is None) == (job is None):
        raise SpecError("pass either a data file or --job JOB.yaml")
    asked = () if queries is None else _lines(queries)
    if job is not None:
        own = {"--prompt": prompt, "--completion": completion, "--system": system, "--messages": messages}
        own |= {"--model": model, "--max-length": max_length, "--against": against}
        if given := [name for name, value in own.items() if value]:
            raise SpecError(f"{given[0]} can't be combined with --job, whose file says it")
        found = load_job(job, None).report(queries=asked)
    else:
        found = _read(str(file), prompt, completion, system, messages).report(
            model=model,
            max_length=max_length,
            against={path.name: _read(str(path), prompt, completion, system, messages) for path in against or ()},
            queries=asked,
        )
    has_failed = fail_on is not None and found.failed(on=fail_on)  # before anything is written: it may be misspelled
    show_text(found, as_json=as_json)
    if html is not None:
        _write(found, html)
        typer.echo(f"{printable(str(html))}: the report as a page", err=True)
    if has_failed:
        raise typer.Exit(ERROR)


def _read(file: str, prompt: str | None, completion: str | None, system: str | None, messages: str | None) -> Dataset:
    from ftsdk.data import Dataset

    rows = Dataset.from_file(file)
    if prompt is None and completion is None and system is None and messages is None:
        return rows
    return rows.as_chat(prompt=prompt, completion=completion, system=system, messages=messages)


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"--queries: {path} can't be read: {error}") from error
    return [line.strip() for line in text.splitlines() if line.strip()]


def _write(report: DataReport, path: Path) -> None:
    try:
        path.write_text(report.to_html(), encoding="utf-8")
    except OSError as error:
        raise SpecError(f"--html: {path} can't be written: {error.strerror or error}") from error
