"""The inputs of a crossover: the traffic, the options to serve it, and what working hours and quality cost.

Every default is an assumption that the answer prints as one.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ftsdk.cost.serving.capacity import Latency
from ftsdk.cost.serving.shapes import ModelShape, Weights
from ftsdk.spec import Value
from ftsdk.spec.base import OptionalPositiveUsd, Usd, usd_default
from ftsdk.spec.urls import NoUrl, NoUrlSecret

__all__ = ["Api", "Dedicated", "Operations", "Quality", "SelfHosted", "Serverless", "Workload"]

_Share = Annotated[float, Field(ge=0, le=1)]
_Money = Annotated[Usd, Field(ge=0)]


class Workload(Value):
    """The traffic, in tokens as your own model counts them."""

    requests_per_month: Annotated[float, Field(ge=0.001, le=1e15)] | None = None
    """A month is 730 hours. None: to be solved for (`solve_for="requests_per_month"`)."""
    input_tokens: Annotated[float, Field(gt=0)]
    """Mean tokens of a prompt."""
    output_tokens: Annotated[float, Field(gt=0)]
    """Mean tokens of an answer, without those that a model reasons with before it.

    `Api` and `SelfHosted` take these as `reasoning_tokens`.
    """
    peak_to_mean: Annotated[float, Field(ge=1)] = 3.0
    """The busiest hour over the mean: an API bills the mean, GPUs are bought for the peak.

    Business hours only is about 3.
    """
    cached_input_share: _Share = 0.0
    """Share of the prompt that is the same in every request.

    A prefix cache on your own GPU. At the API the cached price, if that part is long enough to be cached there; it is
    put into the cache anew, at the price of writing, when requests are further apart than the cache lasts.
    """
    growth_per_year: Annotated[float, Field(gt=-1)] = 0.0
    """For the net present value: 0.5 is half as much again after a year."""


class Api(Value):
    """An API that is paid by the token."""

    model: NoUrlSecret
    """Provider and model, such as `anthropic/claude-haiku-4-5`."""
    is_batch: bool = False
    """Answers may take a day: the price of the batch API."""
    retry_share: Annotated[float, Field(ge=0)] = 0.0
    """Requests that are sent again, over those that count: time-outs, invalid output."""
    tokenizer_ratio: Annotated[float, Field(gt=0)] | None = None
    """Its tokens over your own model's for the same text. None: 1, and 1.3 for Claude models from 4.7 on."""
    input_usd_per_mtok: OptionalPositiveUsd = usd_default(None)
    """Your own price instead of the book's; give `output_usd_per_mtok` too, and `source`."""
    output_usd_per_mtok: OptionalPositiveUsd = usd_default(None)
    cached_input_usd_per_mtok: OptionalPositiveUsd = usd_default(None)
    cache_write_usd_per_mtok: OptionalPositiveUsd = usd_default(None)
    """For the shared part of a prompt whenever it has to be put into the cache anew; None: as other input."""
    reasoning_tokens: Annotated[float, Field(ge=0)] | None = None
    """Mean tokens that the model reasons with before an answer, which are billed as output. None: none are counted,
    with a note where the model reasons by default."""
    source: NoUrlSecret = "given in the call"
    accepted: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of this API's answers that are good enough, for `other_apis`. None: as `Quality.api_accepted`."""


class SelfHosted(Value):
    """Your own model on rented GPUs that run all the time."""

    model: NoUrl
    """A hub id, or a folder with a config.json."""
    gpu: str
    """As in the price book: `L4`, `A100-80GB`, `H100`."""
    provider: str
    """Whose price: `runpod`, `aws`, `modal`, ..."""
    replicas: Annotated[int, Field(ge=1)] = 1
    """The fewest replicas, whatever the traffic: 2 survive the loss of one."""
    spare_replicas: Annotated[int, Field(ge=0)] = 0
    """Replicas beyond what the peak needs."""
    gpus_per_replica: Annotated[int, Field(ge=1)] | None = None
    """None: 1, 2, 4 or 8, whichever takes the traffic for the least money."""
    weights: Weights | None = None
    """None: the most precise that fit: fp8 where the GPU computes in it, else bf16, and int4 where those don't fit."""
    latency: Latency = "server"
    """`interactive`: a user watches the words appear. `server`: a user waits for the answer.

    `offline`: no one waits.
    """
    adapters: Annotated[int, Field(ge=1)] = 1
    """Adapters of as many tasks, with the same traffic each, share the base model and its bill.

    1: the adapter is merged.
    """
    reasoning_tokens: Annotated[float, Field(ge=0)] = 0.0
    """Mean tokens that it reasons with before an answer, which it has to generate too."""
    context_tokens: Annotated[int, Field(ge=1)] | None = None
    """The context window that it is served with, in tokens. None: the one in its config, where that is known."""
    requests_per_s_per_replica: Annotated[float, Field(gt=0)] | None = None
    """Your own measurement, at the latency that you need; it replaces the serving model."""
    shape: ModelShape | None = None
    """For a model that isn't in our table and not on this machine."""
    gpu_usd_per_hour: OptionalPositiveUsd = usd_default(None)
    """Your own price instead of the book's."""
    other_usd_per_month: _Money = usd_default(0)
    """Storage, egress, load balancer, logs."""


