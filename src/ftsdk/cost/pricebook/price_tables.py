"""Prices and bills for a notebook: small tables in which each amount links to its source."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsdk._format import Html, bold, html_table, link

if TYPE_CHECKING:
    from ftsdk.cost.pricebook.billing import Bill
    from ftsdk.cost.pricebook.book import PriceBook
    from ftsdk.cost.pricebook.price import Price

__all__ = ["bill_html", "book_html"]


def book_html(book: PriceBook) -> str:
    """Return the prices in force as a table."""
    rows = (
        (price.provider, price.sku, f"{price.usd:f} {price.words}", _source(price), price.staleness(book.today))
        for price in book.prices()
    )
    return html_table(rows, head=("provider", "sku", "US dollars", "source", "age"))


def bill_html(bill: Bill) -> str:
    """Return a bill as a table with its sum."""
    rows = [
        (charge.label, f"{charge.quantity:,f} {charge.unit}", f"{charge.usd:.4f}", _source(charge.price))
        for charge in bill.charges
    ]
    return html_table(
        [*rows, (bold("total"), "", bold(f"{bill.usd:.2f}"), "")], head=("line", "quantity", "US dollars", "source")
    )


def _source(price: Price) -> Html:
    return link(price.cited, price.source)
