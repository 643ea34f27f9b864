"""The catalogue: which models the service tunes, under which name, within which limits. Dated data; code only reads it.

Prices are in the price book (`ftsdk.cost`), under the models' hub ids.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections.abc import Mapping
from importlib import resources
from typing import Any

from ftsdk.backends.together.limits import Limits, TuningLimits
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.cost.pricebook.finetune_prices import FinetunePrice, finetune_minimum, finetune_price, kind_of
from ftsdk.cost.pricebook.price import Price
from ftsdk.spec import JobSpec, Value

__all__ = ["Catalogue", "KnownModel", "catalogue"]

_LARGE = 1000.0
"""Billions of parameters."""


class _Tuning(Value):
    batch: int | None = None
    accumulation: int | None = None
    max_rank: int | None = None


class KnownModel(Value):
    """A model that the service tunes."""

    hub: str
    """Its id on the hub: the id that a spec has."""
    service: str | None
    """The name that the service tunes it under; None: not known."""
    inferred: bool = False
    """Whether that name follows the pattern of others and wasn't read anywhere."""
    billion: float | None = None
    """Parameters in billions, all experts counted: what decides the price."""
    licence: str | None = None
    deployable: bool | None = None
    """Can the tuned model be served by the service? None: not known."""
    sft_context: int | None = None
    """Tokens per row for SFT."""
    dpo_context: int | None = None
    """Tokens per row for DPO."""
    lora: _Tuning | None = None
    full: _Tuning | None = None


class Catalogue(Value):
    """All of it."""

    as_of: str
    """Day of the last reading, as `2026-11-23`."""
    sources: dict[str, str]
    models: tuple[KnownModel, ...]

    def find(self, hub: str) -> KnownModel | None:
        """Find a model by its hub id, or by the service's name for it."""
        for model in self.models:
            if hub.lower() in (model.hub.lower(), (model.service or model.hub).lower()):
                return model
        return None

    def nearest(self, hub: str, *, count: int = 3) -> tuple[str, ...]:
        """Return the hub ids that are tunable and nearest to one that isn't.

        By name, and by size if the name has it.
        """
        size = _billions_in(hub)

        def distance(model: KnownModel) -> float:
            likeness = difflib.SequenceMatcher(None, hub.lower(), model.hub.lower()).ratio()
            if size is None:
                return -likeness
            # A model of unknown size is among the largest: those are the ones that don't tell it in their name.
            return abs(math.log2(size / (model.billion or _LARGE))) / 4 - likeness

        tunable = [model for model in self.models if model.service is not None]
        return tuple(model.hub for model in sorted(tunable, key=distance)[:count])

    def limits(self, model: KnownModel) -> Limits:
        """Return what is known offline of a model's limits."""
        return Limits(
            lora=_limits(model.lora),
            full=_limits(model.full),
            supports_lora=model.lora is not None,
            supports_full=model.full is not None,
            accumulation=None if model.lora is None else model.lora.accumulation,
            max_length_sft=model.sft_context,
            max_length_dpo=model.dpo_context,
            source=f"{self.sources['limits']}",
        )

    def minimum(self, model: KnownModel | None, book: PriceBook) -> Price:
        """Return the least that a job on this model costs.

        Raises:
            SpecError: No such price is in force.
        """
        named = finetune_minimum(book, "together", None if model is None else model.hub)
        return named or book.price("together", "ft/minimum")

    def price_per_mtok(self, model: KnownModel | None, spec: JobSpec, book: PriceBook) -> FinetunePrice | None:
        """Return the price per million tokens of training, or None if no source has it."""
        if model is None:
            return None
        method, tuning = kind_of(spec)
        return finetune_price(book, "together", model.hub, method=method, tuning=tuning, billion=model.billion)


@functools.cache
def catalogue() -> Catalogue:
    """Read the catalogue that comes with this package."""
    import yaml

    data: Mapping[str, Any] = yaml.safe_load(
        resources.files("ftsdk.backends.together").joinpath("catalogue.yaml").read_text(encoding="utf-8")
    )
    return Catalogue.from_dict(data)


def _limits(tuning: _Tuning | None) -> TuningLimits:
    if tuning is None:
        return TuningLimits()
    return TuningLimits(
        min_batch_size=tuning.batch,
        max_batch_size=tuning.batch,
        max_batch_size_dpo=tuning.batch,
        max_rank=tuning.max_rank,
    )


def _billions_in(name: str) -> float | None:
    found = re.search(r"(?<![\w.])(\d+(?:\.\d+)?)([bm])(?![a-z])", name.lower().replace("-", " "))
    if found is None:
        return None
    number = float(found.group(1))
    return (number if found.group(2) == "b" else number / 1000) or None
