"""The situation that advice is about, and the parts of an advice."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ftsdk.cost.comparison.workload import Api, Operations, Workload
from ftsdk.cost.serving.capacity import Latency
from ftsdk.protocol.estimates import CostRange
from ftsdk.spec import Value
from ftsdk.spec.base import OptionalPositiveUsd, Usd, usd_default

__all__ = ["Alternative", "Candidate", "OwnGpu", "Reason", "Situation", "Task", "Verdict"]

Task = Literal["classification", "extraction", "json", "style", "chat", "reasoning"]
Verdict = Literal[
    "measure first",
    "retrieve first",
    "prompt first",
    "constrain first",
    "collect data first",
    "use the API",
    "use the base model",
    "fine-tune",
]
_Share = Annotated[float, Field(ge=0, le=1)]


class OwnGpu(Value):
    """A GPU that you have, to train and to serve on.

    An hour costs `usd_per_hour`, or else its power and its share of what it cost.
    """

    gpu: Annotated[str, Field(min_length=1)]
    """As in the price book: `RTX4090`, `L4`, `H100`."""
    count: Annotated[int, Field(ge=1)] = 1
    usd_per_hour: OptionalPositiveUsd = usd_default(None)
    """What an hour of one costs you, everything counted."""
    watts: Annotated[float, Field(gt=0)] | None = None
    """Under load. None: what the vendor states."""
    usd_per_kwh: Annotated[Usd, Field(gt=0)] = usd_default(0.2)
    """With cooling."""
    price_usd: Annotated[Usd, Field(ge=0)] = usd_default(0)
    """What one cost, with its share of the machine; 0: it is paid for."""
    amortised_months: Annotated[int, Field(ge=1)] = 36


class Situation(Value):
    """What to know before training anything. None: not known yet."""

    task: Task
    workload: Workload
    api: str | Api
    """What you would use otherwise."""
    has_metric: bool | None = None
    """Whether a program, a rubric or a reference can tell a good answer from a bad one."""
    examples: Annotated[int, Field(ge=0)] | None = None
    """Good examples at hand."""
    examples_by: str | None = None
    """The API whose model wrote the examples, such as `openai/gpt-4o`. None: people, or an open model."""
    preference_pairs: Annotated[int, Field(ge=0)] = 0
    """Pairs of a better and a worse answer."""
    tried: tuple[
        Literal[
            "prompt",
            "few-shot",
            "structured-output",
            "retrieval",
            "smaller-model",
            "larger-model",
            "base-model",
            "constrained-decoding",
            "small-classifier",
        ],
        ...,
    ] = ()
    """What has been tried and measured.

    `smaller-model` and `larger-model`: at an API, instead of `api`. `base-model`: an open model without tuning.
    `structured-output`: the API, `constrained-decoding`: an open model, whose answers can only be a class, or JSON that
    fits a schema. `small-classifier`: embeddings and logistic regression, or a tuned encoder.
    """
    other_apis: tuple[str | Api, ...] = ()
    """Further APIs that you could use, with the share of their answers that are good enough where you measured it.

    `Api(model=, accepted=)`.
    """
    api_score: _Share | None = None
    """Share of the API's answers that are good enough, as prompted best."""
    needed_score: _Share | None = None
    """Share that has to be good enough."""
    invalid_share: _Share | None = None
    """Share of the API's answers that have the wrong form: they name no class, or aren't JSON that fits the schema.

    Constrained decoding rules these out, and no others."""
    base_score: _Share | None = None
    """Share of an open model's answers that are good enough without tuning, as measured, with constrained decoding
    where answers have a form."""
    has_changing_facts: bool = False
    """Whether answers depend on facts that change: training doesn't keep them up to date."""
    must_self_host: bool = False
    """Whether the data may not leave: no API and no managed service.

    Your own GPU serves where it can; otherwise rented ones are offered, and the advice says so.
    """
    is_api_too_slow: bool = False
    """Whether the API's answers, as measured, come too late for their use."""
    latency: Latency = "server"
    gpu_memory_gb: Annotated[float, Field(gt=0)] | None = None
    """Memory of a GPU that you have, in GB as it is sold: a card of "24 GB" has 24 GiB. It trains, and it serves too
    if the data may not leave."""
    own_gpu: OwnGpu | None = None
    """A GPU that you have, by name: it trains and serves. Instead of `gpu_memory_gb`."""
    retrains_per_year: Annotated[float, Field(ge=0)] = 4.0
    operations: Operations = Operations()
    review_usd: Annotated[Usd, Field(ge=0)] = usd_default(0)
    """US dollars to correct a bad answer by hand; counted if `api_score` and `needed_score` are given."""

    @model_validator(mode="after")
    def _has_one_gpu(self) -> Situation:
        if self.own_gpu is not None and self.gpu_memory_gb is not None:
            raise ValueError("own_gpu has its memory by name: leave out gpu_memory_gb")
        return self

    @model_validator(mode="after")
    def _counts_each_answer_once(self) -> Situation:
        if (self.api_score or 0) + (self.invalid_share or 0) > 1 + 1e-9:
            raise ValueError(
                f"api_score={self.api_score} and invalid_share={self.invalid_share} are more than all answers: an "
                "answer of a wrong form isn't good enough"
            )
        return self

    @property
    def demonstrations(self) -> int | None:
        """Rows for SFT: the examples, or the better answers of the pairs if those are more; None if not given."""
        return max(self.examples or 0, self.preference_pairs) if self.preference_pairs else self.examples

    @property
    def has_gap(self) -> bool:
        """Whether the API is known not to be good enough."""
        return self.api_score is not None and self.needed_score is not None and self.api_score < self.needed_score

    @property
    def is_base_measured(self) -> bool:
        """Whether an open model without tuning was measured."""
        return self.base_score is not None or bool({"base-model", "constrained-decoding"} & set(self.tried))

    @property
    def is_base_enough(self) -> bool:
        """Whether an open model without tuning is known to be good enough."""
        return self.base_score is not None and self.needed_score is not None and self.base_score >= self.needed_score

    @classmethod
    def from_yaml(cls, path: str | Path) -> Situation:
        """Return the situation in a YAML file.

        Raises:
            SpecError: It can't be read, isn't YAML, or has an unknown key or an impossible value.
        """
        from ftsdk.cost.comparison.crossover_file import read_yaml

        return cls.from_dict(read_yaml(Path(path)))


class Reason(Value):
    """One finding behind the verdict, with its source."""

    text: str
    source: str


class Alternative(Value):
    """Another API that may do the job."""

    model: str
    usd_per_month: Usd
    """For its tokens at the volume of the workload."""
    score: float | None = None
    """Share of its answers that are good enough, as measured; None: not measured."""
    source: str
    """Address and date of its price."""
    is_open: bool = False
    """Whether it is an open model, whose weights can be tuned and served on site."""


class Candidate(Value):
    """One model, on the cheapest GPU that takes the traffic in time."""

    model: str
    params_b: float
    gpu: str
    provider: str
    usd_per_month: Usd
    """Everything: GPUs, working hours, training."""
    break_even_requests: float | None
    p_cheaper: float
    """Probability that it costs less than the API."""
    training: CostRange
    """Cost of one run at the backend below."""
    backend: str
    """Where that run costs least: `local`, on your own GPU, has no bill."""
    backend_reason: str
    tuning: str
    """As written in the SDK: `LoRA(rank=16)`."""
