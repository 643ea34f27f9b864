"""A place's own price as a value: kept in a ref, and put in place of an estimate."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk.protocol.estimates import QUOTED_LATER, BillingTerms, CostRange, Estimate, Quote, Range

OURS = Estimate(
    backend="acme",
    tokens=Range(low=90, likely=100, high=110),
    billed_tokens=Range(low=90, likely=100, high=110),
    cost=CostRange(low=4, likely=5, high=9, source="a page, as of 2026-11-01"),
    billing_terms=BillingTerms(kind="per_share", usd=Decimal(5), fixed_usd=Decimal(4), source="a page"),
    notes=("something else", QUOTED_LATER),
)


def a_quote(**changes: object) -> Quote:
    return Quote(**{"usd": Decimal("6.5"), "source": "acme's own estimate", "asked_at": 0.0, **changes})


@given(
    usd=st.decimals(min_value=0, max_value=10**9, allow_nan=False),
    tokens=st.none() | st.integers(0, 10**15),
    asked_at=st.floats(0, 1e11),
    source=st.text(),
)
def test_what_a_ref_keeps_of_a_price_is_read_back(
    usd: Decimal, tokens: int | None, asked_at: float, source: str
) -> None:
    quote = a_quote(usd=usd, asked_at=asked_at, source=source, **({} if tokens is None else {"tokens": tokens}))
    again = Quote.from_native({"job": "ft-1", **quote.to_native()})
    assert again == quote


@pytest.mark.parametrize(
    "changes",
    [
        {"quoted_usd": "much"},
        {"quoted_usd": "NaN"},
        {"quoted_at": "today"},
        {"quoted_at": "1e300"},
        {"quoted_tokens": "-1"},
        {"quoted_by": None},
    ],
)
def test_a_price_that_cannot_be_read_counts_as_none(changes: dict[str, str | None]) -> None:
    native = {**a_quote().to_native(), **changes}
    assert Quote.from_native({name: text for name, text in native.items() if text is not None}) is None
    assert Quote.from_native({"job": "ft-1"}) is None


def test_the_places_word_replaces_ours_and_what_else_is_known_stays() -> None:
    found = OURS.quoted(a_quote(tokens=120, notes=("the account may not spend that",)))
    assert found.cost == CostRange(
        low=Decimal("6.5"), likely=Decimal("6.5"), high=Decimal("6.5"), source="acme's own estimate, 1970-01-01"
    )
    assert found.billed_tokens == Range(low=120, likely=120, high=120)
    assert found.tokens == OURS.tokens
    assert found.billing_terms is not None
    assert (found.billing_terms.usd, found.billing_terms.fixed_usd) == (Decimal("6.5"), 4)
    assert found.notes[:2] == ("something else", "the account may not spend that")
    assert "$5.00 (80%: $4.00 to $9.00; a page, as of 2026-11-01)" in found.notes[2]
    assert OURS.quoted(a_quote()).billed_tokens == OURS.billed_tokens


def test_a_minimum_is_never_more_than_the_whole_price() -> None:
    terms = OURS.quoted(a_quote(usd=Decimal(3))).billing_terms
    assert terms is not None
    assert terms.fixed_usd == 3


def test_where_we_knew_no_price_the_note_says_so() -> None:
    unknown = Estimate(backend="acme", cost_note="no source has its price per token", notes=(QUOTED_LATER,))
    found = unknown.quoted(a_quote())
    assert found.cost is not None
    assert "no source has its price per token" in found.notes[0]
    assert found.cost_note == ""
