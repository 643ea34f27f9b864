"""What advice is asked about, and the pieces that it is made of."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ftsdk.cost.comparison.workload import Api, Operations, Workload
from ftsdk.cost.serving.capacity import Latency
from ftsdk.protocol.estimates import CostRange
from ftsdk.spec import Value
from ftsdk.spec.base import Usd

__all__ = ["Candidate", "Reason", "Situation", "Verdict"]

Task = Literal["classification", "extraction", "json", "style", "chat", "reasoning"]
Verdict = Literal["measure first", "retrieve first", "prompt first", "collect data first", "use the API", "fine-tune"]
_Share = Annotated[float, Field(ge=0, le=1)]


class Situation(Value):
    """What a careful colleague would ask before anybody trains anything. None: not known yet."""

    task: Task
    workload: Workload
    api: str | Api
    """What you would use otherwise."""
    has_metric: bool | None = None
    """Can a program, a rubric or a reference tell a good answer from a bad one?"""
    examples: Annotated[int, Field(ge=0)] | None = None
    """Good examples at hand."""
    preference_pairs: Annotated[int, Field(ge=0)] = 0
    """Pairs of a better and a worse answer."""
    tried: tuple[Literal["prompt", "few-shot", "retrieval", "larger-model"], ...] = ()
    """What has been tried and measured."""
    api_score: _Share | None = None
    """Share of the API's answers that are good enough, as prompted best."""
    needed_score: _Share | None = None
    """Share that has to be."""
    has_changing_facts: bool = False
    """Answers depend on facts that change: training doesn't keep them up to date."""
    must_self_host: bool = False
    """Data may not leave: no API and no managed service. GPUs that you rent are taken, and named as such."""
    latency: Latency = "server"
    gpu_memory_gb: Annotated[float, Field(gt=0)] | None = None
    """Of a GPU that is here anyway, as it is sold: a card of "24 GB" has 24 GiB."""
    retrains_per_year: Annotated[float, Field(ge=0)] = 4.0
    operations: Operations = Operations()
    review_usd: Annotated[Usd, Field(ge=0)] = Decimal(0)
    """What it costs to put a bad answer right by hand; counted if `api_score` and `needed_score` are given."""

    @classmethod
    def from_yaml(cls, path: str | Path) -> Situation:
        """Read a file.

        Raises:
            SpecError: It can't be read, isn't YAML, or has an unknown key or an impossible value.
        """
        from ftsdk.cost.comparison.crossover_file import read_yaml

        return cls.from_dict(read_yaml(Path(path)))


class Reason(Value):
    """One finding that speaks for the verdict."""

    text: str
    source: str


class Candidate(Value):
    """One model, on the cheapest GPU that takes the traffic in time."""

    model: str
    params_b: float
    gpu: str
    provider: str
    usd_per_month: Usd
    """Everything: GPUs, people, training."""
    break_even_requests: float | None
    p_cheaper: float
    """Than the API."""
    training: CostRange
    """Of one run, at the backend below."""
    backend: str
    """Where that run costs least: `local`, on the GPU that is here, has no bill."""
    backend_reason: str
    tuning: str
    """In the words of the SDK: `LoRA(rank=16)`."""
