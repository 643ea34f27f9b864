"""From what was asked to options with prices: the price book and the serving model are read here, and nowhere after."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Protocol

from ftsdk.cost.comparison.monte_carlo import Distribution
from ftsdk.cost.comparison.options import AlwaysOn, Common, Draw, Option, PerToken, Replica, Sleeping
from ftsdk.cost.comparison.workload import Api, Dedicated, Operations, Quality, SelfHosted, Serverless, Workload
from ftsdk.cost.pricebook.api_prices import ApiPrice, api_price
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.cost.pricebook.gpu_prices import gpu_price, gpu_prices
from ftsdk.cost.pricebook.price import Price
from ftsdk.cost.serving.capacity import Capacity, ModelShape, capacity, cold_start_s, model_shape, serving_gpu
from ftsdk.cost.training.ranges import Z80
from ftsdk.errors import SpecError
from ftsdk.protocol import CostRange

__all__ = ["Case", "HasCost", "Question", "build_case", "distributions"]


class HasCost(Protocol):
    """What `training=` needs of an estimate."""

    @property
    def cost(self) -> CostRange | None:
        """Dollars of one training run; None if they aren't known, or nothing is billed."""
        ...

    @property
    def cost_note(self) -> str:
        """Why there is no cost."""
        ...


@dataclass(frozen=True, kw_only=True)
class Question:
    """Everything that was asked."""

    workload: Workload
    api: Api
    self_hosted: SelfHosted
    other_apis: tuple[Api, ...] = ()
    dedicated: Dedicated | None = None
    serverless: Serverless | None = None
    training: CostRange
    retrains_per_year: float = 0.0
    operations: Operations
    quality: Quality
    book: PriceBook


@dataclass(frozen=True, kw_only=True)
class Case:
    """The question with prices and capacities filled in."""

    question: Question
    options: tuple[Option, ...]
    """The API first, self-hosting second."""
    common: Common
    expected: Draw
    capacities: dict[str, Capacity]
    gpu_price_bounds: tuple[float, float, str]
    """The cheapest and the dearest over the price taken, and in words."""
    notes: tuple[str, ...]

    @property
    def api(self) -> Option:
        """The API that was asked about."""
        return self.options[0]

    @property
    def own(self) -> Option:
        """The self-hosted option."""
        return self.options[1]

    def at(self, requests: Any) -> Draw:
        """The expected case at another volume, or at an array of them."""
        return replace(self.expected, requests=requests)


def build_case(question: Question) -> Case:
    """Look up every price and compute every capacity.

    Raises:
        SpecError: A price isn't known, or a model fits on no GPU that was asked for.
    """
    notes: list[str] = []
    api = _api_option("api", question.api, question, notes)
    own, own_capacity, bounds = _self_hosted(question, api, notes)
    options: list[Option] = [api, own]
    capacities = {own.name: own_capacity}
    if question.dedicated is not None:
        option, found = _dedicated(question, question.dedicated, api, notes)
        options.append(option)
        capacities[option.name] = found
    if question.serverless is not None:
        made = _serverless(question, question.serverless, api, notes)
        if made is not None:
            options.append(made[0])
            capacities[made[0].name] = made[1]
    options += [_api_option(other.model, other, question, notes) for other in question.other_apis]
    for found in capacities.values():
        if not found.is_target_met:
            notes.append(
                f"{found.gpu} doesn't meet the {found.latency!r} target of {found.target_s:.1f} s even with one request at a time "
                f"({found.service_s:.1f} s): take a faster GPU, a smaller model, or latency='offline'"
            )
    training = question.training
    return Case(
        question=question,
        options=tuple(options),
        common=Common(
            quality=question.quality,
            operations=question.operations,
            retrains_per_year=question.retrains_per_year,
            training_source=training.source,
        ),
        expected=Draw(
            requests=question.workload.requests_per_month or 1.0,
            peak_to_mean=question.workload.peak_to_mean,
            training_usd=float(training.likely),
            api_accepted=question.quality.api_accepted,
            own_accepted=question.quality.own_accepted,
        ),
        capacities=capacities,
        gpu_price_bounds=bounds,
        notes=tuple(dict.fromkeys(notes)),
    )


