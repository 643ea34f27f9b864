"""Bytes of a parameter in each number format, as data with sources."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any, Literal, cast

__all__ = ["WeightFormat", "bytes_per_weight"]

WeightFormat = Literal["fp32", "bf16", "fp8", "int4", "nf4", "nf4-double", "mxfp4", "nvfp4"]


def bytes_per_weight(name: WeightFormat) -> float:
    """Return the bytes of one parameter, its share of the scales included."""
    return _table()[name]


@functools.cache
def _table() -> dict[str, float]:
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    data: dict[str, Any] = yaml.load(
        (resources.files("ftsdk.cost.facts") / "formats.yaml").read_text(encoding="utf-8"), Loader=loader
    )
    return {row["name"]: float(row["bytes"]) for row in cast("list[dict[str, Any]]", data["weights"])}
