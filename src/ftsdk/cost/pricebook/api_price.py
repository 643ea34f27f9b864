"""What a million tokens of one model cost at one provider, as a value."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from pydantic import Field

from ftsdk._rich_text import rich_text
from ftsdk.cost.pricebook.price import Amount, Day, Layer, OptionalAmount, rate
from ftsdk.errors import SpecError
from ftsdk.spec import TokenPrice, Value
from ftsdk.spec.amounts import check_amount
from ftsdk.spec.base import usd_default

__all__ = ["ApiPrice", "ApiTier"]

_MTOK = 1_000_000


class ApiTier(Value):
    """A cliff: a request with more input tokens than this is billed at these prices as a whole."""

    above_input_tokens: Annotated[int, Field(gt=0)]
    input_usd_per_mtok: Amount
    output_usd_per_mtok: Amount
    cached_input_usd_per_mtok: OptionalAmount = usd_default(None)
    cache_write_usd_per_mtok: OptionalAmount = usd_default(None)


class ApiPrice(Value):
    """What a million tokens of one model cost at one provider on one day."""

    provider: str
    model: str
    input_usd_per_mtok: Amount
    output_usd_per_mtok: Amount
    cached_input_usd_per_mtok: OptionalAmount = usd_default(None)
    """For the part of the input that the provider has cached; None: cached tokens cost as much as others."""
    cache_write_usd_per_mtok: OptionalAmount = usd_default(None)
    """For input that is put into the cache, for the shortest time that is offered; None: as other input."""
    context_tokens: int | None = None
    """The longest prompt and answer together, in tokens; None: not known."""
    is_batch: bool = False
    """These are the prices of the provider's batch API."""
    tiers: tuple[ApiTier, ...] = ()
    source: str
    as_of: Day
    layer: Layer = "packaged"
    note: str | None = None

    def at(self, input_tokens: int) -> ApiPrice | ApiTier:
        """Return the prices for a request with so many input tokens."""
        reached = [tier for tier in self.tiers if input_tokens > tier.above_input_tokens]
        return max(reached, key=lambda tier: tier.above_input_tokens) if reached else self

    def token_price(self) -> TokenPrice:
        """Return the price for `Endpoint(price=)`. Prices for long prompts and for cached tokens are left out."""
        return TokenPrice(
            input_usd_per_mtok=self.input_usd_per_mtok,
            output_usd_per_mtok=self.output_usd_per_mtok,
            source=f"{self.source}, as of {self.as_of}",
        )

    def cost_usd(
        self, *, input_tokens: int, output_tokens: int, cached_input_tokens: int = 0, requests: int = 1
    ) -> Decimal:
        """Cost of requests of one size, in US dollars.

        Args:
            input_tokens: Of one request, the cached ones included.
            output_tokens: Of one request.
            cached_input_tokens: Of one request: how many of the input tokens the provider has cached.
            requests: How many such requests.

        Raises:
            SpecError: A count isn't a number, or is negative, or more tokens are cached than go in.
        """
        counts = {
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
            "cached_input_tokens": cached_input_tokens,
            "requests": requests,
        }
        for name, count in counts.items():
            check_amount(name, count, at_most=1e18)
            if count < 0:
                raise SpecError(f"{name} is a count, so it can't be {count}")
        if cached_input_tokens > input_tokens:
            raise SpecError(
                f"input_tokens={input_tokens} includes the cached ones, so cached_input_tokens can't be "
                f"{cached_input_tokens}"
            )
        rates = self.at(input_tokens)
        cached = (
            rates.input_usd_per_mtok if rates.cached_input_usd_per_mtok is None else rates.cached_input_usd_per_mtok
        )
        usd = (
            (input_tokens - cached_input_tokens) * rates.input_usd_per_mtok
            + cached_input_tokens * cached
            + output_tokens * rates.output_usd_per_mtok
        )
        return usd * requests / _MTOK

    def __str__(self) -> str:
        cached = "" if self.cached_input_usd_per_mtok is None else f", {rate(self.cached_input_usd_per_mtok)} cached"
        lines = [
            f"{self.provider}/{self.model}{' (batch)' if self.is_batch else ''}: per million tokens "
            f"{rate(self.input_usd_per_mtok)} in{cached}, "
            f"{rate(self.output_usd_per_mtok)} out ({self.source}, as of {self.as_of})"
        ]
        lines += [
            f"  more than {tier.above_input_tokens:,} tokens in: the whole request at "
            f"{rate(tier.input_usd_per_mtok)} in, "
            f"{rate(tier.output_usd_per_mtok)} out"
            for tier in self.tiers
        ]
        if self.note:
            lines.append(f"  {self.note}")
        return "\n".join(lines)

    __rich__ = rich_text
