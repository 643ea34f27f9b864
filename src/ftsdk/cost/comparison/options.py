"""What each way to serve a workload costs in a month, as functions of the numbers that are uncertain.

A `Draw` holds those numbers: floats for the expected case, arrays for many scenarios at once. One formula answers both, so the table
and the probability can't disagree. Sums are floats here, since throughput is measured; amounts are rounded to Decimal when they are shown.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from ftsdk._format import money
from ftsdk.cost.comparison.workload import Operations, Quality
from ftsdk.cost.serving.traffic import cold_share, on_fraction

__all__ = ["MONTH_H", "MONTH_S", "AlwaysOn", "Common", "Draw", "Line", "Option", "PerToken", "Replica", "Sleeping"]

MONTH_H = 730
MONTH_S = MONTH_H * 3600

Number = Any
"""A float, or a numpy array of scenarios."""


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
    peak_to_mean: Number
    training_usd: Number
    api_accepted: Number
    own_accepted: Number
    throughput: Number = 1.0
    """Times what the serving model says."""
    gpu_price: Number = 1.0
    """Times the price of today."""
    api_price: Number = 1.0
    ops_hours: Number = 1.0
    """Times the hours that are planned."""


@dataclass(frozen=True, kw_only=True)
class Common:
    """What doesn't depend on where the model runs."""

    quality: Quality
    operations: Operations
    retrains_per_year: float
    training_source: str
    training_as_of: str | None = None

    def retraining_usd(self, draw: Draw) -> Number:
        """Dollars a month for training it again."""
        o = self.operations
        each = draw.training_usd * (1 + o.failed_share) + float(o.data_usd_per_retrain) + o.hours_per_retrain * float(o.usd_per_hour) * draw.ops_hours
        return each * self.retrains_per_year / 12

    def setup_usd(self, draw: Draw) -> Number:
        """Dollars once: the first training, and getting it to run."""
        o = self.operations
        return draw.training_usd * (1 + o.failed_share) + float(o.data_usd_per_retrain) + o.setup_hours * float(o.usd_per_hour) * draw.ops_hours

    def own_requests(self, draw: Draw) -> Number:
        """Requests that reach your own model in a month."""
        return draw.requests / draw.own_accepted if self.quality.rejected == "retry" else draw.requests


class _Option(ABC):
    """What is billed by the month."""

    has_setup: ClassVar[bool]
    """Does somebody have to train and install something first?"""

    @abstractmethod
    def lines(self, draw: Draw, common: Common) -> list[Line]:
        """Bill a month."""

    def monthly_usd(self, draw: Draw, common: Common) -> Number:
        """Sum of the lines."""
        return sum(line.usd for line in self.lines(draw, common))


@dataclass(frozen=True, kw_only=True)
class PerToken(_Option):
    """An API."""

    name: str
    label: str
    usd_per_request: float
    detail: str
    source: str
    as_of: str | None
    has_setup: ClassVar[bool] = False

    def lines(self, draw: Draw, common: Common) -> list[Line]:
        """Bill a month."""
        quality = common.quality
        reviewed = quality.rejected == "review"
        attempts = draw.requests if reviewed else draw.requests / draw.api_accepted
        lines = [Line("tokens", attempts * self.usd_per_request * draw.api_price, self.detail, self.source, self.as_of)]
        if reviewed and quality.review_usd:
            rejected = draw.requests * (1 - draw.api_accepted)
            lines.append(
                Line("review", rejected * float(quality.review_usd), f"{money(quality.review_usd)} for each answer not accepted", "assumed", None)
            )
        return lines


@dataclass(frozen=True, kw_only=True)
class Replica:
    """What serves one copy of the model: what it takes, and what it costs."""

    gpu: str
    gpus: int
    requests_per_s: float
    """Sustained."""
    usd_per_gpu_hour: float
    source: str
    as_of: str | None


@dataclass(frozen=True, kw_only=True)
class _Own(_Option):
    """What all options with a model of your own share."""

    name: str
    label: str
    replica: Replica
    api: PerToken
    """To which answers fall back that aren't accepted."""
    ops_share: float = 1.0
    other_usd: float = 0.0
    has_setup: ClassVar[bool] = True

    @abstractmethod
    def compute(self, draw: Draw, common: Common) -> list[Line]:
        """Bill the GPUs."""

    def lines(self, draw: Draw, common: Common) -> list[Line]:
        """Bill a month."""
        o, quality = common.operations, common.quality
        lines = self.compute(draw, common)
        if self.other_usd:
            lines.append(Line("storage, network", self.other_usd, "", "assumed", None))
        rejected = draw.requests * (1 - draw.own_accepted)
        if quality.rejected == "fallback" and quality.own_accepted < 1:
            usd = rejected / draw.api_accepted * self.api.usd_per_request * draw.api_price
            lines.append(Line("fallback to the API", usd, f"{1 - quality.own_accepted:.1%} of the answers", self.api.source, self.api.as_of))
        if quality.rejected == "review" and quality.review_usd:
            lines.append(
                Line("review", rejected * float(quality.review_usd), f"{money(quality.review_usd)} for each answer not accepted", "assumed", None)
            )
        hours = o.hours_per_month * self.ops_share
        people = hours * float(o.usd_per_hour) * draw.ops_hours
        lines.append(Line("operations", people, f"{hours:g} h at ${o.usd_per_hour}", "assumed", None))
        if common.retrains_per_year:
            detail = f"{common.retrains_per_year:g} a year, {o.failed_share:.0%} more for runs thrown away, {o.hours_per_retrain:g} h each"
            lines.append(Line("training again", common.retraining_usd(draw), detail, common.training_source, common.training_as_of))
        detail = f"first training and {o.setup_hours:g} h, spread over {o.setup_months} months"
        lines.append(Line("setting up", common.setup_usd(draw) / o.setup_months, detail, common.training_source, common.training_as_of))
        return lines