class Dedicated(Value):
    """Your tuned model on a managed endpoint that is yours alone, billed by the minute, idle or not."""

    provider: str = "together"
    gpu: str = "H100"
    replicas: Annotated[int, Field(ge=1)] = 1
    ops_share: _Share = 0.5
    """Share of `Operations.hours_per_month` that remains: the provider maintains the machine."""
    gpu_usd_per_hour: OptionalPositiveUsd = usd_default(None)
    """Your own price instead of the book's."""


class Serverless(Value):
    """Your own model on GPUs that stop when idle."""

    provider: str = "modal"
    gpu: str | None = None
    """None: the same as the self-hosted option."""
    idle_window_s: Annotated[float, Field(ge=0)] = 300.0
    """How long a replica waits for the next request before it stops; it is billed while it waits."""
    cold_start_s: Annotated[float, Field(ge=0)] | None = None
    """Billed. None: 30 s for the engine, and the weights at 1 GB/s."""
    cores: Annotated[float, Field(ge=0)] = 2.0
    """Physical cores of a replica, where they are billed beside the GPU."""
    memory_gib: Annotated[float, Field(ge=0)] = 16.0
    ops_share: _Share = 0.5
    """Share of `Operations.hours_per_month` that remains: the provider maintains the machine."""
    gpu_usd_per_hour: OptionalPositiveUsd = usd_default(None)
    """Your own price instead of the book's."""


class Operations(Value):
    """Work that a model of your own takes and an API doesn't. The defaults are judgement: pass your own figures."""

    hours_per_month: Annotated[float, Field(ge=0)] = 4.0
    """Updates, alarms, capacity."""
    usd_per_hour: _Money = usd_default(75)
    hours_per_retrain: Annotated[float, Field(ge=0)] = 4.0
    """Collecting data, looking at the evaluation, rolling out."""
    data_usd_per_retrain: _Money = usd_default(0)
    """Labels."""
    failed_share: Annotated[float, Field(ge=0)] = 0.5
    """Training runs that fail or are discarded, over those that are kept."""
    setup_hours: Annotated[float, Field(ge=0)] = 40.0
    """Hours to get it running, once."""
    setup_months: Annotated[int, Field(ge=1)] = 24
    """Months over which the setup is spread."""


class Quality(Value):
    """How often an answer is good enough, and what happens if it isn't."""

    api_accepted: _Share = 1.0
    """0 only with `review`: asking again would never end."""
    own_accepted: _Share = 1.0
    measured_on: Annotated[int, Field(ge=1)] = 200
    """On how many examples the two were measured: how sure they are."""
    rejected: Literal["retry", "fallback", "review"] = "retry"
    """`retry`: ask again until it is good (attempts are taken as independent, which flatters).

    `fallback`: what your own model gets wrong goes to the API. `review`: a person puts it right.
    """
    review_usd: _Money = usd_default(0)
    """For each answer that a person puts right: with `rejected="review"`, and only there."""

    @model_validator(mode="after")
    def _is_paid_and_ends(self) -> Quality:
        if self.rejected == "review" and not self.review_usd:
            raise ValueError(
                "rejected='review' needs review_usd above 0, what a person costs for each answer: reviewing costs "
                "something"
            )
        if self.rejected != "review" and self.review_usd:
            raise ValueError(
                f"review_usd={self.review_usd:f} is used only with rejected='review', not with {self.rejected!r}: "
                "leave one of them out"
            )
        if self.rejected != "review" and not (self.api_accepted and self.own_accepted):
            raise ValueError(
                f"where no answer is accepted, {self.rejected!r} never ends: give shares above 0, or rejected='review' "
                "with review_usd"
            )
        return self
