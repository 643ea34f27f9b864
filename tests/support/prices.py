"""Prices for tests: of a provider that doesn't exist."""

from __future__ import annotations

from datetime import date
from typing import Any

from ftsdk.cost import Price

TODAY = date(2026, 11, 23)


def a_price(**changes: Any) -> Price:
    """A price with a few fields changed."""
    row: dict[str, Any] = {"provider": "acme", "sku": "ft/lora-sft/x", "unit": "usd_per_1m_training_tokens", "usd": 0.5}
    return Price(**{**row, "source": "https://acme.example/prices", "as_of": "2026-11-01", **changes})


def a_gpu_price(usd: object = 2, **changes: Any) -> Price:
    """A price of GPU time."""
    return a_price(
        **{
            "sku": "gpu/H100",
            "unit": "usd_per_gpu_hour",
            "usd": usd,
            "gpu": "H100",
            "gpus": 1,
            "offer": "on-demand",
            **changes,
        }
    )
