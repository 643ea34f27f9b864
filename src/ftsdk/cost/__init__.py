"""Cost: dated prices, billing rules, estimates, and whether a model of your own is cheaper than an API.

Every name is loaded on first use: neither a chart library nor a price package is loaded before it is needed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ftsdk.cost.advice import Advice, Situation, advise
    from ftsdk.cost.answer import CrossoverAnswer
    from ftsdk.cost.api_prices import ApiPrice, api_price
    from ftsdk.cost.billing import Bill
    from ftsdk.cost.book import PriceBook
    from ftsdk.cost.calibration import Calibration
    from ftsdk.cost.compare import crossover
    from ftsdk.cost.estimate import Estimate
    from ftsdk.cost.gpu_prices import gpu_price
    from ftsdk.cost.price import Price
    from ftsdk.cost.serving import Capacity, ModelShape
    from ftsdk.cost.workload import Api, Dedicated, Operations, Quality, SelfHosted, Serverless, Workload

__all__ = [
    "Advice",
    "Api",
    "ApiPrice",
    "Bill",
    "Calibration",
    "Capacity",
    "CrossoverAnswer",
    "Dedicated",
    "Estimate",
    "ModelShape",
    "Operations",
    "Price",
    "PriceBook",
    "Quality",
    "SelfHosted",
    "Serverless",
    "Situation",
    "Workload",
    "advise",
    "api_price",
    "crossover",
    "gpu_price",
]

_ROOMS = {
    "ftsdk.cost.advice": ("Advice", "Situation", "advise"),
    "ftsdk.cost.answer": ("CrossoverAnswer",),
    "ftsdk.cost.api_prices": ("ApiPrice", "api_price"),
    "ftsdk.cost.billing": ("Bill",),
    "ftsdk.cost.book": ("PriceBook",),
    "ftsdk.cost.calibration": ("Calibration",),
    "ftsdk.cost.compare": ("crossover",),
    "ftsdk.cost.estimate": ("Estimate",),
    "ftsdk.cost.gpu_prices": ("gpu_price",),
    "ftsdk.cost.price": ("Price",),
    "ftsdk.cost.serving": ("Capacity", "ModelShape"),
    "ftsdk.cost.workload": ("Api", "Dedicated", "Operations", "Quality", "SelfHosted", "Serverless", "Workload"),
}
_HOME_OF = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    room = _HOME_OF.get(name)
    if room is None:
        raise AttributeError(f"module 'ftsdk.cost' has no attribute {name!r}")
    found = getattr(import_module(room), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