def distributions(case: Case) -> tuple[Distribution, ...]:
    """State how each number is taken to vary."""
    q, expected = case.question, case.expected
    low, high, words = case.gpu_price_bounds
    training = q.training
    is_measured = q.self_hosted.requests_per_s_per_replica is not None
    around = (0.9, 1.1) if is_measured else (0.7, 1.5)
    peak = q.workload.peak_to_mean
    made = [
        Distribution(
            input="requests",
            kind="lognormal",
            low=expected.requests * 0.6,
            likely=expected.requests,
            high=expected.requests / 0.6,
            why="judgement: volume is seldom known better than x0.6 to x1.7",
        ),
        Distribution(
            input="throughput",
            kind="lognormal",
            low=around[0],
            likely=(around[0] * around[1]) ** 0.5,
            high=around[1],
            why="measured by you" if is_measured else "spread of engines and hosts around the serving model",
        ),
        Distribution(input="peak_to_mean", kind="triangular", low=max(1.0, 0.75 * peak), likely=peak, high=1.5 * peak, why="judgement"),
        Distribution(input="gpu_price", kind="triangular", low=low, likely=1.0, high=high, why=words),
        Distribution(
            input="api_price",
            kind="mixture",
            low=0.2,
            likely=1.0,
            high=2.0,
            why="judgement: 70 % as today, 27 % lower (one model fell 80 % on 2026-07-30), 3 % higher (one doubles on 2027-01-01)",
        ),
        Distribution(input="ops_hours", kind="triangular", low=0.5, likely=1.0, high=3.0, why="judgement: people underestimate it"),
    ]
    if training.high > training.low:
        made.append(
            Distribution(
                input="training_usd",
                kind="interval",
                low=float(training.low),
                likely=float(training.likely),
                high=float(training.high),
                why=training.source,
            )
        )
    for name, share in (("api_accepted", expected.api_accepted), ("own_accepted", expected.own_accepted)):
        if 0 < share < 1:
            spread = Z80 * (share * (1 - share) / q.quality.measured_on) ** 0.5
            why = f"a share measured on {q.quality.measured_on} examples"
            made.append(Distribution(input=name, kind="beta", low=share - spread, likely=share, high=share + spread, why=why))
        else:
            why = "every answer counts as accepted: say so in Quality" if share else "no answer is accepted"
            made.append(Distribution(input=name, kind="fixed", low=share, likely=share, high=share, why=why))
    return tuple(made)


def _api_option(name: str, api: Api, question: Question, notes: list[str]) -> PerToken:
    workload = question.workload
    ratio = api.tokenizer_ratio if api.tokenizer_ratio is not None else _tokenizer_ratio(api.model, notes)
    price = _api_price(api, question.book)
    rates = price.at(round(workload.input_tokens * ratio))
    cached_rate = rates.cached_input_usd_per_mtok or rates.input_usd_per_mtok
    share = workload.cached_input_share
    per_mtok = workload.input_tokens * ((1 - share) * float(rates.input_usd_per_mtok) + share * float(cached_rate))
    per_mtok += workload.output_tokens * float(rates.output_usd_per_mtok)
    cached = f", ${cached_rate:f} cached ({share:.0%} of the prompt)" if share else ""
    more = f", {ratio:g} x the tokens" if ratio != 1 else ""
    retried = f", {api.retry_share:.0%} sent again" if api.retry_share else ""
    if rates is not price:
        notes.append(
            f"{api.model}: prompts of this length are billed at the higher tier as a whole, ${rates.input_usd_per_mtok:f} per million tokens in"
        )
    if price.note:
        notes.append(f"{api.model}: {price.note}")
    _note_age(api.model, (question.book.today - price.as_of).days, notes)
    return PerToken(
        name=name,
        label=api.model + (" (batch)" if api.is_batch else ""),
        usd_per_request=(1 + api.retry_share) * ratio * per_mtok / 1e6,
        detail=f"${rates.input_usd_per_mtok:f} in{cached}, ${rates.output_usd_per_mtok:f} out per million tokens{more}{retried}",
        source=price.source,
        as_of=str(price.as_of),
    )


