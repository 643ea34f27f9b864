"""Which services tune a model, by their catalogues and by the price book."""

from __future__ import annotations

import re

from ftsdk.cost.catalogue.known_model import KnownModel
from ftsdk.cost.pricebook.book import PriceBook

__all__ = ["services_that_tune"]

_SKU = re.compile(r"^ft/(?:lora|full)-(?:sft|dpo)/(?P<model>.+)$")


def services_that_tune(model: KnownModel, book: PriceBook | None = None) -> tuple[str, ...]:
    """Return the services that are known to tune this very model: others may, too."""
    found = set(model.tuned_at)
    for row in (book or PriceBook.load()).prices():
        match = _SKU.match(row.sku)
        if match is not None and match["model"].lower() == model.hub.lower():
            found.add(row.provider)
    return tuple(sorted(found))
