"""`ftsdk data`: report on, review, clean, mix and split files of rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ftsdk._yaml import parse_yaml
from ftsdk.cli.data_report import report_command
from ftsdk.cli.data_review import review_command
from ftsdk.cli.show import fold, out, plain

if TYPE_CHECKING:
    from ftsdk.data import Dataset

__all__ = ["data_app"]

data_app = typer.Typer(name="data", help="Report on, review, clean, mix and split data files.", no_args_is_help=True)
data_app.command("report")(report_command)
data_app.command("review")(review_command)

File = Annotated[str, typer.Argument(help="A data file, or an id on the Hugging Face hub.", metavar="FILE")]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="The file to write, ending in .jsonl.", metavar="OUT.jsonl")
]
Prompt = Annotated[
    str | None, typer.Option("--prompt", help="For a table: the template of the prompt, with {column} fields.")
]
Completion = Annotated[str | None, typer.Option("--completion", help="For a table: the template of the answer.")]
Seed = Annotated[int, typer.Option(help="Which rows go where.")]


@data_app.command("clean")
def clean(
    file: File,
    output: Output,
    steps: Annotated[
        str | None,
        typer.Option(
            "--steps", help="Steps and groups, separated by commas. Default: safe. `ftsdk data steps` lists them."
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="A parameter of a step: threshold=0.8. Repeatable.", metavar="KEY=VALUE"),
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--key", help="Write here what placeholders stand for. Holds the personal data.")
    ] = None,
    removed: Annotated[
        Path | None, typer.Option("--removed", help="Write the removed rows here, with reasons.")
    ] = None,
    changed: Annotated[
        Path | None, typer.Option("--changed", help="Write the changed rows here, with reasons.")
    ] = None,
    card: Annotated[Path | None, typer.Option("--card", help="Write the dataset card here, as Markdown.")] = None,
    prompt: Prompt = None,
    completion: Completion = None,
) -> None:
    """Remove or change rows by named steps. The file itself stays as it is."""
    from ftsdk._files import replace_file
    from ftsdk.data import Dataset

    names = [name.strip() for name in (steps or "").split(",") if name.strip()]
    found = _read(file, prompt, completion).clean(*names, key=key, **_parameters(changes or ()))
    found.to_jsonl(output)
    for step in found.steps:
        if step.clean is not None:
            done = step.clean
            out.print(plain(f"{done.name:<18} {done.removed or 0:>9,} removed {done.changed or 0:>9,} changed"))
    for target, rows in ((removed, found.removed), (changed, found.changed)):
        if target is not None:
            if len(rows):
                Dataset.from_rows([row._asdict() for row in rows]).to_jsonl(target)
            else:  # an earlier call's rows must not stay there
                replace_file(target, b"", is_private=False)
            _wrote(target, len(rows))
    if card is not None:
        replace_file(card, found.card().encode(), is_private=False)
    _wrote(output, len(found))


@data_app.command("steps")
def list_steps() -> None:
    """List the steps of `clean`, what each does, and its parameters."""
    from ftsdk.data.cleaning import GROUPS
    from ftsdk.data.cleaning.registry import CLEANERS

    first = GROUPS["safe"]
    for step in (*(CLEANERS[name] for name in first), *(step for name, step in CLEANERS.items() if name not in first)):
        typer.echo(_folded(f"{step.name}: {step.does}."))
        if step.parameters.model_fields:
            given = ", ".join(f"{name}={field.default!r}" for name, field in step.parameters.model_fields.items())
            typer.echo(_folded(f"    {given}"))
    for name, members in GROUPS.items():
        typer.echo(_folded(f"{name} stands for {', '.join(members)}."))


@data_app.command("mix")
def mix(
    parts: Annotated[
        list[str],
        typer.Argument(help="Files with their shares, such as a.jsonl=0.9 general=0.1.", metavar="FILE=SHARE..."),
    ],
    output: Output,
    rows: Annotated[
        int | None, typer.Option(help="Rows of the mix; as many as there are without repeats.", min=1)
    ] = None,
    seed: Seed = 0,
    repeat: Annotated[bool, typer.Option("--repeat", help="Let rows of a part that is too small repeat.")] = False,
) -> None:
    """Mix files by shares. `general` is the set of general instructions that comes with ftsdk."""
    from ftsdk.data import Dataset

    shares: dict[Dataset, float] = {}
    for part in parts:
        name, _, share = part.rpartition("=")
        try:
            weight = float(share)
        except ValueError:
            name = ""
            weight = 0.0
        if not name:
            raise typer.BadParameter(f"{part!r} isn't FILE=SHARE, such as rows.jsonl=0.9", param_hint="FILE=SHARE")
        shares[Dataset.general() if name == "general" else Dataset.from_file(name)] = weight
    found = Dataset.mix(shares, rows, seed, repeat=repeat)
    found.to_jsonl(output)
    _wrote(output, len(found))
    if rows is None and len(found) < (given := sum(map(len, shares))):
        out.print(plain(f"{given - len(found):,} of the {given:,} rows given are left out, to keep the shares."))


@data_app.command("split")
def split(
    file: File,
    into: Annotated[Path, typer.Option("--output", "-o", help="The folder for the parts.", metavar="FOLDER")],
    validation: Annotated[
        str | None, typer.Option(help="A fraction (0.1) or a number of rows (200).", metavar="SIZE")
    ] = None,
    test: Annotated[str | None, typer.Option(help="Likewise.", metavar="SIZE")] = None,
    stratify: Annotated[str, typer.Option(help="A column, auto, or none.")] = "auto",
    group: Annotated[str, typer.Option(help="A column whose rows stay together, auto, or none.")] = "auto",
    seed: Seed = 0,
    prompt: Prompt = None,
    completion: Completion = None,
) -> None:
    """Cut a file into train.jsonl, validation.jsonl and test.jsonl, which share no row and no prompt."""
    columns = {"stratify": stratify, "group": group}
    how: dict[str, Any] = {name: None if column == "none" else column for name, column in columns.items()}
    parts = _read(file, prompt, completion).split(_size(validation), _size(test), seed, **how)
    for name, part in parts._asdict().items():
        if part is not None:
            _wrote(part.to_jsonl(into / f"{name}.jsonl"), len(part))


def _read(file: str, prompt: str | None, completion: str | None) -> Dataset:
    from ftsdk.data import Dataset

    rows = Dataset.from_file(file)
    return rows if prompt is None and completion is None else rows.as_chat(prompt, completion)


def _parameters(changes: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not (name and equals):
            raise typer.BadParameter(f"{change!r} isn't KEY=VALUE, such as threshold=0.8", param_hint="--set")
        found[name] = parse_yaml(value, f"--set {name}")
    return found


def _size(text: str | None) -> int | float | None:
    if text is None:
        return None
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither a fraction nor a number of rows") from None


def _folded(text: str) -> str:
    return fold(text, out.width) if out.is_terminal else text


def _wrote(path: Path, rows: int) -> None:
    out.print(plain(f"{path}: {rows:,} rows"))