def _api_price(api: Api, book: PriceBook) -> ApiPrice:
    if api.input_usd_per_mtok is None and api.output_usd_per_mtok is None:
        return api_price(api.model, batch=api.is_batch, book=book)
    if api.input_usd_per_mtok is None or api.output_usd_per_mtok is None:
        raise SpecError(f"the price of {api.model} is given by half: set both input_usd_per_mtok and output_usd_per_mtok, or neither")
    provider, _, model = api.model.rpartition("/")
    return ApiPrice(
        provider=provider or "given",
        model=model,
        input_usd_per_mtok=api.input_usd_per_mtok,
        output_usd_per_mtok=api.output_usd_per_mtok,
        cached_input_usd_per_mtok=api.cached_input_usd_per_mtok,
        is_batch=api.is_batch,
        source=api.source,
        as_of=book.today,
        layer="call",
    )


def _tokenizer_ratio(model: str, notes: list[str]) -> float:
    """Claude models from 4.7 on make about 30 % more tokens of the same text (public notes, 2026)."""
    found = re.fullmatch(r"anthropic/claude-[a-z]+-(\d)(?:-(\d))?(?:-\d{8})?", model)
    if found and (int(found[1]), int(found[2] or 0)) >= (4, 7):
        notes.append(
            f"{model} is taken to make 30 % more tokens of the same text than other tokenizers; set Api(tokenizer_ratio=...) if you measured it"
        )
        return 1.3
    return 1.0


def _shape(question: Question) -> ModelShape:
    return question.self_hosted.shape or model_shape(question.self_hosted.model)


def _capacity(question: Question, gpu: str, gpus: int | None, *, is_own_gpu: bool, is_adapter: bool = False) -> Capacity:
    """One replica's capacity; a measurement counts for the GPU on which it was made."""
    own, workload = question.self_hosted, question.workload
    measured = own.requests_per_s_per_replica
    if is_own_gpu and measured is not None:
        return Capacity(
            gpu=gpu,
            gpus_per_replica=gpus or 1,
            weights=own.weights or "bf16",
            latency=own.latency,
            slots=1,
            service_s=1 / measured,
            alone_s=1 / measured,
            tpot_ms=1000 / measured / workload.output_tokens,
            utilisation=1.0,
            requests_per_s=measured,
            ceiling_requests_per_s=measured,
            limited_by="measured",
            is_target_met=True,
            source="given in the call",
            as_of=question.book.today,
        )
    return capacity(
        _shape(question),
        serving_gpu(gpu),
        input_tokens=workload.input_tokens,
        output_tokens=workload.output_tokens,
        cached_input_share=workload.cached_input_share,
        weights=own.weights,
        gpus=gpus,
        latency=own.latency,
        is_adapter=is_adapter,
    )


class _Cited:
    """A price per GPU-hour that is the book's, or the caller's."""

    def __init__(self, usd: Decimal | None, gpu: str, provider: str, book: PriceBook, notes: list[str], *, is_endpoint: bool = False) -> None:
        self.row: Price | None = None
        if usd is not None:
            self.usd, self.source, self.as_of = float(usd), "given in the call", None
            return
        self.row = gpu_price(gpu, provider, offer="endpoint" if is_endpoint else None, book=book)
        self.usd, self.source, self.as_of = float(self.row.usd), self.row.source, str(self.row.as_of)
        if self.row.status is not None:
            notes.append(f"the price of {gpu} at {provider} has the status {self.row.status!r}" + (f": {self.row.note}" if self.row.note else ""))
        if self.row.offer == "spot":
            notes.append(f"the only price of {gpu} at {provider} is for spot capacity, which can be taken away")
        _note_age(f"{gpu} at {provider}", self.row.age_days(book.today), notes)


def _replica(found: Capacity, price: _Cited) -> Replica:
    return Replica(
        gpu=found.gpu,
        gpus=found.gpus_per_replica,
        requests_per_s=found.requests_per_s,
        usd_per_gpu_hour=price.usd,
        source=price.source,
        as_of=price.as_of,
    )


def _note_age(what: str, days: int, notes: list[str]) -> None:
    if days > 60:
        notes.append(f"the price of {what} is {days} days old" + (": stale, read it again" if days > 180 else ""))


