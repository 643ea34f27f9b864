"""What a million tokens cost at an endpoint, as a value."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from ftsdk.spec.base import Usd, UsdAmount, Value

__all__ = ["TokenPrice"]

_MTOK = 1_000_000

if TYPE_CHECKING:
    _Amount = Usd
else:
    _Amount = Annotated[UsdAmount, Field(ge=0, le=1_000_000)]


class TokenPrice(Value):
    """What an endpoint bills for tokens. With it, calls that ask a model know their cost and keep to a budget.

    The price book has them too: `api_price("anthropic/claude-haiku-4-5").token_price()`.
    """

    input_usd_per_mtok: _Amount
    """US dollars for a million tokens of the prompt."""
    output_usd_per_mtok: _Amount
    """US dollars for a million tokens of the answer."""
    source: str = "given"
    """Where the price comes from."""

    def usd(self, *, input_tokens: float, output_tokens: float) -> Decimal:
        """Return the cost of so many tokens, in US dollars."""
        given, taken = Decimal(str(input_tokens)), Decimal(str(output_tokens))
        return (given * self.input_usd_per_mtok + taken * self.output_usd_per_mtok) / _MTOK
