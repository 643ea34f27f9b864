"""Whether to fine-tune at all, and if so which size, method and backend: the practitioner's questions, answered with numbers."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, cast

from pydantic import Field

from ftsdk.backends.estimates import CostRange, Range
from ftsdk.cost.comparison.answer import CrossoverAnswer
from ftsdk.cost.comparison.answer_text import money, volume
from ftsdk.cost.comparison.compare import crossover
from ftsdk.cost.comparison.options import MONTH_S
from ftsdk.cost.comparison.workload import Api, Operations, Quality, SelfHosted, Workload
from ftsdk.cost.facts.shapes import Shape, shape_named
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.cost.serving.capacity import Latency, model_shape
from ftsdk.cost.serving.hosts import cheapest_host
from ftsdk.cost.training.ballpark import Ballpark, RunSize, adapters_that_fit, managed_run, run_on_gpus
from ftsdk.errors import SpecError
from ftsdk.spec import Value
from ftsdk.spec.base import Usd

__all__ = ["Advice", "Candidate", "Reason", "Situation", "advise"]

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
    """Data may not leave."""
    latency: Latency = "server"
    gpu_memory_gb: Annotated[float, Field(gt=0)] | None = None
    """Of a GPU that is here anyway, as it is sold: a card of "24 GB" has 24 GiB."""
    retrains_per_year: Annotated[float, Field(ge=0)] = 4.0
    operations: Operations = Operations()
    review_usd: Annotated[Usd, Field(ge=0)] = Decimal(0)
    """What it costs to put a bad answer right by hand."""

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


class Advice(Value):
    """What to do, why, and with which numbers."""

    verdict: Verdict
    because: tuple[Reason, ...]
    next_steps: tuple[str, ...]
    method: str
    """In the words of the SDK: `SFT(train_on="completion")`."""
    tuning: str
    epochs: int
    backend: str
    backend_reason: str
    candidates: tuple[Candidate, ...]
    """Smallest first: train that one first, and go up only if the evaluation says so."""
    answer: CrossoverAnswer
    """The first candidate against the API."""

    def to_dict(self) -> dict[str, Any]:
        """Give the advice as plain data, without the curves of its crossover, which are for drawing."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"answer": {"curves"}})

    def __str__(self) -> str:
        lines = [f"{self.verdict.upper()}", ""]
        lines += [f"- {reason.text} [{reason.source}]" for reason in self.because]
        lines += ["", "Next:"] + [f"{n}. {step}" for n, step in enumerate(self.next_steps, start=1)]
        lines += ["", "If you fine-tune:"]
        lines.append(f"  {self.method}, {self.tuning}, epochs={self.epochs}, backend={self.backend!r} ({self.backend_reason})")
        lines.append("  The smallest model first; a larger one only if your evaluation says so:")
        for c in self.candidates:
            even = "never" if c.break_even_requests is None else f"from {volume(c.break_even_requests)}"
            lines.append(
                f"  {c.model} ({c.params_b:g}B) on {c.provider} {c.gpu}: {money(c.usd_per_month)} a month, training {money(c.training.likely)} "
                f"({money(c.training.low)} to {money(c.training.high)}), cheaper than the API {even} requests, P = {c.p_cheaper:.0%}"
            )
        api = self.answer.option("api")
        lines.append(f"  the API, {api.label}: {money(api.usd_per_month)} a month")
        return "\n".join(lines)


def advise(situation: Situation, *, book: PriceBook | None = None) -> Advice:
    """Say whether to fine-tune, and how.

    Raises:
        SpecError: The volume is missing, or a price or model isn't known.
    """
    if situation.workload.requests_per_month is None:
        raise SpecError("advice needs Workload(requests_per_month=...): without a volume nobody can say what is cheaper")
    book = book or PriceBook.load()
    task = _facts()["tasks"][situation.task]
    examples = situation.examples if situation.examples is not None else int(task["enough_examples"])
    weighed = [_candidate(situation, model, task, examples, book) for model in task["models"]]
    candidates, answers = [w.candidate for w in weighed], [w.answer for w in weighed]
    verdict, because = _verdict(situation, task, candidates, answers[0])
    tuning, backend, why = _where(situation, weighed[0], int(task["rank"]))
    method = 'SFT(train_on="completion")'
    if situation.preference_pairs >= 500:
        method += f", then DPO() on the {situation.preference_pairs:,} pairs"
    return Advice(
        verdict=verdict,
        because=tuple(because),
        next_steps=_next_steps(verdict, situation, task, candidates[0]),
        method=method,
        tuning=tuning,
        epochs=int(task["epochs"]),
        backend=backend,
        backend_reason=why,
        candidates=tuple(candidates),
        answer=answers[0],
    )


