"""Cost: dated prices, billing rules, estimates, and whether a model of your own is cheaper than an API.

Every name is loaded on first use: neither a chart library nor a price package is loaded before it is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsdk._lazy import loaded_on_first_use

if TYPE_CHECKING:
    from ftsdk.cost.advice.advise import Advice, advise
    from ftsdk.cost.advice.inputs import Situation
    from ftsdk.cost.comparison.answer import CrossoverAnswer
    from ftsdk.cost.comparison.compare import crossover
    from ftsdk.cost.comparison.workload import Api, Dedicated, Operations, Quality, SelfHosted, Serverless, Workload
    from ftsdk.cost.pricebook.api_prices import ApiPrice, api_price
    from ftsdk.cost.pricebook.billing import Bill
    from ftsdk.cost.pricebook.book import PriceBook
    from ftsdk.cost.pricebook.gpu_prices import gpu_price
    from ftsdk.cost.pricebook.price import Price
    from ftsdk.cost.serving.capacity import Capacity, ModelShape
    from ftsdk.cost.training.calibration import Calibration
    from ftsdk.cost.training.estimate import Estimate
    from ftsdk.cost.training.prediction import TrainingPrediction, predict_training

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
    "TrainingPrediction",
    "Workload",
    "advise",
    "api_price",
    "crossover",
    "gpu_price",
    "predict_training",
]

_EXPORTS = {
    "ftsdk.cost.advice.advise": ("Advice", "advise"),
    "ftsdk.cost.comparison.answer": ("CrossoverAnswer",),
    "ftsdk.cost.comparison.compare": ("crossover",),
    "ftsdk.cost.comparison.workload": ("Api", "Dedicated", "Operations", "Quality", "SelfHosted", "Serverless", "Workload"),
    "ftsdk.cost.pricebook.api_prices": ("ApiPrice", "api_price"),
    "ftsdk.cost.pricebook.billing": ("Bill",),
    "ftsdk.cost.pricebook.book": ("PriceBook",),
    "ftsdk.cost.pricebook.gpu_prices": ("gpu_price",),
    "ftsdk.cost.pricebook.price": ("Price",),
    "ftsdk.cost.serving.capacity": ("Capacity", "ModelShape"),
    "ftsdk.cost.advice.inputs": ("Situation",),
    "ftsdk.cost.training.calibration": ("Calibration",),
    "ftsdk.cost.training.estimate": ("Estimate",),
    "ftsdk.cost.training.prediction": ("TrainingPrediction", "predict_training"),
}
__getattr__, __dir__ = loaded_on_first_use(__name__, _EXPORTS)
