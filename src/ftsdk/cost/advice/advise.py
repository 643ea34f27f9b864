"""Whether to fine-tune at all, and if so which size, method and backend, with the numbers behind it."""

from __future__ import annotations

import functools
from decimal import Decimal
from importlib import resources
from typing import Any, NamedTuple, cast

from ftsdk._format import bold, html_block, html_list, money
from ftsdk._rich_text import rich_text
from ftsdk.cost.advice.cheaper_apis import alternatives, base_model
from ftsdk.cost.advice.constrained_base import ConstrainedBase, constrained_base
from ftsdk.cost.advice.decision import beats_the_api, decide
from ftsdk.cost.advice.inputs import Alternative, Candidate, Reason, Situation, Verdict
from ftsdk.cost.advice.next_steps import next_steps
from ftsdk.cost.advice.own_gpu import YOUR_OWN, card_memory_gib, serve_on_own_gpu
from ftsdk.cost.catalogue.known_model import find_model
from ftsdk.cost.comparison.answer import CrossoverAnswer
from ftsdk.cost.comparison.compare import crossover
from ftsdk.cost.comparison.options import MONTH_S
from ftsdk.cost.comparison.sourced_price import serverless_gpu_hour
from ftsdk.cost.comparison.workload import Dedicated, Quality, SelfHosted, Serverless
from ftsdk.cost.facts.shapes import Shape, shape_named
from ftsdk.cost.pricebook.book import PriceBook
from ftsdk.cost.serving.hosts import cheapest_host
from ftsdk.cost.serving.shapes import ModelShape, model_shape
from ftsdk.cost.training.ballpark import Ballpark, RunSize, adapters_that_fit, managed_run, run_on_gpus
from ftsdk.errors import SpecError
from ftsdk.protocol.estimates import CostRange, Range
from ftsdk.spec import Value

__all__ = ["Advice", "advise"]


class Advice(Value):
    """What to do, why, and with which numbers."""

    verdict: Verdict
    because: tuple[Reason, ...]
    next_steps: tuple[str, ...]
    method: str
    """As written in the SDK: `SFT(train_on="completion")`."""
    tuning: str
    epochs: int
    backend: str | None = None
    """None if no model can be trained and served."""
    backend_reason: str
    candidates: tuple[Candidate, ...]
    """Smallest first: train that one first, and go up only if the evaluation says so."""
    left_out: tuple[Reason, ...] = ()
    """Models for this kind of task that fit on no GPU, by name."""
    alternatives: tuple[Alternative, ...] = ()
    """Other APIs to try first, the best first.

    Those that were measured and are good enough, then cheaper ones that weren't measured.
    """
    constrained: ConstrainedBase | None = None
    """The base model to measure with constrained decoding before a fine-tune is paid for.

    None: answers have no form to enforce, or it was measured.
    """
    answer: CrossoverAnswer | None = None
    """The first candidate against the API; None without a candidate."""

    def to_dict(self) -> dict[str, Any]:
        """Return the advice as plain data, without the curves of its crossover, which are for drawing."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"answer": {"curves"}})

    def __str__(self) -> str:
        """In about ten lines: the verdict, the main reasons, the next steps, and the first candidate."""
        lines = [f"{self.verdict.upper()}: {self.because[0].text}" if self.because else self.verdict.upper()]
        lines += [f"- {reason.text}" for reason in self.because[1:4]]
        lines += [f"{n}. {step}" for n, step in enumerate(self.next_steps[:3], start=1)]
        first, *rest = self._tuning_lines()
        lines.append(f"If you fine-tune: {first}")
        lines += [f"  {line}" for line in rest[1:2]] if self.candidates else []
        return "\n".join(lines)

    __rich__ = rich_text

    def details(self) -> str:
        """Return everything as text: each reason with its source, all candidates, and the API's cost."""
        lines = [f"{self.verdict.upper()}", ""]
        lines += [f"- {reason.text} [{reason.source}]" for reason in self.because]
        lines += ["", "Next:"] + [f"{n}. {step}" for n, step in enumerate(self.next_steps, start=1)]
        lines += ["", "If you fine-tune:"]
        return "\n".join([*lines, *(f"  {line}" for line in self._tuning_lines())])

    def to_html(self) -> str:
        """Return the advice as an HTML fragment."""
        reasons = html_list(f"{reason.text} [{reason.source}]" for reason in self.because)
        steps, tuning = html_list(self.next_steps, is_ordered=True), html_list(self._tuning_lines())
        head = f"<p>{bold(self.verdict.upper())}</p>"
        return html_block(head, reasons, f"<p>Next:</p>{steps}", f"<p>If you fine-tune:</p>{tuning}")

    def _repr_html_(self) -> str:
        return self.to_html()

    def _tuning_lines(self) -> list[str]:
        where = "" if self.backend is None else f", backend={self.backend!r}"
        lines = [f"{self.method}, {self.tuning}, epochs={self.epochs}{where} ({self.backend_reason})"]
        if self.candidates:
            lines.append("The smallest model first; a larger one only if your evaluation says so:")
        for c in self.candidates:
            assert self.answer is not None, "candidates come with an answer"
            range_ = (
                f"training {money(c.training.likely)} ({money(c.training.low)} to {money(c.training.high)}) on "
                f"{c.backend}"
            )
            training = "training on your own GPU" if c.backend == "local" else range_
            lines.append(
                f"{c.model} ({c.params_b:g}B) on {c.provider} {c.gpu}: {money(c.usd_per_month)} a month, {training}, "
                f"{beats_the_api(c, self.answer)}, P = {c.p_cheaper:.0%}"
            )
        lines += [f"left out, {reason.source}: {reason.text}" for reason in self.left_out]
        if self.answer is not None:
            api = self.answer.option("api")
            lines.append(f"the API, {api.label}: {money(api.usd_per_month)} a month")
        return lines