class _Weighed(NamedTuple):
    candidate: Candidate
    answer: CrossoverAnswer
    shape: Shape
    size: RunSize
    runs: tuple[Ballpark, ...]


def _candidate(situation: Situation, model: str, task: dict[str, Any], examples: int, book: PriceBook) -> _Weighed:
    workload, shape = situation.workload, model_shape(model)
    host = cheapest_host(
        shape,
        peak_requests_per_s=(workload.requests_per_month or 0) / MONTH_S * workload.peak_to_mean,
        input_tokens=workload.input_tokens,
        output_tokens=workload.output_tokens,
        cached_input_share=workload.cached_input_share,
        latency=situation.latency,
        leaving_out=_facts()["jobs_only"],
        book=book,
    )
    own = SelfHosted(model=model, gpu=host.gpu, provider=host.provider, replicas=2, latency=situation.latency)
    trained, facts = shape_named(model), _facts()["training"]
    assert trained is not None, f"advice.yaml names {model}, which isn't in shapes.yaml"
    row_tokens = workload.input_tokens + workload.output_tokens
    size = RunSize(
        rows=examples * int(task["epochs"]), row_tokens=row_tokens, longest_tokens=float(facts["longest_row"]) * row_tokens, rank=int(task["rank"])
    )
    managed = managed_run(trained, size, provider="together", book=book)
    runs = (run_on_gpus(trained, size, provider="modal", besides_s=Range(**facts["start_s"]), book=book), *([managed] if managed else []))
    cheapest = min(runs, key=lambda run: run.cost.likely)
    answer = crossover(
        workload=workload,
        api=situation.api,
        self_hosted=own,
        training=cheapest.cost,
        retrains_per_year=situation.retrains_per_year,
        operations=situation.operations,
        quality=_quality(situation),
        scenarios=20_000,
        book=book,
    )
    even = answer.break_even_requests
    candidate = Candidate(
        model=model,
        params_b=shape.params_b,
        gpu=own.gpu,
        provider=own.provider,
        usd_per_month=answer.option("self-hosted").usd_per_month,
        break_even_requests=even[0] if even else None,
        p_cheaper=answer.likelihood.p_self_hosted_cheaper,
        training=cheapest.cost,
    )
    return _Weighed(candidate, answer, trained, size, runs)


def _quality(situation: Situation) -> Quality:
    """The tuned model is taken to reach what is needed: whether it does, its evaluation has to show."""
    if situation.api_score is None or situation.needed_score is None or not situation.review_usd:
        return Quality()
    return Quality(api_accepted=situation.api_score, own_accepted=situation.needed_score, rejected="review", review_usd=situation.review_usd)


def _where(situation: Situation, weighed: _Weighed, rank: int) -> tuple[str, str, str]:
    here = situation.gpu_memory_gb
    fit = None if here is None else adapters_that_fit(weighed.shape, weighed.size, memory_gib=here)
    if fit is not None:
        tuning = {"lora": f"LoRA(rank={rank})", "qlora": f"QLoRA(rank={rank})"}[fit.tuning]
        return tuning, "local", f"about {fit.peak_gb:.0f} GB of the {here:g} GB here, which leaves room to be wrong; the run costs nothing extra"
    allowed = [run for run in weighed.runs if run.backend != "together" or not situation.must_self_host]
    best = min(allowed, key=lambda run: run.cost.likely)
    others = ", ".join(f"{run.backend} {money(run.cost.likely)}" for run in weighed.runs if run is not best)
    return f"LoRA(rank={rank})", best.backend, f"{money(best.cost.likely)} a run" + (f"; {others}" if others else "")


