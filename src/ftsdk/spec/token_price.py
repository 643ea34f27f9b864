"""What a million tokens cost at an endpoint, as a value."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Protocol

from pydantic import Field

from ftsdk.spec.base import Usd, UsdAmount, Value

__all__ = ["HasTokenPrices", "TokenPrice"]

_MTOK = 1_000_000

if TYPE_CHECKING:
    _Amount = Usd
else:
    _Amount = Annotated[UsdAmount, Field(ge=0, le=1_000_000)]


class HasTokenPrices(Protocol):
    """A row of a price book, such as `ftsdk.cost.pricebook.api_prices.api_price(...)` returns."""

    @property
    def input_usd_per_mtok(self) -> Decimal:
        """US dollars for a million tokens of the prompt."""
        ...

    @property
    def output_usd_per_mtok(self) -> Decimal:
        """US dollars for a million tokens of the answer."""
        ...

    @property
    def source(self) -> str:
        """Where the price is published."""
        ...

    @property
    def as_of(self) -> object:
        """The day on which it was read there."""
        ...


class TokenPrice(Value):
    """What an endpoint bills for tokens. With it, calls that ask a model know their cost and keep to a budget."""

    input_usd_per_mtok: _Amount
    """US dollars for a million tokens of the prompt."""
    output_usd_per_mtok: _Amount
    """US dollars for a million tokens of the answer."""
    source: str = "given"
    """Where the price comes from."""

    @classmethod
    def of(cls, row: HasTokenPrices) -> TokenPrice:
        """Return the price in a row of the price book: `TokenPrice.of(api_price("anthropic/claude-haiku-4-5"))`.

        Prices for very long prompts, for cached ones and for batches are left out.
        """
        return cls(
            input_usd_per_mtok=row.input_usd_per_mtok,
            output_usd_per_mtok=row.output_usd_per_mtok,
            source=f"{row.source}, as of {row.as_of}",
        )

    def usd(self, *, input_tokens: float, output_tokens: float) -> Decimal:
        """Return the cost of so many tokens, in US dollars."""
        given, taken = Decimal(str(input_tokens)), Decimal(str(output_tokens))
        return (given * self.input_usd_per_mtok + taken * self.output_usd_per_mtok) / _MTOK