def advise(situation: Situation, *, book: PriceBook | None = None) -> Advice:
    """Return whether to fine-tune, and how.

    Args:
        situation: The task, the traffic, and what has been tried.
        book: Prices; None loads all layers.

    Raises:
        SpecError: The volume is missing, a price or model isn't known, or the data may not leave and no model fits on
            any GPU.
        MissingExtraError: The package with API prices isn't installed.
    """
    if situation.workload.requests_per_month is None:
        raise SpecError(
            "advice needs Workload(requests_per_month=...): without a volume, which option is cheaper is unknown"
        )
    book = book or PriceBook.load()
    task = _facts()["tasks"][situation.task]
    compared: list[_Compared] = []
    left_out: list[Reason] = []
    for model in task["models"]:
        known = find_model(str(model))
        if known is None or not known.allows_commercial_use:
            left_out.append(Reason(text="its licence isn't known to allow commercial use", source=str(model)))
            continue
        try:
            placement = _placement(situation, model, task, book)
        except SpecError as error:
            left_out.append(Reason(text=str(error), source=str(model)))
        else:
            compared.append(_compare(situation, placement, book))
    if situation.must_self_host:
        compared, out = _inside(compared)
        left_out += out
    if situation.must_self_host and not compared:
        raise SpecError(
            "the data may not leave, and no model fits on any GPU: " + "; ".join(reason.text for reason in left_out)
        )
    best = compared[0].candidate if compared else None
    answer = compared[0].answer if compared else None
    facts = _facts()
    others = alternatives(situation, small_apis=facts["small_apis"], open_apis=facts["open_apis"], book=book)
    base = None if best is None else base_model(situation, _base_apis(best.model), book)
    held = constrained_base(situation, best, base)
    decision = decide(situation, task, best, answer, others, base, held, facts=facts)
    method = 'SFT(train_on="completion")'
    if situation.preference_pairs >= facts["enough_pairs"]:
        method += f", then DPO() on the {situation.preference_pairs:,} pairs"
    return Advice(
        verdict=decision.verdict,
        because=decision.because,
        next_steps=next_steps(decision.verdict, situation, task, best, others, base, answer, held),
        method=method,
        tuning=f"LoRA(rank={int(task['rank'])})" if best is None else best.tuning,
        epochs=int(task["epochs"]),
        backend=None if best is None else best.backend,
        backend_reason="no model for this kind of task fits on any GPU" if best is None else best.backend_reason,
        candidates=tuple(w.candidate for w in compared),
        left_out=tuple(left_out),
        alternatives=others,
        constrained=held,
        answer=answer,
    )