@dataclass(frozen=True, kw_only=True)
class AlwaysOn(_Own):
    """GPUs that run all month: bought for the peak, in whole replicas."""

    replicas: int = 1
    spare_replicas: int = 0
    adapters: int = 1

    def replicas_for(self, draw: Draw, common: Common) -> Number:
        """Whole replicas for the peak, the spare ones included."""
        import numpy as np

        peak = common.own_requests(draw) / MONTH_S * draw.peak_to_mean * self.adapters
        # A hair less than whole, so that a volume computed as the end of a step lies on that step.
        needed = np.ceil(peak / (self.replica.requests_per_s * draw.throughput) - 1e-9)
        return np.maximum(np.maximum(needed, 1) + self.spare_replicas, self.replicas)

    def compute(self, draw: Draw, common: Common) -> list[Line]:
        """Bill the GPUs, busy or not."""
        gpus = self.replicas_for(draw, common) * self.replica.gpus
        usd = gpus * self.replica.usd_per_gpu_hour * draw.gpu_price * MONTH_H / self.adapters
        shared = "" if self.adapters == 1 else f", shared by {self.adapters} adapters"
        detail = f"{_count(gpus)} x {self.replica.gpu} x {MONTH_H} h at {_rate(self.replica.usd_per_gpu_hour)}{shared}"
        return [Line("GPUs", usd, detail, self.replica.source, self.replica.as_of)]

    def steps(self, draw: Draw, common: Common, largest: float) -> list[float]:
        """Volumes up to `largest` after which one more replica is needed."""
        per_replica = (
            draw.requests / common.own_requests(draw) * self.replica.requests_per_s * draw.throughput * MONTH_S / draw.peak_to_mean / self.adapters
        )
        first = max(1, self.replicas - self.spare_replicas)
        last = min(int(largest / per_replica), first + 5000)
        return [per_replica * n for n in range(first, last + 1)]


@dataclass(frozen=True, kw_only=True)
class Sleeping(_Own):
    """Serverless: replicas come and go with the traffic. Arrivals are taken as Poisson at the mean rate."""

    busy_s: float
    idle_window_s: float
    cold_start_s: float
    extra_usd_per_hour: float = 0.0
    """CPU and memory, where they are billed beside the GPU."""

    def on_hours(self, draw: Draw, common: Common) -> Number:
        """Replica-hours a month that are billed."""
        import numpy as np

        rate = common.own_requests(draw) / MONTH_S
        one = on_fraction(rate, busy_s=self.busy_s / draw.throughput, idle_window_s=self.idle_window_s, cold_start_s=self.cold_start_s)
        # Beyond one replica, as many as the traffic of the hour needs: on average that of the mean.
        return MONTH_H * np.maximum(one, rate / (self.replica.requests_per_s * draw.throughput))

    def cold_share(self, draw: Draw, common: Common) -> Number:
        """Share of the requests that wait for a cold start."""
        return cold_share(common.own_requests(draw) / MONTH_S, busy_s=self.busy_s, idle_window_s=self.idle_window_s)

    def compute(self, draw: Draw, common: Common) -> list[Line]:
        """Bill the seconds that replicas are up, cold starts included."""
        hours = self.on_hours(draw, common)
        per_hour = self.replica.gpus * self.replica.usd_per_gpu_hour * draw.gpu_price + self.extra_usd_per_hour
        beside = f" + {_rate(self.extra_usd_per_hour)} for CPU and memory" if self.extra_usd_per_hour else ""
        detail = f"{_count(hours)} replica-hours x {self.replica.gpus} x {self.replica.gpu} at {_rate(self.replica.usd_per_gpu_hour)}{beside}"
        return [Line("GPUs, cold starts", hours * per_hour, detail, self.replica.source, self.replica.as_of)]


Option = PerToken | AlwaysOn | Sleeping


def _count(number: Number) -> str:
    """Only the expected case is printed; for arrays nobody reads it."""
    return f"{float(number):,.0f}" if getattr(number, "ndim", 0) == 0 else ""


def _rate(usd: float) -> str:
    """A price per hour in four digits, never as 1e-09."""
    return f"${usd:.4g}" if 1e-4 <= usd < 1000 else money(usd)
