"""A base model whose answers are held to their form while they are decoded: what to measure before a fine-tune."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal, assert_never

from ftsdk._format import money
from ftsdk._rich_text import rich_text
from ftsdk.cost.advice.inputs import Alternative, Candidate, Situation, Task
from ftsdk.cost.advice.sample_size import examples_to_measure
from ftsdk.cost.comparison.answer import CrossoverAnswer
from ftsdk.spec import Value
from ftsdk.spec.base import OptionalPositiveUsd, usd_default

__all__ = [
    "ConstrainedBase",
    "constrained_base",
    "form_may_suffice",
    "form_of",
    "held_api",
    "held_to",
    "is_about_form",
]

Form = Literal["choices", "schema"]


class ConstrainedBase(Value):
    """An open model without tuning whose answers can't have a wrong form, and what measuring it takes."""

    model: str
    provider: str | None = None
    """Of the GPU that it runs on; None: an API."""
    form: Form
    """What its answers are held to: the classes, or a JSON Schema."""
    call: str
    """The target to pass to `ftsdk.evals.evaluate`."""
    examples: int
    """That show its share of good answers to within 5 points."""
    usd: OptionalPositiveUsd = usd_default(None)
    """US dollars of these examples' tokens at the API; None: it runs on a GPU, or the volume is 0."""

    def __str__(self) -> str:
        where = "an API with response_format" if self.provider is None else f"{self.provider} GPU"
        return f"{self.model} with constrained decoding ({where}): {self.call}, {_cost(self.examples, self.usd)}"

    __rich__ = rich_text


def constrained_base(situation: Situation, best: Candidate | None, base: Alternative | None) -> ConstrainedBase | None:
    """Return the base model to measure with constrained decoding.

    None if answers of this kind of task have no form that can be enforced, if it was measured, or if the base model
    was, and the form of answers isn't known to be what fails.

    Args:
        situation: What is known.
        best: The first candidate; None if no model fits on any GPU.
        base: An open model at an API; None if the data may not leave, or none has a price.
    """
    form = form_of(situation.task)
    is_measured = situation.base_score is not None or "constrained-decoding" in situation.tried
    if form is None or is_measured or not (is_about_form(situation) or not situation.is_base_measured):
        return None
    if situation.invalid_share == 0:
        return None  # every answer had its form: enforcing it changes nothing
    examples = examples_to_measure(situation)
    if base is not None:
        name = base.model.partition("/")[2]
        return ConstrainedBase(
            model=base.model,
            form=form,
            call=f'constrained(Endpoint(url=..., model="{name}").target("base"), {_keyword(situation)})',
            examples=examples,
            usd=_share_of_a_month(base.usd_per_month, examples, situation),
        )
    if best is None:
        return None
    return ConstrainedBase(
        model=best.model,
        provider=best.provider,
        form=form,
        call=f'constrained(as_target("base", Model(id="{best.model}")), {_keyword(situation)})',
        examples=examples,
    )


def is_about_form(situation: Situation) -> bool:
    """Return whether answers of a wrong form are known to be a reason for the fine-tune."""
    return form_of(situation.task) is not None and bool(situation.invalid_share)


def form_may_suffice(situation: Situation) -> bool:
    """Return whether the API would be good enough if each answer of a wrong form became a good one."""
    if not is_about_form(situation) or situation.api_score is None or situation.needed_score is None:
        return False
    return situation.api_score + (situation.invalid_share or 0) >= situation.needed_score - 1e-9


def held_api(situation: Situation, answer: CrossoverAnswer | None) -> str:
    """Return the step that measures the API itself with its answers held to their form."""
    named = situation.api if isinstance(situation.api, str) else situation.api.model
    examples = examples_to_measure(situation)
    month = None if answer is None else answer.option("api").usd_per_month
    usd = None if month is None else _share_of_a_month(month, examples, situation)
    call = f'constrained(Endpoint(url=..., model="{named.partition("/")[2]}").target("api"), {_keyword(situation)})'
    return f"measure {named} with its answers held to {held_to(situation)} (response_format): {call}, " + _cost(
        examples, usd
    )


def held_to(situation: Situation) -> str:
    """Return what answers of this kind of task are held to, in words."""
    return "the classes" if form_of(situation.task) == "choices" else "a JSON schema"


def _keyword(situation: Situation) -> str:
    """Return the argument of `constrained` for this kind of task."""
    return "choices=labels" if form_of(situation.task) == "choices" else "schema=schema"


def form_of(task: Task) -> Form | None:
    """Return what answers of a kind of task can be held to; None: nothing, they are text."""
    match task:
        case "classification":
            return "choices"
        case "json" | "extraction":
            return "schema"
        case "style" | "chat" | "reasoning":
            return None
        case _:
            assert_never(task)


def _share_of_a_month(usd: Decimal, examples: int, situation: Situation) -> Decimal | None:
    """Return US dollars of some examples, from those of all requests of a month."""
    requests = situation.workload.requests_per_month
    if not requests or not usd:
        return None
    return max(round(usd * examples / Decimal(repr(float(requests))), 4), Decimal("0.0001"))


def _cost(examples: int, usd: Decimal | None) -> str:
    return f"{examples} examples" + (", no bill but the GPU's" if usd is None else f", about {money(usd)}")
