"""Prices of GPU time in gpuhunt's catalogues: one CSV for each provider, or a zip of them."""

from __future__ import annotations

import csv
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from datetime import date
from decimal import Decimal, InvalidOperation
from statistics import median_high

from ftsdk._format import printable
from ftsdk.cost.pricebook.feed_row import BadRow, amount, known_provider, make_price
from ftsdk.cost.pricebook.feed_source import feed_facts, feed_limit
from ftsdk.cost.pricebook.price import Price
from ftsdk.errors import SpecError

__all__ = ["catalogue_rows", "zipped_catalogues"]

_MOST_COLUMNS = 100


def zipped_catalogues(content: bytes, *, source: str, as_of: date) -> Iterator[Price | BadRow | None]:
    """Yield the prices of every CSV in a zip, each named after its provider.

    Raises:
        SpecError: It isn't a zip, or it is larger than the limits when it is unpacked.
    """
    left = feed_limit("unpacked_bytes")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for member in archive.infolist()[:1000]:
                if not member.filename.endswith(".csv"):
                    continue
                with archive.open(member) as file:
                    text = file.read(left + 1)
                left -= len(text)
                if left < 0:
                    raise SpecError(f"{source} is larger than the most that is read of a feed when it is unpacked")
                provider = member.filename.rpartition("/")[2].removesuffix(".csv")
                yield from catalogue_rows(text.decode("utf-8"), provider=provider, source=source, as_of=as_of)
    except SpecError:
        raise
    except (zipfile.BadZipFile, RuntimeError, ValueError, OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise SpecError(f"{source} isn't a zip of catalogues that can be read: {error}") from error


def catalogue_rows(text: str, *, provider: str, source: str, as_of: date) -> Iterator[Price | BadRow | None]:
    """Yield one price for each instance: the median over its locations, with the lowest and the highest.

    Args:
        text: The CSV, with columns `instance_name`, `price` (US dollars an hour), `gpu_count`, `gpu_name`,
            `gpu_memory` (GB) and `spot`.
        provider: Whose catalogue it is.
        source: Of its prices.
        as_of: The day on which it was read.

    Raises:
        SpecError: A line can't be read.
    """
    seller = known_provider(provider)
    offers: dict[tuple[str, str, int, bool], list[Decimal]] = {}
    try:
        reader = csv.reader(io.StringIO(text, newline=""))
        head = next(reader, [])
        if len(head) > _MOST_COLUMNS:
            raise SpecError(f"{source} has {len(head):,} columns, more than any catalogue of GPUs")
        for cells in reader:
            row = dict(zip(head, cells, strict=False))
            name, gpu, count = row.get("instance_name") or "", row.get("gpu_name") or "", row.get("gpu_count") or ""
            if not gpu or count in ("", "0"):
                continue  # a machine without a GPU
            try:
                usd = Decimal(row.get("price") or "0")
                if usd == 0:
                    yield None
                    continue
                # A sku is one word.
                key = (
                    (name or gpu).replace(" ", "-"),
                    _gpu(gpu, row.get("gpu_memory")),
                    _count(count),
                    _is_spot(row.get("spot")),
                )
                one = amount(usd)
                offers.setdefault(key, []).append(one)
            except (InvalidOperation, ValueError, SpecError) as error:
                why = str(error) if isinstance(error, SpecError) else f"the price {row.get('price')!r} isn't a number"
                yield BadRow(printable(f"{seller} {name}", 120), printable(why, 120))
    except csv.Error as error:
        raise SpecError(f"{source} isn't a CSV that can be read: {error}") from error
    for (name, gpu, gpus, is_spot), amounts in offers.items():
        offer = "spot" if is_spot else "on-demand"
        yield make_price(
            seller,
            name,
            sku=f"{offer}/{name}/{gpus}x{gpu}",
            unit="usd_per_instance_hour",
            usd=median_high(amounts),
            usd_min=min(amounts),
            usd_max=max(amounts),
            samples=len(amounts),
            gpu=gpu,
            gpus=gpus,
            offer=offer,
            source=source,
            as_of=as_of,
        )


def _gpu(name: str, memory: str | None) -> str:
    """Return the price book's name for a GPU, which has the memory where it is sold with several sizes."""
    size = (memory or "").partition(".")[0]
    names = feed_facts()["gpus"]
    return str(names.get(f"{name} {size}", names.get(name, name[:60])))


def _count(text: str) -> int:
    count = Decimal(text)
    if count != count.to_integral_value() or not 1 <= count <= 1024:
        raise SpecError(f"{text[:20]!r} isn't a number of GPUs")
    return int(count)


def _is_spot(text: str | None) -> bool:
    return (text or "").strip().lower() == "true"
