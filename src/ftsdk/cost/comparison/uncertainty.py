"""How uncertain each number of a scenario is, and why."""

from __future__ import annotations

from ftsdk._format import money
from ftsdk.cost.comparison.monte_carlo import Distribution
from ftsdk.cost.comparison.options import Draw
from ftsdk.cost.comparison.scenario import Scenario
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.cost.pricebook.gpu_prices import gpu_prices
from ftsdk.cost.training.ranges import Z80

__all__ = ["distributions"]

_HYPERSCALERS = ("aws", "azure", "gcp")
_COMPARABLE_OFFERS = ("on-demand", "marketplace", "community", "spot")


def distributions(scenario: Scenario) -> tuple[Distribution, ...]:
    """Return the distribution of each uncertain number, with the reason for it."""
    inputs, expected = scenario.inputs, scenario.expected
    return (
        _requests(expected),
        _throughput(is_measured=inputs.self_hosted.requests_per_s_per_replica is not None),
        _peak(inputs.workload.peak_to_mean),
        _given_gpu_price()
        if inputs.self_hosted.gpu_usd_per_hour is not None
        else _gpu_price(inputs.self_hosted.gpu, scenario.own.placements[0].usd_per_gpu_hour, inputs.book),
        Distribution(
            input="api_price",
            kind="mixture",
            low=0.2,
            likely=1.0,
            high=2.0,
            why=(
                "judgement: 70% as today, 27% lower (one model fell 80% on 2026-07-30), 3% higher (one doubles on "
                "2027-01-01)"
            ),
        ),
        Distribution(
            input="ops_hours",
            kind="triangular",
            low=0.5,
            likely=1.0,
            high=3.0,
            why="judgement: it is usually underestimated",
        ),
        *_training(scenario),
        _accepted("api_accepted", expected.api_accepted, inputs.quality.measured_on),
        _accepted("own_accepted", expected.own_accepted, inputs.quality.measured_on),
    )


def _requests(expected: Draw) -> Distribution:
    return Distribution(
        input="requests",
        kind="lognormal",
        low=expected.requests * 0.6,
        likely=expected.requests,
        high=expected.requests / 0.6,
        why="judgement: volume is seldom known better than x0.6 to x1.7",
    )


def _throughput(*, is_measured: bool) -> Distribution:
    low, high = (0.9, 1.1) if is_measured else (0.7, 1.5)
    why = "measured by you" if is_measured else "spread of engines and hosts around the serving model"
    return Distribution(input="throughput", kind="lognormal", low=low, likely=(low * high) ** 0.5, high=high, why=why)


def _peak(peak: float) -> Distribution:
    low, high = max(1.0, 0.75 * peak), 1.5 * peak
    return Distribution(input="peak_to_mean", kind="triangular", low=low, likely=peak, high=high, why="judgement")


def _given_gpu_price() -> Distribution:
    why = "judgement: your own price is known to a tenth"
    return Distribution(input="gpu_price", kind="triangular", low=0.9, likely=1.0, high=1.1, why=why)


def _gpu_price(gpu: str, usd: float, book: PriceBook) -> Distribution:
    """From the cheapest price of the GPU to a hyperscaler's, over the price that is used."""
    rows = [row for row in gpu_prices(book=book) if row.gpu == gpu and row.offer in _COMPARABLE_OFFERS]
    if len({row.provider for row in rows}) < 3:
        why = "judgement: few prices of this GPU are known"
        return Distribution(input="gpu_price", kind="triangular", low=0.8, likely=1.0, high=1.25, why=why)
    cheapest = min(rows, key=lambda row: row.usd_per_gpu_hour)
    large = [row for row in rows if row.provider in _HYPERSCALERS and row.offer == "on-demand"]
    dearest = max(large or rows, key=lambda row: row.usd_per_gpu_hour)
    return Distribution(
        input="gpu_price",
        kind="triangular",
        low=min(float(cheapest.usd_per_gpu_hour) / usd, 1.0),
        likely=1.0,
        high=max(float(dearest.usd_per_gpu_hour) / usd, 1.0),
        why=(
            f"from {cheapest.provider} {cheapest.offer} {money(cheapest.usd_per_gpu_hour)} to {dearest.provider} "
            f"{money(dearest.usd_per_gpu_hour)} an hour"
        ),
    )


def _training(scenario: Scenario) -> tuple[Distribution, ...]:
    training = scenario.inputs.training
    if training.high <= training.low:
        return ()
    return (
        Distribution(
            input="training_usd",
            kind="interval",
            low=float(training.low),
            likely=float(training.likely),
            high=float(training.high),
            why=training.source,
        ),
    )


def _accepted(name: str, share: float, examples: int) -> Distribution:
    if 0 < share < 1:
        spread = Z80 * (share * (1 - share) / examples) ** 0.5
        why = f"a share measured on {examples} examples"
        return Distribution(input=name, kind="beta", low=share - spread, likely=share, high=share + spread, why=why)
    why = "every answer is assumed to be accepted: set it in Quality" if share else "no answer is accepted"
    return Distribution(input=name, kind="fixed", low=share, likely=share, high=share, why=why)
