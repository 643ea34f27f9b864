"""From use to a bill, by each provider's rule.

Pure: quantities and prices in, charges out; every charge keeps its price.

Units can't be mixed: each function asks its prices for the unit it needs, and a price of another unit is refused.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Decimal
from typing import Any

from ftsdk._format import money
from ftsdk._rich_text import rich_text
from ftsdk.cost.pricebook.price import Price
from ftsdk.errors import SpecError
from ftsdk.spec import Value
from ftsdk.spec.base import Usd

__all__ = [
    "Bill",
    "Charge",
    "dedicated_endpoint_cost",
    "finetune_cost",
    "finetune_tokens",
    "gpu_time_cost",
    "per_second_gpu_cost",
    "together_finetune_cost",
    "together_finetune_tokens",
]

_MTOK = 1_000_000
_MODAL_LEAST_CORES = 0.125


class Charge(Value):
    """One line of a bill."""

    label: str
    quantity: Decimal
    unit: str
    """What the quantity counts, such as `training tokens` or `GPU-hours`."""
    usd: Usd
    price: Price
    """The price it was computed with, which has source and day."""
    factor: Decimal = Decimal(1)
    """What the price was multiplied by, such as for a region."""

    def __str__(self) -> str:
        times = "" if self.factor == 1 else f" x {self.factor.normalize():f}"
        return f"{self.label}: {_short(self.quantity)} {self.unit}{times} = {money(self.usd, places=4)} ({self.price})"

    __rich__ = rich_text


class Bill(Value):
    """Charges and their sum."""

    charges: tuple[Charge, ...]

    @property
    def usd(self) -> Decimal:
        """The sum in US dollars, exact."""
        return sum((charge.usd for charge in self.charges), Decimal(0))

    def __add__(self, other: Bill) -> Bill:
        return Bill(charges=self.charges + other.charges)

    def __str__(self) -> str:
        return "\n".join([*(str(charge) for charge in self.charges), f"total: {money(self.usd, places=2)}"])

    __rich__ = rich_text

    def to_dict(self) -> dict[str, Any]:
        """Return the bill as plain data, with its sum."""
        return {"usd": float(self.usd), **super().to_dict()}

    def to_html(self) -> str:
        """Return the bill as an HTML table."""
        from ftsdk.cost.pricebook.price_tables import bill_html

        return bill_html(self)

    def _repr_html_(self) -> str:
        return self.to_html()


def finetune_tokens(*, train_tokens: int, epochs: float, validation_tokens: int = 0, evaluations: int = 0) -> int:
    """Count what a service bills for that counts real tokens: those of training by epochs, and those of evaluations.

    Args:
        train_tokens: Tokens of the training rows, once.
        epochs: Passes over them.
        validation_tokens: Tokens of the validation rows, once; 0 where evaluations aren't billed.
        evaluations: How often they are evaluated.

    Raises:
        SpecError: A quantity is negative.
    """
    _not_negative(
        train_tokens=train_tokens, epochs=epochs, validation_tokens=validation_tokens, evaluations=evaluations
    )
    return math.ceil(train_tokens * _exact(epochs)) + validation_tokens * evaluations


def together_finetune_tokens(
    *,
    train_tokens: int,
    epochs: float,
    rows: int | None = None,
    max_length: int | None = None,
    packing: bool = True,
    validation_tokens: int = 0,
    evaluations: int = 0,
) -> int:
    """Count what Together bills: `n_epochs * train_tokens + n_evals * val_tokens`.

    Without packing each row is `max_length` tokens.

    Args:
        train_tokens: Tokens of the training rows, once.
        epochs: Passes over them.
        rows: Training rows; needed without packing.
        max_length: Tokens that a row is padded or cut to; needed without packing.
        packing: Several rows share a sequence, so nothing is padded.
        validation_tokens: Tokens of the validation rows, once.
        evaluations: How often they are evaluated.

    Raises:
        SpecError: A quantity is negative, or without packing rows or max_length are missing.

    Source: https://docs.together.ai/docs/fine-tuning/pricing, read 2026-09-09.
    """
    if packing:
        return finetune_tokens(
            train_tokens=train_tokens, epochs=epochs, validation_tokens=validation_tokens, evaluations=evaluations
        )
    if rows is None or max_length is None:
        raise SpecError("without packing Together bills rows x max_length tokens: give rows= and max_length=")
    _not_negative(rows=rows, max_length=max_length)
    return finetune_tokens(
        train_tokens=rows * max_length, epochs=epochs, validation_tokens=validation_tokens, evaluations=evaluations
    )


def finetune_cost(*, tokens: int, price: Price, minimum: Price | None = None) -> Bill:
    """Bill training tokens, and what is missing to the least that a job costs.

    Args:
        tokens: Billed tokens, from `together_finetune_tokens` or `finetune_tokens`.
        price: Per million training tokens.
        minimum: Per job; None if there is none.

    Raises:
        SpecError: A price has another unit, or tokens are negative.
    """
    _not_negative(tokens=tokens)
    usd = tokens * price.usd_in("usd_per_1m_training_tokens") / _MTOK
    charges = [Charge(label="training", quantity=Decimal(tokens), unit="training tokens", usd=usd, price=price)]
    if minimum is not None and (missing := minimum.usd_in("usd_per_job") - usd) > 0:
        charges.append(Charge(label="up to the minimum", quantity=Decimal(1), unit="job", usd=missing, price=minimum))
    return Bill(charges=tuple(charges))


together_finetune_cost = finetune_cost


def gpu_time_cost(*, seconds: float, gpus: int, price: Price, step_s: int | None = None, label: str = "GPU") -> Bill:
    """Bill GPU time.

    Args:
        seconds: How long all of them are held.
        gpus: How many.
        price: Of GPU time, in any of its units.
        step_s: Time is billed in steps of so many seconds, rounded up; None bills it exactly.
        label: Name of the line.

    Raises:
        SpecError: It isn't a price of GPU time, or a quantity is negative.
    """
    _not_negative(seconds=seconds, gpus=gpus)
    hours = gpus * _stepped(seconds, step_s) / 3600
    return Bill(
        charges=(
            Charge(label=label, quantity=hours, unit="GPU-hours", usd=hours * price.usd_per_gpu_hour, price=price),
        )
    )


def per_second_gpu_cost(
    *,
    seconds: float,
    gpus: int,
    price: Price | None,
    cores: float = 0,
    core_price: Price | None = None,
    memory_gib: float = 0,
    memory_price: Price | None = None,
    region: Price | None = None,
    cold_start_s: float = 0,
) -> Bill:
    """Bill a container as Modal does: GPU, physical cores and memory by the second, the cold start included.

    Args:
        seconds: How long the container works, or waits for work.
        gpus: GPUs in it.
        price: Of GPU time; None if there is no GPU in it.
        cores: Physical cores: the larger of what was asked for and what was used; at least 0.125 are billed.
        core_price: Per core-second; needed if cores are given.
        memory_gib: The larger of what was asked for and what was used.
        memory_price: Per GiB-second; needed if memory is given.
        region: The multiplier of a pinned region, on all three; None if none is pinned.
        cold_start_s: Seconds until the container works, which are billed.

    Raises:
        SpecError: A price has the wrong unit or is missing, or a quantity is negative.

    Source: https://modal.com/pricing, read 2026-10-04.
    """
    _not_negative(seconds=seconds, gpus=gpus, cores=cores, memory_gib=memory_gib, cold_start_s=cold_start_s)
    factor = Decimal(1) if region is None else region.usd_in("multiplier")
    held = _stepped(_exact(seconds) + _exact(cold_start_s), 1)
    charges: list[Charge] = []
    if price is not None:
        usd = gpus * held / 3600 * price.usd_per_gpu_hour * factor
        charges.append(
            Charge(label="GPU", quantity=gpus * held, unit="GPU-seconds", usd=usd, price=price, factor=factor)
        )
    elif gpus:
        raise SpecError("GPUs are billed: give price=, such as gpu_price('L4', 'modal')")
    if cores:
        if core_price is None:
            raise SpecError("cores are billed too: give core_price=, such as book.price('modal', 'cpu/physical-core')")
        quantity = _exact(max(cores, _MODAL_LEAST_CORES)) * held
        usd = quantity * core_price.usd_in("usd_per_core_second") * factor
        charges.append(
            Charge(label="CPU", quantity=quantity, unit="core-seconds", usd=usd, price=core_price, factor=factor)
        )
    if memory_gib:
        if memory_price is None:
            raise SpecError("memory is billed too: give memory_price=, such as book.price('modal', 'memory/gib')")
        quantity = _exact(memory_gib) * held
        usd = quantity * memory_price.usd_in("usd_per_gib_second") * factor
        charges.append(
            Charge(label="memory", quantity=quantity, unit="GiB-seconds", usd=usd, price=memory_price, factor=factor)
        )
    return Bill(charges=tuple(charges))


def dedicated_endpoint_cost(
    *, busy_s: float, idle_s: float, replicas: int, price: Price, gpus_per_replica: int = 1
) -> Bill:
    """Bill a dedicated endpoint as Together does: whole minutes per running replica, idle or not.

    Provisioning isn't billed.

    Args:
        busy_s: Seconds in which it answers.
        idle_s: Seconds in which it runs without a request. With scale to zero, the window until it stops.
        replicas: How many run.
        price: Of GPU time.
        gpus_per_replica: GPUs in each.

    Raises:
        SpecError: It isn't a price of GPU time, or a quantity is negative.

    Source: https://docs.together.ai/docs/dedicated-endpoints/pricing, read 2026-10-07.
    """
    _not_negative(busy_s=busy_s, idle_s=idle_s, replicas=replicas, gpus_per_replica=gpus_per_replica)
    return gpu_time_cost(
        seconds=float(_exact(busy_s) + _exact(idle_s)),
        gpus=replicas * gpus_per_replica,
        price=price,
        step_s=60,
        label="dedicated endpoint",
    )


def _exact(amount: float | Decimal) -> Decimal:
    return amount if isinstance(amount, Decimal) else Decimal(str(amount))


def _stepped(seconds: float | Decimal, step_s: int | None) -> Decimal:
    exact = _exact(seconds)
    return exact if step_s is None else (exact / step_s).to_integral_value(ROUND_CEILING) * step_s


def _not_negative(**quantities: float) -> None:
    for name, amount in quantities.items():
        if not math.isfinite(amount) or amount < 0:
            raise SpecError(f"{name} is a quantity that is billed, so it can't be {amount}")


def _short(amount: Decimal) -> str:
    text = f"{amount:,.3f}"
    return text.rstrip("0").rstrip(".")
