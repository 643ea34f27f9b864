"""What Modal bills for a run: GPUs, cores and memory by the second, at the prices of its page."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

from ftsdk._format import money
from ftsdk.backends.launchers.modal.gpus import Book, GpuChoice
from ftsdk.backends.launchers.modal.limits import STARTUP_S, RunLimits, worst_case_usd
from ftsdk.cost.pricebook.billing import per_second_gpu_cost
from ftsdk.cost.pricebook.gpu_prices import per_gpu_hour
from ftsdk.cost.pricebook.price import Price
from ftsdk.protocol import HourlyBilling, Rate

__all__ = ["billing_of"]

_CENT = Decimal("0.01")
_EXACT = Decimal("1e-10")
"""US dollars an hour, as JSON keeps them."""


def billing_of(
    choice: GpuChoice | None,
    *,
    cpu: float,
    memory_gib: float,
    nodes: int,
    region: str | None,
    most_usd_per_s: Decimal,
    limits: RunLimits,
    book: Book,
) -> HourlyBilling:
    """List what an hour of a run costs, and what limits it.

    Args:
        choice: The GPUs of one container, of several alternatives the first; None: it has none.
        cpu: Physical cores of one container.
        memory_gib: Memory of one container, in GiB.
        nodes: Containers.
        region: The pinned region, which multiplies every price; None: none is pinned.
        most_usd_per_s: US dollars a second at most, over all alternatives and all containers.
        limits: The limits of the attempts.
        book: Prices.
    """
    bill = per_second_gpu_cost(
        seconds=3600,
        gpus=0 if choice is None else choice.count * nodes,
        price=None if choice is None else per_gpu_hour(choice.gpu.price),
        cores=cpu * nodes,
        core_price=book.core_price,
        memory_gib=memory_gib * nodes,
        memory_price=book.memory_price,
    )
    multiplier = book.region_multiplier(region)
    times = "" if region is None else f", times {multiplier} in the region {region}"
    source = _pages([charge.price for charge in bill.charges]) + times
    worst_usd = worst_case_usd(limits.timeout_s, limits.max_attempts, most_usd_per_s).quantize(
        _CENT, rounding=ROUND_CEILING
    )
    return HourlyBilling(
        rates=tuple(
            Rate(label=charge.label, usd=(charge.usd * multiplier).quantize(_EXACT), source=f"{charge.price}{times}")
            for charge in bill.charges
        ),
        most_usd_per_hour=(most_usd_per_s * 3600).quantize(_EXACT, rounding=ROUND_CEILING),
        most_usd=worst_usd,
        source=source,
        start_s=STARTUP_S,
        timeout_s=limits.timeout_s,
        max_attempts=limits.max_attempts,
        note=(
            f"at most ${worst_usd} (every attempt to its timeout; {source} at up to "
            f"{money(most_usd_per_s * 3600, places=2)} an "
            "hour)"
        ),
    )


def _pages(prices: list[Price]) -> str:
    """Name the pages that prices were read on.

    Each once with its days, and beside it what a reader has to know of a price.
    """
    days: dict[str, list[str]] = {}
    special: list[str] = []
    for price in dict.fromkeys(prices):
        if price.cited == f"{price.source}, as of {price.as_of}":
            days.setdefault(price.source, []).append(str(price.as_of))
        else:
            special.append(price.cited)
    plain = [
        f"{page}, as of {min(read)}" + (f" to {max(read)}" if min(read) < max(read) else "")
        for page, read in days.items()
    ]
    return "; ".join([*plain, *special])
