"""What each way to serve a workload costs in a month, as functions of the numbers that are uncertain.

A `Draw` holds those numbers: floats for the expected case, arrays for many scenarios at once. One formula answers both,
so the table and the probability can't disagree. Sums are floats here, since throughput is measured; amounts are rounded
to Decimal when they are shown.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, NamedTuple

from ftsdk._format import money
from ftsdk.cost.comparison.workload import Operations, Quality
from ftsdk.cost.serving.capacity import Capacity
from ftsdk.cost.serving.traffic import cold_share, on_fraction

__all__ = [
    "MONTH_H",
    "MONTH_S",
    "AlwaysOn",
    "Draw",
    "Line",
    "Option",
    "PerToken",
    "Replica",
    "ScaleToZero",
    "SharedCosts",
]

MONTH_H = 730
MONTH_S = MONTH_H * 3600

Number = Any
"""A float, or a numpy array with one number per scenario."""


class Line(NamedTuple):
    """One line of a month's bill, not yet rounded."""

    label: str
    usd: Number
    detail: str
    source: str
    as_of: str | None


@dataclass(frozen=True, kw_only=True)
class Draw:
    """The uncertain numbers of one scenario, or of many."""

    requests: Number
    """A month."""
    peak_to_mean: Number
    training_usd: Number
    api_accepted: Number
    own_accepted: Number
    throughput: Number = 1.0
    """Times what the serving model predicts."""
    gpu_price: Number = 1.0
    """Times today's price."""
    api_price: Number = 1.0
    ops_hours: Number = 1.0
    """Times the hours that are planned."""


@dataclass(frozen=True, kw_only=True)
class SharedCosts:
    """What doesn't depend on where the model runs: quality, operations, training."""

    quality: Quality
    operations: Operations
    retrains_per_year: float
    training_source: str
    training_as_of: str | None = None

    def retraining_usd(self, draw: Draw) -> Number:
        """Return US dollars a month for retraining."""
        o = self.operations
        each = draw.training_usd * (1 + o.failed_share) + float(o.data_usd_per_retrain)
        each += o.hours_per_retrain * float(o.usd_per_hour) * draw.ops_hours
        return each * self.retrains_per_year / 12

    def setup_usd(self, draw: Draw) -> Number:
        """Return US dollars to be paid once: the first training, and the hours to get it running."""
        o = self.operations
        training = draw.training_usd * (1 + o.failed_share) + float(o.data_usd_per_retrain)
        return training + o.setup_hours * float(o.usd_per_hour) * draw.ops_hours

    def own_requests(self, draw: Draw) -> Number:
        """Return the requests that reach your own model in a month, retries included."""
        return draw.requests / draw.own_accepted if self.quality.rejected == "retry" else draw.requests

    def review(self, rejected: Number) -> list[Line]:
        """Return the line for answers that a person corrects; none if nobody does."""
        if self.quality.rejected != "review" or not self.quality.review_usd:
            return []
        detail = f"{money(self.quality.review_usd)} for each answer not accepted"
        return [Line("review", rejected * float(self.quality.review_usd), detail, "assumed", None)]


class _Option(ABC):
    """A way to serve the workload, billed by the month."""

    @abstractmethod
    def lines(self, draw: Draw, shared: SharedCosts) -> list[Line]:
        """Return a month's bill."""

    def monthly_usd(self, draw: Draw, shared: SharedCosts) -> Number:
        """Return the sum of the lines in US dollars."""
        return sum(line.usd for line in self.lines(draw, shared))


@dataclass(frozen=True, kw_only=True)
class PerToken(_Option):
    """An API."""

    name: str
    label: str
    usd_per_request: float
    """With the shared part of the prompt in the cache, if it can be cached."""
    cache_miss_usd: float = 0.0
    """What a request costs more when that part isn't in the cache."""
    cache_lifetime_s: float = 0.0
    detail: str
    source: str
    as_of: str | None
    accepted: float | None = None
    """Share of its answers that are good enough; None: as the API that is compared."""

    def request_usd(self, requests: Number) -> Number:
        """Return US dollars of one request at a monthly volume: rare requests find the cache empty."""
        if not self.cache_miss_usd:
            return self.usd_per_request
        import numpy as np

        # Arrivals are taken as Poisson: the chance that none came within the lifetime before.
        return self.usd_per_request + self.cache_miss_usd * np.exp(-requests / MONTH_S * self.cache_lifetime_s)

    def lines(self, draw: Draw, shared: SharedCosts) -> list[Line]:
        """Return a month's bill."""
        accepted = draw.api_accepted if self.accepted is None else self.accepted
        attempts = draw.requests if shared.quality.rejected == "review" else draw.requests / accepted
        usd = attempts * self.request_usd(attempts) * draw.api_price
        tokens = Line("tokens", usd, self.detail, self.source, self.as_of)
        return [tokens, *shared.review(draw.requests * (1 - accepted))]


