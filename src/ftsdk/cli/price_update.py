"""`ftsdk prices update`: prices from a public feed or a file, shown as a diff, appended only on request."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from ftsdk.cli.show import out, shown_text

if TYPE_CHECKING:
    from ftsdk.cost.pricebook.price_update import Change, PriceUpdate

__all__ = ["update"]

_SHOWN = 20
_COLOURS = {"new": "green", "changed": "yellow", "suspicious": "red", "gone": "magenta"}


def update(
    source: Annotated[
        str | None,
        typer.Argument(
            help="A file or an https address: genai-prices' or litellm's JSON, gpuhunt's CSV or zip, a price file.",
        ),
    ] = None,
    feed: Annotated[
        str | None, typer.Option("--feed", help="A public feed by name: genai-prices, litellm or gpuhunt.")
    ] = None,
    provider: Annotated[
        list[str] | None, typer.Option("--provider", help="Only this provider, as the price book calls it. Repeatable.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", help="new, changed, suspicious or gone. Repeatable.")
    ] = None,
    seller: Annotated[
        str | None, typer.Option("--seller", help="Whose catalogue a CSV is, if the file isn't named after it.")
    ] = None,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="The day on which the file was fetched. Default: today.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="Append the new and the changed prices.")] = False,
    with_suspicious: Annotated[
        bool, typer.Option("--with-suspicious", help="Append those too that look wrong.")
    ] = False,
    project: Annotated[
        bool, typer.Option("--project", help="Into ./ftsdk-prices.yaml instead of your own file.")
    ] = False,
    show_all: Annotated[bool, typer.Option("--all", help=f"Every line, not {_SHOWN} of each kind.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Compare a feed of prices with the price book, and append what changed with --write.

    Nothing is overwritten: a changed price is a new, dated row in your own file. Without --feed or an address,
    nothing is fetched.
    """
    from ftsdk.cost.pricebook.book import PriceBook, project_file, user_file
    from ftsdk.cost.pricebook.feed_source import read_feed_bytes, read_named_feed
    from ftsdk.cost.pricebook.feeds import parse_feed
    from ftsdk.cost.pricebook.price_update import compare_feed, write_update
    from ftsdk.errors import SpecError

    kinds = tuple(only or _COLOURS)
    if unknown := [kind for kind in kinds if kind not in _COLOURS]:
        raise SpecError(f"--only {unknown[0]!r} isn't one of {', '.join(_COLOURS)}")
    if feed is not None and source is None:
        read = read_named_feed(feed)
    elif source is not None and feed is None:
        read = read_feed_bytes(source)
    else:
        raise SpecError("pass either a file or an address, or --feed NAME: genai-prices, litellm or gpuhunt")
    book = PriceBook.load()
    day = book.today if as_of is None else _day(as_of)
    found = compare_feed(parse_feed(read, as_of=day, provider=seller), book, providers=tuple(provider or ()))
    found = found._replace(changes=tuple(change for change in found.changes if change.kind in kinds))
    path = project_file() if project else user_file()
    written = write_update(found, path, book=book, with_suspicious=with_suspicious) if write else ()
    if as_json:
        typer.echo(json.dumps(_as_dict(found, kinds, len(written))))
        return
    for line in _lines(found, kinds, most=None if show_all else _SHOWN):
        out.print(line, soft_wrap=True)
    if write:
        out.print(shown_text(f"{len(written):,} appended to {path}"), soft_wrap=True)
    elif found.of("new") or found.of("changed"):
        out.print(shown_text(f"nothing was written; --write appends the new and the changed to {path}"), soft_wrap=True)


def _lines(found: PriceUpdate, kinds: tuple[str, ...], *, most: int | None) -> list[Text]:
    feed = found.feed
    lines = [
        shown_text(
            f"{feed.source} ({feed.format}): {len(feed.prices):,} prices, {len(found.same):,} as in the price book"
        )
    ]
    groups: dict[str, list[str]] = {
        kind: [_line(change) for change in found.changes if change.kind == kind]
        for kind in ("new", "changed", "suspicious")
    }
    groups["gone"] = [f"{gone.provider} {gone.sku} (in {gone.where})" for gone in found.gone]
    for kind in kinds:
        rows = groups[kind]
        if not rows:
            continue
        lines.append(shown_text(f"{kind}: {len(rows):,}", style=f"bold {_COLOURS[kind]}"))
        lines += [shown_text(f"  {row}") for row in rows[:most]]
        if most is not None and len(rows) > most:
            lines.append(shown_text(f"  and {len(rows) - most:,} more: --all shows them"))
    if feed.bad:
        lines.append(shown_text(f"not prices: {len(feed.bad):,}", style="bold red"))
        lines += [shown_text(f"  {bad}") for bad in feed.bad[:most]]
    if feed.free:
        lines.append(shown_text(f"left out, free or without a price: {feed.free:,}"))
    return lines


def _line(change: Change) -> str:
    price = change.price
    amount = price.amount
    if change.before is not None:
        moved = price.usd / change.before - 1
        amount = f"{_rate(change.before)} -> {amount}" + (f" ({moved:+.0%})" if moved else " (tiers or batch)")
    why = f": {change.why}" if change.why else ""
    return f"{price.provider} {price.sku}  {amount}{why}"


def _rate(usd: Decimal) -> str:
    from ftsdk.cost.pricebook.price import rate

    return rate(usd)


def _as_dict(found: PriceUpdate, kinds: tuple[str, ...], written: int) -> dict[str, Any]:
    return {
        "source": found.feed.source,
        "format": found.feed.format,
        "prices": len(found.feed.prices),
        "same": len(found.same),
        "changes": [
            {
                "kind": change.kind,
                "before": None if change.before is None else str(change.before),
                "why": change.why,
                "price": change.price.to_dict(),
            }
            for change in found.changes
        ],
        "gone": [gone._asdict() for gone in found.gone] if "gone" in kinds else [],
        "bad": [bad._asdict() for bad in found.feed.bad],
        "free": found.feed.free,
        "written": written,
    }


def _day(text: str) -> date:
    from ftsdk.errors import SpecError

    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise SpecError(f"--as-of must be a day such as 2026-11-23, not {text!r}") from error