class _Placement(NamedTuple):
    """Where one model is served and trained."""

    own: SelfHosted
    params_b: float
    training: CostRange
    backend: str
    backend_reason: str
    tuning: str


class _Compared(NamedTuple):
    candidate: Candidate
    answer: CrossoverAnswer


def _inside(compared: list[_Compared]) -> tuple[list[_Compared], list[Reason]]:
    """Return the candidates that train and serve on the user's own card, and the others with the reason.

    All of them if none does: then the data goes to rented GPUs, and the advice says so.
    """
    inside = [one for one in compared if (one.candidate.provider, one.candidate.backend) == (YOUR_OWN, "local")]
    if not inside:
        return compared, []
    text = "it doesn't fit on your own card, and the data would go to rented GPUs"
    return inside, [Reason(text=text, source=one.candidate.model) for one in compared if one not in inside]


def _placement(situation: Situation, model: str, task: dict[str, Any], book: PriceBook) -> _Placement:
    """Return where a model is served and trained for the least money.

    Raises:
        SpecError: No GPU serves it in time, or none holds its training.
    """
    workload, shape = situation.workload, _serving_shape(model)
    window, tokens = int(_facts()["models"][model]["context"]), workload.input_tokens + workload.output_tokens
    if tokens > window:
        raise SpecError(f"a request of {tokens:,.0f} tokens doesn't fit its context window, {window:,}")
    served = serve_on_own_gpu(situation, model, shape, _facts())
    own = served.own or _rented(situation, model, shape, book)
    trained, facts = shape_named(model), _facts()["training"]
    assert trained is not None, f"advice.yaml names {model}, which isn't in shapes.yaml"
    row_tokens, rank = workload.input_tokens + workload.output_tokens, int(task["rank"])
    rows = situation.demonstrations
    examples = rows if rows is not None else int(task["enough_examples"])
    size = RunSize(
        rows=examples * int(task["epochs"]),
        row_tokens=row_tokens,
        longest_tokens=float(facts["longest_row"]) * row_tokens,
        rank=rank,
    )
    training, backend, why, tuning = _training(situation, trained, size, book)
    why = "; ".join(filter(None, [why, served.why_not]))
    return _Placement(own, shape.params_b, training, backend, why, tuning)


def _rented(situation: Situation, model: str, shape: ModelShape, book: PriceBook) -> SelfHosted:
    workload = situation.workload
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
    return SelfHosted(
        model=model, gpu=host.gpu, provider=host.provider, replicas=2, latency=situation.latency, shape=shape
    )


def _serving_shape(model: str) -> ModelShape:
    """Return a candidate's shape, of hybrid models with the layers that keep keys and values."""
    serving, known = _facts()["models"][model].get("serving"), shape_named(model)
    if serving is None or known is None:
        return model_shape(model)
    return ModelShape(name=model, params_b=known.parameters / 1e9, **serving)


def _base_apis(model: str) -> list[str]:
    """Return open models at APIs, the candidate itself first."""
    own = _facts()["models"][model].get("api")
    return [*([own] if own else []), *_facts()["open_apis"]]


