"""Money over time: payback and net present value."""

from __future__ import annotations

__all__ = ["net_present_value_usd", "payback_months"]


def net_present_value_usd(*, upfront_usd: float, savings_usd: list[float], discount_per_year: float) -> float:
    """Return the net present value, in US dollars, of a payment now and savings at the end of each month.

    Args:
        upfront_usd: Paid at once.
        savings_usd: By month; negative if it costs more.
        discount_per_year: 0.1 is 10% a year.
    """
    monthly = (1 + discount_per_year) ** (1 / 12)
    return -upfront_usd + sum(saving / monthly**month for month, saving in enumerate(savings_usd, start=1))


def payback_months(*, upfront_usd: float, savings_usd: list[float]) -> float | None:
    """Return the months until the savings have paid for the setup, without interest.

    None if they don't within the months given.
    """
    left = upfront_usd
    if left <= 0 and savings_usd and savings_usd[0] >= 0:
        return 0.0
    for month, saving in enumerate(savings_usd, start=1):
        if saving > 0 and saving >= left:
            return month - 1 + max(left, 0) / saving
        left -= saving
    return None