def _self_hosted(question: Question, api: PerToken, notes: list[str]) -> tuple[AlwaysOn, Capacity, tuple[float, float, str]]:
    own = question.self_hosted
    price = _Cited(own.gpu_usd_per_hour, own.gpu, own.provider, question.book, notes)
    found = _capacity(question, own.gpu, own.gpus_per_replica, is_own_gpu=True, is_adapter=own.adapters > 1)
    if question.book.find(own.provider, "cpu/physical-core") is not None:
        notes.append(f"{own.provider} bills CPU and memory beside the GPU; the self-hosted line has the GPU only")
    option = AlwaysOn(
        name="self-hosted",
        label=f"{_short(own.model)} on {own.provider} {own.gpu}",
        replica=_replica(found, price),
        api=api,
        other_usd=float(own.other_usd_per_month),
        replicas=own.replicas,
        spare_replicas=own.spare_replicas,
        adapters=own.adapters,
    )
    return option, found, _gpu_price_bounds(own.gpu, price, question.book)


_HYPERSCALERS = ("aws", "azure", "gcp")


def _gpu_price_bounds(gpu: str, price: _Cited, book: PriceBook) -> tuple[float, float, str]:
    rows = [row for row in gpu_prices(book=book) if row.gpu == gpu and row.offer in ("on-demand", "marketplace", "community", "spot")]
    if len({row.provider for row in rows}) < 3:
        return 0.8, 1.25, "judgement: few prices of this GPU are known"
    cheapest = min(rows, key=lambda row: row.usd_per_gpu_hour)
    dearest = max(
        (row for row in rows if row.provider in _HYPERSCALERS and row.offer == "on-demand"), key=lambda row: row.usd_per_gpu_hour, default=None
    )
    dearest = dearest or max(rows, key=lambda row: row.usd_per_gpu_hour)
    low, high = float(cheapest.usd_per_gpu_hour) / price.usd, float(dearest.usd_per_gpu_hour) / price.usd
    words = (
        f"from {cheapest.provider} {cheapest.offer} ${cheapest.usd_per_gpu_hour:.2f} to {dearest.provider} ${dearest.usd_per_gpu_hour:.2f} an hour"
    )
    return min(low, 1.0), max(high, 1.0), words


def _dedicated(question: Question, asked: Dedicated, api: PerToken, notes: list[str]) -> tuple[AlwaysOn, Capacity]:
    price = _Cited(asked.gpu_usd_per_hour, asked.gpu, asked.provider, question.book, notes, is_endpoint=True)
    found = _capacity(question, asked.gpu, None, is_own_gpu=False)
    option = AlwaysOn(
        name="dedicated",
        label=f"{_short(question.self_hosted.model)} on a dedicated {asked.provider} {asked.gpu} endpoint",
        replica=_replica(found, price),
        api=api,
        ops_share=asked.ops_share,
        replicas=asked.replicas,
    )
    return option, found


def _serverless(question: Question, asked: Serverless, api: PerToken, notes: list[str]) -> tuple[Sleeping, Capacity] | None:
    own, book = question.self_hosted, question.book
    gpu = asked.gpu or own.gpu
    try:
        price = _Cited(asked.gpu_usd_per_hour, gpu, asked.provider, book, notes)
        found = _capacity(question, gpu, None, is_own_gpu=gpu == own.gpu)
    except SpecError as error:
        if asked.gpu is not None:
            raise
        notes.append(f"no serverless option: {error}")
        return None
    shape = own.shape
    try:
        shape = shape or model_shape(own.model)
    except SpecError:
        if asked.cold_start_s is None and own.requests_per_s_per_replica is None:
            raise
    cold = (
        asked.cold_start_s
        if asked.cold_start_s is not None
        else 60.0
        if shape is None
        else cold_start_s(shape, found.weights, found.gpus_per_replica)
    )
    core, memory = book.find(asked.provider, "cpu/physical-core"), book.find(asked.provider, "memory/gib")
    extra = 0.0 if core is None or memory is None else 3600 * (asked.cores * float(core.usd) + asked.memory_gib * float(memory.usd))
    option = Sleeping(
        name="serverless",
        label=f"{_short(own.model)} on {asked.provider} {gpu}, asleep when idle",
        replica=_replica(found, price),
        api=api,
        ops_share=asked.ops_share,
        busy_s=found.alone_s,
        idle_window_s=asked.idle_window_s,
        cold_start_s=cold,
        extra_usd_per_hour=extra,
    )
    return option, found


def _short(model: str) -> str:
    return model.rstrip("/").rpartition("/")[2]
