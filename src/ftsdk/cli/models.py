"""`ftsdk models list`, `show` and `pick`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, cast

import typer

from ftsdk._format import printable, text_table
from ftsdk.cli.exit_codes import ERROR
from ftsdk.cli.show import out, show_words
from ftsdk.errors import SpecError

if TYPE_CHECKING:
    from ftsdk.cost.catalogue.known_model import KnownModel

__all__ = ["models_app"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

models_app = typer.Typer(
    name="models", help="Find an open model: licence, size, who tunes it, what fits where.", no_args_is_help=True
)


@models_app.command("list")
def list_command(
    family: Annotated[str | None, typer.Option(help="Only this family, such as Qwen.")] = None, as_json: AsJson = False
) -> None:
    """List the models of the catalogue."""
    from ftsdk.cost.catalogue.known_model import known_models

    found = [model for model in known_models() if family is None or model.family.lower() == family.lower()]
    if not found:
        families = sorted({model.family for model in known_models()})
        raise SpecError(f"no model of the family {family!r} is in the catalogue; it has {', '.join(families)}")
    if as_json:
        out.print_json(json.dumps([model.to_dict() for model in found], default=str))
        return
    head = ("model", "size", "ctx", "licence", "notes")
    show_words(text_table([head, *map(_row, found)], right=(1, 2), has_rule=True))
    show_words(
        "\nsize: billions of parameters; ctx: context window in tokens. `ftsdk models show MODEL` has the details."
    )


def _row(model: KnownModel) -> tuple[str, ...]:
    notes = [
        *(["base"] if model.kind == "base" else []),
        *([{"always": "thinks", "optional": "may think"}[model.thinking]] if model.thinking else []),
        *(["gated"] if model.gated else []),
    ]
    context = "" if model.context is None else f"{model.context // 1024}k"
    if model.context is not None and model.context >= 1_000_000:
        context = f"{model.context / 1e6:.3g}M"
    licence = model.licence.name + ("" if model.also is None else " + 1 more")
    return (model.hub, f"{round(model.parameters_b, 2):.3g}", context, licence, " ".join(notes))


@models_app.command("show")
def show_command(
    model: Annotated[str, typer.Argument(help="A hub id, such as Qwen/Qwen3-8B.", metavar="MODEL")],
    as_json: AsJson = False,
) -> None:
    """Show what is known of a model: its licence, who tunes it, and on which card."""
    from ftsdk.cost.catalogue.fit import smallest_card
    from ftsdk.cost.catalogue.known_model import model_named
    from ftsdk.cost.catalogue.services import services_that_tune
    from ftsdk.spec import LoRA, QLoRA

    found = model_named(model)
    if as_json:
        out.print_json(json.dumps(found.to_dict(), default=str))
        return
    lines = [str(found)]
    for licence in found.licences:
        lines.append(f"Licence  {licence.name}, read {licence.read} at {licence.source}")
        lines += [f"  - {condition}" for condition in licence.conditions]
    for label, tuning in (("LoRA", LoRA()), ("QLoRA", QLoRA())):
        card = smallest_card(found, tuning)
        needed = "no single card that ftsdk knows" if card is None else f"{card.name} ({card.memory_gib:g} GiB) or more"
        lines.append(f"{label:<7}  {needed} (computed, for one row of 2,048 tokens at a time)")
    lines.append(f"Service  {', '.join(services_that_tune(found)) or 'none is known to tune it'}")
    lines += [f"Source   {source}, read {found.read}" for source in (found.source, *found.more_sources)]
    show_words("\n".join(lines))


@models_app.command("pick")
def pick_command(
    task: Annotated[
        str,
        typer.Argument(help="classification, extraction, json, style, chat or reasoning.", metavar="TASK"),
    ],
    gpu: Annotated[str | None, typer.Option(help="The GPU to train it on, such as L4.")] = None,
    context: Annotated[int | None, typer.Option(help="The context window it needs, in tokens.", min=1)] = None,
    users_millions: Annotated[
        float, typer.Option(help="Monthly users of your products, in millions: some licences have a limit.", min=0)
    ] = 0,
    research: Annotated[bool, typer.Option("--research", help="Allow models without commercial use.")] = False,
    own_name: Annotated[
        bool, typer.Option("--own-name", help="Leave out licences that dictate the name of the tuned model.")
    ] = False,
    region: Annotated[
        str | None, typer.Option(help="Where you are based, such as EU: leaves out licences that exclude it.")
    ] = None,
    service: Annotated[str | None, typer.Option(help="A service that tunes it, such as together.")] = None,
    most: Annotated[int, typer.Option(help="How many to name.", min=1)] = 3,
) -> None:
    """Name models that suit a task, the best first. Let an evaluation of your own overrule this."""
    from ftsdk.cost.catalogue.pick import Task, pick_models

    found = pick_models(
        cast("Task", task),
        gpu=gpu,
        context=context,
        commercial=not research,
        users_millions=users_millions,
        own_name=own_name,
        region=region,
        service=service,
        most=most,
    )
    if not found:
        typer.echo(f"no model of the catalogue suits {printable(task)} under these conditions", err=True)
        raise typer.Exit(ERROR)
    show_words("\n".join(str(picked) for picked in found))