def _verdict(situation: Situation, task: dict[str, Any], candidates: Sequence[Candidate], answer: CrossoverAnswer) -> tuple[Verdict, list[Reason]]:
    api, best = answer.option("api"), candidates[0]
    source = str(_facts()["source"])
    price = api.lines[0]
    cited = f"{price.source}, {price.as_of}"
    because = [
        Reason(
            text=f"at {volume(situation.workload.requests_per_month or 0)} requests a month the API costs {money(api.usd_per_month)} and "
            f"{best.model} on {best.provider} {best.gpu} {money(best.usd_per_month)}; P(self-hosting is cheaper) = {best.p_cheaper:.0%}",
            source=cited,
        )
    ]
    if situation.has_metric is False:
        score = situation.api_score or 0.5
        needed = math.ceil(1.96**2 * score * (1 - score) / 0.05**2)
        return "measure first", [
            Reason(text=f"nobody can tell yet what is better; {needed} examples tell a score to within 5 points", source="95 % interval of a share"),
            *because,
        ]
    if situation.has_metric is None:
        because.append(
            Reason(text="not said: can a good answer be told from a bad one? Without that nothing below can be shown", source="has_metric")
        )
    if situation.has_changing_facts and "retrieval" not in situation.tried:
        return "retrieve first", [
            Reason(text="answers depend on facts that change, and training doesn't keep facts up to date", source="has_changing_facts"),
            *because,
        ]
    missing = [way for way in ("prompt", "few-shot") if way not in situation.tried]
    if missing:
        return "prompt first", [
            Reason(text=f"not tried yet: {' and '.join(missing)}; an afternoon, and no model to look after", source="tried"),
            *because,
        ]
    gap = situation.api_score is not None and situation.needed_score is not None and situation.api_score < situation.needed_score
    is_cheaper = best.p_cheaper >= 0.5
    if gap:
        because.append(
            Reason(
                text=f"the API reaches {situation.api_score:.0%} of the {situation.needed_score:.0%} that is needed, though prompted",
                source="api_score, needed_score",
            )
        )
    if situation.must_self_host:
        because.append(Reason(text="the data may not leave, so the API is out", source="must_self_host"))
    if not (gap or situation.must_self_host or is_cheaper):
        even = "at no volume" if best.break_even_requests is None else f"from {volume(best.break_even_requests)} requests a month"
        return "use the API", [Reason(text=f"it is good enough, and a model of your own is cheaper {even}", source=cited), *because]
    least = int(task["least_examples"])
    if situation.examples is None:
        because.append(
            Reason(text=f"not said: how many examples there are; {task['enough_examples']:,} are taken, at least {least:,} are needed", source=source)
        )
    elif situation.examples < least:
        return "collect data first", [
            Reason(text=f"{situation.examples:,} examples; {situation.task} takes {least:,} at least", source=source),
            *because,
        ]
    return "fine-tune", because


def _next_steps(verdict: Verdict, situation: Situation, task: dict[str, Any], best: Candidate) -> tuple[str, ...]:
    match verdict:
        case "measure first":
            return (
                "write down for 200 inputs what a good answer is",
                "make an Eval of them (Eval.exact_match, or a rubric)",
                "ask for advice again with api_score",
            )
        case "retrieve first":
            return ("put the facts into the prompt by retrieval", "measure that", "ask again with tried: [prompt, few-shot, retrieval]")
        case "prompt first":
            return (
                "write the best prompt you can, with five to twenty examples in it",
                "measure it on examples that aren't in it",
                "ask again with tried and api_score",
            )
        case "collect data first":
            return (
                f"collect {int(task['enough_examples']):,} examples, from production or written by hand",
                "look at their report: ftsdk data report FILE",
                "ask again",
            )
        case "use the API":
            return ("stay with the API", "ask again when the volume, the price or the needed score changes")
        case "fine-tune":
            return (
                f"train {best.model} first, the smallest: about {money(best.training.likely)} a run",
                "compare it with the base and with the API on the same examples: run.evaluate()",
                "go up in size only if it doesn't reach " + ("what is needed" if situation.needed_score is None else f"{situation.needed_score:.0%}"),
            )


@functools.cache
def _facts() -> dict[str, Any]:
    import yaml

    return cast("dict[str, Any]", yaml.safe_load((resources.files("ftsdk.cost") / "advice.yaml").read_text(encoding="utf-8")))