def _training(situation: Situation, shape: Shape, size: RunSize, book: PriceBook) -> tuple[CostRange, str, str, str]:
    """Return the cost of one run where it is lowest, the backend, the reason, and the tuning."""
    here, zero = card_memory_gib(situation), Decimal(0)
    fit = None if here is None else adapters_that_fit(shape, size, memory_gib=here)
    if fit is not None:
        tuning = {"lora": f"LoRA(rank={size.rank})", "qlora": f"QLoRA(rank={size.rank})"}[fit.tuning]
        why = f"about {fit.peak_gb:.0f} GB of your {here:g} GB, with a margin; the run costs nothing extra"
        return (
            CostRange(low=zero, likely=zero, high=zero, source="on your own GPU, which costs nothing extra"),
            "local",
            why,
            tuning,
        )
    # A run that fits on no GPU isn't offered to a managed service either: it has the same GPUs, and a lower limit on
    # rows.
    runs = [run_on_gpus(shape, size, provider="modal", besides_s=Range(**_facts()["training"]["start_s"]), book=book)]
    if not situation.must_self_host and (managed := managed_run(shape, size, provider="together", book=book)):
        runs.append(managed)
    best = min(runs, key=lambda run: run.cost.likely)
    why = _why(best, [run for run in runs if run is not best])
    if situation.must_self_host:
        why += "; on GPUs that you rent: your data goes there"
    if here is not None:
        why = f"it doesn't fit on your {here:g} GB with a margin, even in 4 bits; {why}"
    return best.cost, best.backend, why, f"LoRA(rank={size.rank})"


def _why(best: Ballpark, others: list[Ballpark]) -> str:
    return "; ".join(
        [f"{money(best.cost.likely)} a run", *(f"{run.backend} {money(run.cost.likely)}" for run in others)]
    )


def _compare(situation: Situation, placement: _Placement, book: PriceBook) -> _Compared:
    answer = crossover(
        workload=situation.workload,
        api=situation.api,
        self_hosted=placement.own,
        training=placement.training,
        retrains_per_year=situation.retrains_per_year,
        dedicated=None if situation.must_self_host else Dedicated(),
        serverless=_serverless(situation, placement.own, book),
        operations=situation.operations,
        quality=_quality(situation),
        scenarios=20_000,
        book=book,
    )
    even = answer.break_even_requests
    candidate = Candidate(
        model=placement.own.model,
        params_b=placement.params_b,
        gpu=placement.own.gpu,
        provider=placement.own.provider,
        usd_per_month=answer.option("self-hosted").usd_per_month,
        break_even_requests=even[0] if even else None,
        p_cheaper=answer.likelihood.p_self_hosted_cheaper,
        training=placement.training,
        backend=placement.backend,
        backend_reason=placement.backend_reason,
        tuning=placement.tuning,
    )
    return _Compared(candidate, answer)


def _serverless(situation: Situation, own: SelfHosted, book: PriceBook) -> Serverless | None:
    """Return serverless GPUs of the same provider, if it has any of that kind, else the default ones.

    None where the data stays on the user's own card.
    """
    if own.provider == YOUR_OWN:
        return None if situation.must_self_host else Serverless()
    try:
        serverless_gpu_hour(None, own.gpu, own.provider, book)
    except SpecError:
        return Serverless()
    return Serverless(provider=own.provider)


def _quality(situation: Situation) -> Quality:
    """Return the acceptance, assuming that the tuned model reaches the needed score.

    Its evaluation has to show whether it does.
    """
    if situation.api_score is None or situation.needed_score is None or not situation.review_usd:
        return Quality()
    return Quality(
        api_accepted=situation.api_score,
        own_accepted=situation.needed_score,
        rejected="review",
        review_usd=situation.review_usd,
    )


@functools.cache
def _facts() -> dict[str, Any]:
    import yaml

    return cast(
        "dict[str, Any]",
        yaml.safe_load((resources.files("ftsdk.cost.advice") / "advice.yaml").read_text(encoding="utf-8")),
    )
