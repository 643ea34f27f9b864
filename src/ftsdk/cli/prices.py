"""`ftsdk prices`: the prices behind the estimates, their sources, and how to add to them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from ftsdk._format import printable
from ftsdk.cli.amounts import amount
from ftsdk.cli.price_update import update
from ftsdk.cli.show import out, show_text, shown_text

if TYPE_CHECKING:
    from ftsdk.cost.pricebook.book_check import Finding
    from ftsdk.cost.pricebook.price import Price

__all__ = ["price_lines", "prices_app"]

prices_app = typer.Typer(
    name="prices", help="Dated prices, each with its source: list, check, add, update.", no_args_is_help=True
)

prices_app.command("update")(update)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
_OF_EACH_KIND = 3
"""Of findings that aren't errors, how many lines are shown."""
_COLOURS = {"fresh": "green", "old": "yellow", "stale": "red"}


@prices_app.command("list")
def list_prices(
    provider: Annotated[str | None, typer.Argument(help="Only this provider's.")] = None,
    unit: Annotated[str | None, typer.Option("--unit", help="Only this unit, such as usd_per_gpu_hour.")] = None,
    history: Annotated[bool, typer.Option("--history", help="Also those that are no longer in force.")] = False,
    as_json: AsJson = False,
) -> None:
    """List prices with their age and source."""
    from ftsdk.cost.pricebook.book import PriceBook

    book = PriceBook.load()
    found = book.prices(provider, unit)
    if history:
        found = tuple(row for row in book.history(provider) if unit in (None, row.unit))
    if as_json:
        typer.echo(
            json.dumps(
                [
                    {**row.to_dict(), "age_days": row.age_days(book.today), "staleness": row.staleness(book.today)}
                    for row in found
                ]
            )
        )
        return
    sources = list(dict.fromkeys(row.source for row in found))
    for line in price_lines(
        found, sources, book.today, is_one_provider=provider is not None, width=out.width if out.is_terminal else None
    ):
        out.print(line, soft_wrap=True)
    for number, source in enumerate(sources, start=1):
        out.print(shown_text(f"[{number}] {source}"), soft_wrap=True)
    out.print(f"{len(found)} prices, {book.today}. Tokens of an API: ftsdk prices api PROVIDER/MODEL")


