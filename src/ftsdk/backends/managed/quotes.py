"""A service's price for a job, checked against what may be spent."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from ftsdk._format import money
from ftsdk.backends.managed.service import JobQuote, NoPriceError
from ftsdk.errors import BudgetExceededError
from ftsdk.protocol.estimates import Quote

__all__ = ["check_quote"]


def check_quote(ask: Callable[[], JobQuote | None], *, budget_usd: Decimal | None) -> Quote | None:
    """Return the service's price if a job may be created at it.

    Args:
        ask: Asks the service.
        budget_usd: US dollars that the run may cost; None: no limit.

    Returns:
        The price; None if the service gives none.

    Raises:
        BudgetExceededError: The service has no price, or it is over the budget, or is more than the account may spend.
        DatasetError: The service can't price the job because it refused a file.
    """
    try:
        answer = ask()
    except NoPriceError as error:
        raise BudgetExceededError(
            f"{error} The job wasn't created, because its price isn't known; submit again once there is a price."
        ) from error
    if answer is None:
        return None
    quote = answer.quote
    if budget_usd is not None and quote.usd > budget_usd:
        raise BudgetExceededError(
            f"{quote.source}: {money(quote.usd, places=2)} for the job, more than budget_usd={budget_usd}; it wasn't "
            "created. "
            "Train on less data, for fewer epochs or on a smaller model, or raise the budget."
        )
    if answer.refusal:
        raise BudgetExceededError(f"{answer.refusal} The job wasn't created; submit again after that.")
    return quote
