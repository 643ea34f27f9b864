"""Whether a price is of the usual size for its unit: most that aren't are slips of units."""

from __future__ import annotations

import functools
from decimal import Decimal
from importlib import resources
from typing import cast

from ftsdk._format import money
from ftsdk.cost.pricebook.price import Unit

__all__ = ["unusual_price"]


def unusual_price(usd: Decimal, unit: Unit, *, gpus: int = 1) -> str | None:
    """Return what is odd about a price, or None if it is of the usual size.

    Args:
        usd: US dollars for one unit.
        unit: The unit.
        gpus: GPUs in the unit, for `usd_per_instance_hour`.
    """
    low, high = _usual()[unit]
    each = usd / gpus if unit == "usd_per_instance_hour" else usd
    if low <= each <= high:
        return None
    factor = low / each if each < low else each / high
    size = "below" if each < low else "above"
    return (
        f"{factor:,.3g} times {size} the usual range of {unit}, {money(low)} to {money(high)}: check the unit and the "
        "decimal point"
    )


@functools.cache
def _usual() -> dict[Unit, tuple[Decimal, Decimal]]:
    import yaml

    text = (resources.files("ftsdk.cost.pricebook") / "usual-prices.yaml").read_text(encoding="utf-8")
    ranges = cast("dict[Unit, list[float]]", yaml.safe_load(text)["usual"])
    return {unit: (Decimal(str(low)), Decimal(str(high))) for unit, (low, high) in ranges.items()}
