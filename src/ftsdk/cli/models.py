"""`ftsdk models list`, `show` and `pick`."""

from __future__ import annotations

import json
from typing import Annotated, cast

import typer

from ftsdk._format import printable
from ftsdk.cli.show import out, plain

__all__ = ["models_app"]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

models_app = typer.Typer(name="models", help="Open models: licences, sizes, what fits where.", no_args_is_help=True)


@models_app.command("list")
def list_command(
    family: Annotated[str | None, typer.Option(help="Only this family, such as Qwen.")] = None, as_json: AsJson = False
) -> None:
    """List the models of the catalogue."""
    from ftsdk.cost.catalogue.known_model import known_models

    found = [model for model in known_models() if family is None or model.family.lower() == family.lower()]
    if as_json:
        out.print_json(json.dumps([model.to_dict() for model in found], default=str))
        return
    for model in found:
        out.print(plain(str(model)))


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
    out.print(plain(str(found)))
    for licence in found.licences:
        out.print(plain(f"  licence     {licence.name} ({licence.source}, read {licence.read})"))
        for condition in licence.conditions:
            out.print(plain(f"                {condition}"))
    for tuning in (LoRA(), QLoRA()):
        card = smallest_card(found, tuning)
        said = "no single card of the table" if card is None else f"{card.name} ({card.memory_gib:g} GiB) or more"
        out.print(plain(f"  {tuning.kind:<11} {said}, one row of 2,048 tokens at a time; computed"))
    services = ", ".join(services_that_tune(found)) or "no service has a price for it by name"
    out.print(plain(f"  tuned by    {services}"))
    out.print(plain(f"  source      {found.source}, read {found.read}"))


@models_app.command("pick")
def pick_command(
    task: Annotated[str, typer.Argument(help="classification, extraction, json, style, chat or reasoning.")],
    gpu: Annotated[str | None, typer.Option(help="The card that trains it, such as L4.")] = None,
    context: Annotated[int | None, typer.Option(help="Tokens that it must be able to read.")] = None,
    users_millions: Annotated[float, typer.Option(help="Monthly users of your products, in millions.")] = 0,
    research: Annotated[bool, typer.Option("--research", help="It won't be used commercially.")] = False,
    own_name: Annotated[bool, typer.Option("--own-name", help="It is distributed under a name of your own.")] = False,
    service: Annotated[str | None, typer.Option(help="A service that tunes it, such as together.")] = None,
    most: Annotated[int, typer.Option(help="How many.")] = 3,
) -> None:
    """Name models that suit a task, the best first. Your own evaluation overrules this."""
    from ftsdk.cost.catalogue.pick import Task, pick_models

    found = pick_models(
        cast("Task", task),
        gpu=gpu,
        context=context,
        commercial=not research,
        users_millions=users_millions,
        own_name=own_name,
        service=service,
        most=most,
    )
    for picked in found:
        out.print(plain(str(picked)))
    if not found:
        typer.echo(f"no model of the catalogue suits {printable(task)} with these conditions", err=True)
        raise typer.Exit(1)