@dataclass(frozen=True, kw_only=True)
class Replica:
    """One copy of the model on its GPUs, with what it can take and what it costs."""

    capacity: Capacity
    usd_per_gpu_hour: float
    source: str
    as_of: str | None
    cold_start_s: float = 0.0

    @property
    def gpu(self) -> str:
        """The GPU's name in the price book."""
        return self.capacity.gpu

    @property
    def gpus(self) -> int:
        """GPUs over which the model is split."""
        return self.capacity.gpus_per_replica

    @property
    def requests_per_s(self) -> float:
        """Sustained requests per second."""
        return self.capacity.requests_per_s


@dataclass(frozen=True, kw_only=True)
class _OwnModel(_Option):
    """What all options with a model of your own have in common."""

    name: str
    label: str
    placements: tuple[Replica, ...]
    """Ways to place one copy on GPUs.

    The one that takes the traffic for the least money is used, at each volume anew.
    """
    api: PerToken
    """Where answers fall back to that aren't accepted."""
    ops_share: float = 1.0
    other_usd: float = 0.0

    @abstractmethod
    def gpu_usd(self, replica: Replica, draw: Draw, shared: SharedCosts) -> Number:
        """Return US dollars a month for GPUs in one placement."""

    @abstractmethod
    def gpu_line(self, replica: Replica, usd: Number, draw: Draw, shared: SharedCosts) -> Line:
        """Return the line of the bill for GPUs in one placement."""

    def cheapest(self, draw: Draw, shared: SharedCosts) -> Replica:
        """Return the placement that is used in one scenario."""
        return min(self.placements, key=lambda replica: float(self.gpu_usd(replica, draw, shared)))

    def lines(self, draw: Draw, shared: SharedCosts) -> list[Line]:
        """Return a month's bill."""
        import numpy as np

        o, quality = shared.operations, shared.quality
        usd = functools.reduce(np.minimum, (self.gpu_usd(replica, draw, shared) for replica in self.placements))
        # Only the expected case is printed: of many scenarios nobody reads the words.
        replica = self.cheapest(draw, shared) if np.ndim(usd) == 0 else self.placements[0]
        lines = [self.gpu_line(replica, usd, draw, shared)]
        if self.other_usd:
            lines.append(Line("storage, network", self.other_usd, "", "assumed", None))
        rejected = draw.requests * (1 - draw.own_accepted)
        if quality.rejected == "fallback" and quality.own_accepted < 1:
            calls = rejected / draw.api_accepted
            fallback = calls * self.api.request_usd(calls) * draw.api_price
            detail = f"{1 - quality.own_accepted:.1%} of the answers"
            lines.append(Line("fallback to the API", fallback, detail, self.api.source, self.api.as_of))
        lines += shared.review(rejected)
        hours = o.hours_per_month * self.ops_share
        work = hours * float(o.usd_per_hour) * draw.ops_hours
        lines.append(Line("operations", work, f"{hours:g} h at {money(o.usd_per_hour)}", "assumed", None))
        if shared.retrains_per_year:
            detail = (
                f"{shared.retrains_per_year:g} a year, {o.failed_share:.0%} more for failed runs, "
                f"{o.hours_per_retrain:g} h each"
            )
            lines.append(
                Line("retraining", shared.retraining_usd(draw), detail, shared.training_source, shared.training_as_of)
            )
        detail = f"first training and {o.setup_hours:g} h, spread over {o.setup_months} months"
        lines.append(
            Line(
                "setup", shared.setup_usd(draw) / o.setup_months, detail, shared.training_source, shared.training_as_of
            )
        )
        return lines


