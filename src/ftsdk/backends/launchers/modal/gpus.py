"""GPU names and counts as Modal writes them, checked against what there is."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from importlib.resources import files
from typing import Any

from ftsdk.cost.facts.devices import Device, find_device
from ftsdk.cost.pricebook.book import PriceBook, project_file, user_file
from ftsdk.cost.pricebook.price import GPU_TIME, Price, Unit
from ftsdk.errors import Gap, SpecError
from ftsdk.spec.base import nearest

__all__ = ["CPU_ONLY", "Book", "Gpu", "GpuChoice", "offers", "read_gpus"]

CPU_ONLY = "cpu"
"""The `gpu=` for a container without a GPU, for trials and for small models."""

_CHOICE = re.compile(r"^(?P<name>[A-Za-z0-9+!-]+?)(?::(?P<count>\d+))?$")


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A kind of GPU that Modal rents."""

    name: str
    """As Modal calls it."""
    device: Device
    """What it can do."""
    usd_per_s: Decimal
    """List price of one card."""
    ceiling_usd_per_s: Decimal
    """The most that a request for it can cost: Modal may serve some with a more expensive card."""
    price: Price
    """The list price's row in the price book."""
    max_count: int
    """The most that one container can have."""
    host_count: int
    """How many a whole host has."""

    @property
    def memory_gib(self) -> float:
        """Of one card."""
        assert self.device.memory_gib is not None  # every GPU of the table has it
        return self.device.memory_gib

    @property
    def has_bfloat16(self) -> bool:
        """Products in bfloat16 are native."""
        return self.device.has_bfloat16


@dataclass(frozen=True, kw_only=True)
class GpuChoice:
    """A GPU and how many of it one container gets."""

    gpu: Gpu
    count: int = 1

    def __str__(self) -> str:
        return self.gpu.name if self.count == 1 else f"{self.gpu.name}:{self.count}"


@dataclass(frozen=True, kw_only=True)
class Book:
    """What Modal rents, its limits, and its prices."""

    gpus: Mapping[str, Gpu]
    core_usd_per_s: Decimal
    memory_usd_per_gib_s: Decimal
    core_price: Price
    memory_price: Price
    broad_region: Decimal
    narrow_region: Decimal
    max_timeout_s: int
    max_retries: int
    max_nodes: int

    def region_multiplier(self, region: str | None) -> Decimal:
        """What a named region multiplies every price by: 1 if none is named."""
        if region is None:
            return Decimal(1)
        return self.narrow_region if "-" in region else self.broad_region


def offers(prices: PriceBook | None = None) -> Book:
    """Return what Modal rents, at today's prices.

    Args:
        prices: The price book; None: the packaged one with the user's and the project's prices.
    """
    data = _data()
    known = PriceBook.load() if prices is None else prices
    region, limits = data["region"], data["limits"]
    core, memory = known.price("modal", data["cpu_core"]["price"]), known.price("modal", data["memory"]["price"])
    return Book(
        gpus={row["name"]: _gpu(row, known) for row in data["gpus"]},
        core_usd_per_s=_usd_in("usd_per_core_second", core),
        memory_usd_per_gib_s=_usd_in("usd_per_gib_second", memory),
        core_price=core,
        memory_price=memory,
        broad_region=_usd_in("multiplier", known.price("modal", region["broad"])),
        narrow_region=_usd_in("multiplier", known.price("modal", region["narrow"])),
        max_timeout_s=limits["timeout_s"]["max"],
        max_retries=limits["retries"],
        max_nodes=limits["cluster_nodes"],
    )


@functools.cache
def _data() -> dict[str, Any]:
    import yaml

    return yaml.safe_load(files(__package__ or __name__).joinpath("offers.yaml").read_text(encoding="utf-8"))


def _gpu(row: Mapping[str, Any], prices: PriceBook) -> Gpu:
    price = prices.price("modal", row["price"])
    usd_per_s = _usd_per_gpu_s(price)
    ceiling = _usd_per_gpu_s(prices.price("modal", row["ceiling"])) if "ceiling" in row else usd_per_s
    return Gpu(
        name=row["name"],
        device=find_device(row.get("device", row["name"])),
        usd_per_s=usd_per_s,
        ceiling_usd_per_s=max(usd_per_s, ceiling),
        price=price,
        max_count=row["max_count"],
        host_count=row["host_count"],
    )


def _usd_per_gpu_s(price: Price) -> Decimal:
    """Modal states its prices per second; users and other providers state theirs per hour."""
    return price.usd_per_gpu_hour / 3600 if price.unit in GPU_TIME else _usd_in("usd_per_gpu_second", price)


def _usd_in(unit: Unit, price: Price) -> Decimal:
    if price.unit == unit:
        return price.usd
    files = {"user": user_file(), "project": project_file()}
    where = f"the {price.layer}'s prices" + (f" ({files[price.layer]})" if price.layer in files else "")
    raise SpecError(
        f"{where} have {price.provider} {price.sku} in {price.unit}, and it is needed in {unit}. "
        f"Add a newer row in that unit (`ftsdk prices add {price.provider} {price.sku} --unit {unit} ...`), or take "
        "the row out"
    )


def read_gpus(asked: str | Sequence[str], book: Book) -> tuple[tuple[GpuChoice, ...], list[Gap]]:
    """Read GPU strings: one, or several in the order of preference.

    Returns:
        The choices that can be had, and a gap for everything else.
    """
    words = [asked] if isinstance(asked, str) else list(asked)
    if words == [CPU_ONLY]:
        return (), []
    choices: list[GpuChoice] = []
    gaps: list[Gap] = []
    if not words:
        gaps.append(
            Gap("backend.gpu", (), tuple(book.gpus), "an empty list names no GPU; leave gpu out, and one is chosen")
        )
    for word in words:
        match = _CHOICE.match(word.strip())
        name = match["name"].upper() if match else word.strip()
        gpu = book.gpus.get(name)
        if gpu is None:
            reason = (
                f"{CPU_ONLY!r} means no GPU at all, so it has no alternatives"
                if name == CPU_ONLY.upper()
                else _unknown(name, book)
            )
            gaps.append(Gap("backend.gpu", word, tuple(book.gpus), reason))
            continue
        count = int(match["count"]) if match and match["count"] else 1
        if not 1 <= count <= gpu.max_count:
            gaps.append(
                Gap(
                    "backend.gpu",
                    word,
                    (f"{gpu.name}:{gpu.max_count}",),
                    f"one container has 1 to {gpu.max_count} of {gpu.name}",
                )
            )
            continue
        choices.append(GpuChoice(gpu=gpu, count=count))
    if len({choice.count for choice in choices}) > 1:
        counts = ", ".join(map(str, choices))
        gaps.append(
            Gap(
                "backend.gpu",
                tuple(words),
                (choices[0].count,),
                f"{counts}: alternatives need the same count, since it decides how the batch is split",
            )
        )
    return tuple(choices), gaps


def _unknown(name: str, book: Book) -> str:
    return f"Modal rents no {name!r}{nearest(name, set(book.gpus))}"