@prices_app.command("api")
def api(
    model: Annotated[str, typer.Argument(help="Such as anthropic/claude-haiku-4-5.", metavar="PROVIDER/MODEL")],
    batch: Annotated[bool, typer.Option("--batch", help="The price of the batch API.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what a million tokens of a model cost at an API."""
    from ftsdk.cost.pricebook.api_prices import api_price

    found = api_price(model, batch=batch)
    show_text(found, as_json=as_json)


@prices_app.command("check")
def check_prices(
    verbose: Annotated[bool, typer.Option("--verbose", help="Show every row, not a few of each kind.")] = False,
    as_json: AsJson = False,
) -> None:
    """Report duplicates, days in the future, stale and disputed prices. Exit status 1 if a row is wrong."""
    from ftsdk.cost.pricebook.book import PriceBook
    from ftsdk.cost.pricebook.book_check import check

    found = check(PriceBook.load())
    wrong = sum(finding.is_error for finding in found)
    if as_json:
        typer.echo(json.dumps([{**finding._asdict(), "is_error": finding.is_error} for finding in found]))
    else:
        for line in _finding_lines(found, is_verbose=verbose):
            out.print(line, soft_wrap=True)
        out.print(f"{wrong} wrong, {len(found) - wrong} to know about")
    if wrong:
        raise typer.Exit(1)


@prices_app.command("add")
def add(
    provider: Annotated[str, typer.Argument(help="Such as runpod.")],
    sku: Annotated[str, typer.Argument(help="What is sold, in your words or the book's.")],
    usd: Annotated[str, typer.Option("--usd", help="US dollars for one unit, without tax.")],
    unit: Annotated[str, typer.Option("--unit", help="Such as usd_per_gpu_hour, usd_per_1m_tokens, usd_per_job.")],
    source: Annotated[str, typer.Option("--source", help="Where you read it: an address, or your contract.")],
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="The day you read it, as 2026-11-23. Default: today.")
    ] = None,
    gpu: Annotated[str | None, typer.Option("--gpu", help="The GPU's name, for prices of GPU time.")] = None,
    gpus: Annotated[int, typer.Option("--gpus", help="GPUs in the unit: 8 for an instance with eight.", min=1)] = 1,
    offer: Annotated[
        str | None, typer.Option("--offer", help="How GPU time is sold, such as on-demand or spot.")
    ] = None,
    usd_batch: Annotated[str | None, typer.Option("--usd-batch", help="The same unit through a batch API.")] = None,
    note: Annotated[str | None, typer.Option("--note", help="A note for readers.")] = None,
    valid_from: Annotated[str | None, typer.Option("--valid-from", help="First day of an announced price.")] = None,
    valid_until: Annotated[str | None, typer.Option("--valid-until", help="Last day, if it is known.")] = None,
    project: Annotated[
        bool, typer.Option("--project", help="Into ./ftsdk-prices.yaml instead of your own file.")
    ] = False,
) -> None:
    """Append a dated price to your own file.

    Nothing is overwritten; your prices override those that come with ftsdk.
    """
    from ftsdk.cost.pricebook.book import project_file, user_file
    from ftsdk.cost.pricebook.own_prices import add_price
    from ftsdk.cost.pricebook.price import Price
    from ftsdk.cost.pricebook.usual_prices import unusual_price

    given: dict[str, Any] = {
        "note": note,
        "usd_batch": None if usd_batch is None else amount("--usd-batch", usd_batch),
    }
    given |= {"valid_from": valid_from, "valid_until": valid_until}
    if gpu is not None:
        given |= {"gpu": gpu, "gpus": gpus, "offer": offer or "on-demand"}
    price = Price(
        provider=provider,
        sku=sku,
        unit=unit,  # type: ignore[arg-type]  (checked when it is built)
        usd=amount("--usd", usd),
        source=source,
        as_of=as_of or str(date.today()),  # type: ignore[arg-type]  # noqa: DTZ011  (the reader's calendar)
        **{name: value for name, value in given.items() if value is not None},
    )
    path: Path = project_file() if project else user_file()
    added = add_price(price, path, layer="project" if project else "user")
    out.print(shown_text(f"{added}\nadded to {path}"), soft_wrap=True)
    if odd := unusual_price(price.usd, price.unit, gpus=price.gpus or 1):
        out.print(shown_text(f"check it: it is {odd}", style="yellow"), soft_wrap=True)


def _finding_lines(found: Sequence[Finding], *, is_verbose: bool) -> Iterator[Text]:
    """Yield a line for each row that is wrong, and a few of each other kind, cut to the terminal, with their count."""
    width = None if is_verbose else max(40, out.width)
    for kind in dict.fromkeys(finding.kind for finding in found):
        rows = [finding for finding in found if finding.kind == kind]
        shown = rows if is_verbose or rows[0].is_error else rows[:_OF_EACH_KIND]
        for finding in shown:
            text = str(finding) if finding.is_error else printable(str(finding), width)
            yield shown_text(text, style="red" if finding.is_error else "")
        if len(rows) > len(shown):
            yield shown_text(f"{kind}: {len(rows) - len(shown)} more; --verbose shows them", style="dim")


def price_lines(
    found: Sequence[Price], sources: Sequence[str], today: date, *, is_one_provider: bool, width: int | None
) -> list[Text]:
    """Return prices as a table, or in two lines each where that is wider than the terminal.

    SKUs stay whole, to be copied.

    Args:
        found: The prices.
        sources: Their sources; a row shows the number of its own.
        today: The day that their age refers to.
        is_one_provider: Leave out the column with the provider.
        width: Width of the terminal; None for a pipe.
    """
    if not found:
        return []
    columns = {
        "provider": [] if is_one_provider else [row.provider for row in found],
        "sku": [row.sku for row in found],
        "price": [_price(row) for row in found],
        "as of": [str(row.as_of) for row in found],
        "age": [row.staleness(today) for row in found],
        "layer": [] if all(row.layer == "packaged" for row in found) else [row.layer for row in found],
        "source": [f"[{sources.index(row.source) + 1}]" for row in found],
    }
    columns = {name: cells for name, cells in columns.items() if cells}
    widths = {name: max(map(len, (name, *cells))) for name, cells in columns.items()}
    if width is not None and sum(widths.values()) + 2 * (len(widths) - 1) > width:
        first = [name for name in ("provider", "sku") if name in columns]
        return [
            line
            for n in range(len(found))
            for line in (
                shown_text(" ".join(columns[name][n] for name in first), style="bold"),
                Text("  ").append_text(
                    Text("  ").join(_cell(name, cells[n], 0) for name, cells in columns.items() if name not in first)
                ),
            )
        ]
    head = Text("  ".join(name.ljust(widths[name]) for name in columns).rstrip(), style="bold")
    return [
        head,
        *(
            Text("  ").join(_cell(name, cells[n], widths[name]) for name, cells in columns.items())
            for n in range(len(found))
        ),
    ]


def _price(row: Price) -> str:
    return row.amount if row.status is None else f"{row.amount} ({row.status})"


def _cell(column: str, text: str, width: int) -> Text:
    return shown_text(text.ljust(width), style=_COLOURS[text] if column == "age" else "")