@dataclass(frozen=True, kw_only=True)
class AlwaysOn(_OwnModel):
    """GPUs that run all month: bought for the peak, in whole replicas."""

    replicas: int = 1
    spare_replicas: int = 0
    adapters: int = 1

    def replicas_for(self, replica: Replica, draw: Draw, shared: SharedCosts) -> Number:
        """Return how many whole replicas the peak needs, the spare ones included."""
        import numpy as np

        peak = shared.own_requests(draw) / MONTH_S * draw.peak_to_mean * self.adapters
        # A hair less than whole, so that a volume computed as the end of a step lies on that step.
        needed = np.ceil(peak / (replica.requests_per_s * draw.throughput) - 1e-9)
        return np.maximum(np.maximum(needed, 1) + self.spare_replicas, self.replicas)

    def gpu_usd(self, replica: Replica, draw: Draw, shared: SharedCosts) -> Number:
        """Return US dollars a month for GPUs in one placement, busy or not."""
        gpus = self.replicas_for(replica, draw, shared) * replica.gpus
        return gpus * replica.usd_per_gpu_hour * draw.gpu_price * MONTH_H / self.adapters

    def gpu_line(self, replica: Replica, usd: Number, draw: Draw, shared: SharedCosts) -> Line:
        """Return the line of the bill for GPUs in one placement."""
        gpus = self.replicas_for(replica, draw, shared) * replica.gpus
        by = "" if self.adapters == 1 else f", shared by {self.adapters} adapters"
        detail = f"{_count(gpus)} x {replica.gpu} x {MONTH_H} h at {_rate(replica.usd_per_gpu_hour)}{by}"
        return Line("GPUs", usd, detail, replica.source, replica.as_of)

    def steps(self, draw: Draw, shared: SharedCosts, largest: float) -> list[float]:
        """Return the volumes up to `largest` after which one more replica is needed, in any placement."""
        reached = (
            draw.requests / shared.own_requests(draw) * draw.throughput * MONTH_S / draw.peak_to_mean / self.adapters
        )
        first = max(1, self.replicas - self.spare_replicas)
        steps: set[float] = set()
        for replica in self.placements:
            per_replica = reached * replica.requests_per_s
            last = min(int(largest / per_replica), first + 5000)
            steps.update(per_replica * n for n in range(first, last + 1))
        return sorted(steps)


@dataclass(frozen=True, kw_only=True)
class ScaleToZero(_OwnModel):
    """Serverless: replicas come and go with the traffic. Arrivals are taken as Poisson at the mean rate."""

    idle_window_s: float
    extra_usd_per_hour: float = 0.0
    """CPU and memory, where they are billed beside the GPU."""

    def on_hours(self, replica: Replica, draw: Draw, shared: SharedCosts) -> Number:
        """Return the replica-hours that are billed in a month."""
        import numpy as np

        rate = shared.own_requests(draw) / MONTH_S
        one = on_fraction(
            rate,
            busy_s=replica.capacity.alone_s / draw.throughput,
            idle_window_s=self.idle_window_s,
            cold_start_s=replica.cold_start_s,
        )
        # Beyond one replica, as many as the traffic of the hour needs: on average that of the mean.
        return MONTH_H * np.maximum(one, rate / (replica.requests_per_s * draw.throughput))

    def cold_share(self, replica: Replica, draw: Draw, shared: SharedCosts) -> Number:
        """Return the share of the requests that wait for a cold start."""
        rate = shared.own_requests(draw) / MONTH_S
        return cold_share(rate, busy_s=replica.capacity.alone_s, idle_window_s=self.idle_window_s)

    def gpu_usd(self, replica: Replica, draw: Draw, shared: SharedCosts) -> Number:
        """Return US dollars a month for the seconds that replicas are up, cold starts included."""
        per_hour = replica.gpus * replica.usd_per_gpu_hour * draw.gpu_price + self.extra_usd_per_hour
        return self.on_hours(replica, draw, shared) * per_hour

    def gpu_line(self, replica: Replica, usd: Number, draw: Draw, shared: SharedCosts) -> Line:
        """Return the line of the bill for GPUs in one placement."""
        hours = self.on_hours(replica, draw, shared)
        beside = f" + {_rate(self.extra_usd_per_hour)} for CPU and memory" if self.extra_usd_per_hour else ""
        detail = (
            f"{_count(hours)} replica-hours x {replica.gpus} x {replica.gpu} at "
            f"{_rate(replica.usd_per_gpu_hour)}{beside}"
        )
        return Line("GPUs, cold starts", usd, detail, replica.source, replica.as_of)


Option = PerToken | AlwaysOn | ScaleToZero


def _count(number: Number) -> str:
    """Return a number without decimals; nothing for arrays, whose words nobody reads."""
    return f"{float(number):,.0f}" if getattr(number, "ndim", 0) == 0 else ""


def _rate(usd: float) -> str:
    """Return a price per hour in four digits, at least in cents, and never as 1e-09."""
    if not 1e-4 <= usd < 1000:
        return money(usd)
    whole, _, decimals = f"{usd:.4g}".partition(".")
    return f"${whole}.{decimals.ljust(2, '0')}"
