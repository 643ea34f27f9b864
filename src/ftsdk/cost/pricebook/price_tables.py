"""Prices and bills for a notebook: small tables in which each amount links to its source."""

from __future__ import annotations

import html
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftsdk.cost.pricebook.billing import Bill
    from ftsdk.cost.pricebook.book import PriceBook
    from ftsdk.cost.pricebook.price import Price

__all__ = ["bill_html", "book_html"]


def book_html(book: PriceBook) -> str:
    """Write the prices in force as a table."""
    rows = (
        (
            html.escape(price.provider),
            html.escape(price.sku),
            f"{price.usd:f} {html.escape(price.words)}",
            _source(price),
            price.staleness(book.today),
        )
        for price in book.prices()
    )
    return _table(("provider", "sku", "US dollars", "source", "age"), rows)


def bill_html(bill: Bill) -> str:
    """Write a bill as a table with its sum."""
    rows = [
        (html.escape(charge.label), f"{charge.quantity:,f} {html.escape(charge.unit)}", f"{charge.usd:.4f}", _source(charge.price))
        for charge in bill.charges
    ]
    return _table(("line", "quantity", "US dollars", "source"), [*rows, ("<b>total</b>", "", f"<b>{bill.usd:.2f}</b>", "")])


def _source(price: Price) -> str:
    cited = html.escape(price.cited)
    # A source is a stranger's text: only an address becomes a link.
    return f'<a href="{html.escape(price.source)}">{cited}</a>' if price.source.startswith("https://") else cited


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"
