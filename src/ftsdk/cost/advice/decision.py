"""The order of the questions: the first one that isn't settled is the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from ftsdk._format import money
from ftsdk.cost.advice.constrained_base import ConstrainedBase, form_may_suffice, held_to, is_about_form
from ftsdk.cost.advice.inputs import Alternative, Candidate, Reason, Situation, Verdict
from ftsdk.cost.advice.own_gpu import YOUR_OWN
from ftsdk.cost.advice.sample_size import examples_to_measure
from ftsdk.cost.comparison.answer import CrossoverAnswer, OptionCost
from ftsdk.cost.comparison.answer_text import volume

__all__ = [
    "Decision",
    "beats_the_api",
    "cheaper_when_idle",
    "decide",
    "goes_out",
    "instead",
    "may_hold_api",
    "may_try_larger",
    "unknown_scores",
]


class Decision(NamedTuple):
    """A verdict, and the findings behind it, the decisive one first."""

    verdict: Verdict
    because: tuple[Reason, ...]


def decide(
    situation: Situation,
    task: Mapping[str, Any],
    best: Candidate | None,
    answer: CrossoverAnswer | None,
    others: Sequence[Alternative],
    base: Alternative | None,
    held: ConstrainedBase | None,
    *,
    facts: Mapping[str, Any],
) -> Decision:
    """Return what to do first, and why.

    Args:
        situation: What is known.
        task: The facts of its kind of task.
        best: The first candidate; None if no model fits on any GPU.
        answer: That candidate against the API.
        others: APIs to try instead, the best first.
        base: An open model at an API, to be measured before it is tuned.
        held: The base model to measure with constrained decoding.
        facts: The facts of advice.
    """
    known = _findings(situation, best, answer)
    first = _before_training(situation)
    if first is not None:
        verdict, reason = first
        return Decision(verdict, (reason, *known))
    other = instead(best, others)
    must_change = situation.has_gap or situation.is_api_too_slow
    enough = _base_will_do(situation, best, answer, base, other)
    if enough is not None:
        return Decision("use the base model", (enough, *known))
    is_settled = other is not None and other.score is not None
    may_hold = held is not None or may_hold_api(situation)
    if situation.has_gap and form_may_suffice(situation) and may_hold and not is_settled:
        return Decision("constrain first", (_form_first(situation), *known))
    if other is not None and (best is None or best.p_cheaper >= 0.5 or must_change):
        return Decision("use the API", (_why_instead(situation, other), *known))
    if best is None or answer is None:
        text = "no model for this kind of task can be trained and served: see what is left out"
        return Decision("use the API", (Reason(text=text, source="left_out"), *known))
    is_cheaper = best.p_cheaper >= 0.5
    if not (must_change or situation.must_self_host or is_cheaper):
        also = () if other is None else (_why_instead(situation, other),)
        return Decision("use the API", (_api_will_do(situation, best, answer), *also, *known))
    because = (
        *_reasons_to_train(situation, best),
        *known,
        *_untuned_first(situation, best, base, held),
        *_about_the_data(situation, facts),
        *_dearer_than_own(others, other, best),
    )
    if not is_cheaper:
        because += (_what_it_costs_more(situation, best, answer),)
    least, enough, source = int(task["least_examples"]), int(task["enough_examples"]), str(facts["source"])
    rows = situation.demonstrations
    if rows is None:
        text = f"the number of examples isn't given; {enough:,} are assumed, at least {least:,} are needed"
        because += (Reason(text=text, source=source),)
    elif rows < least:
        text = f"{rows:,} examples; {situation.task} needs at least {least:,}"
        return Decision("collect data first", (Reason(text=text, source=source), *because))
    return Decision("fine-tune", because)


def _before_training(situation: Situation) -> tuple[Verdict, Reason] | None:
    """Return what comes before any question of money; None if it was done."""
    if situation.has_metric is False:
        text = (
            f"nothing shows yet which model is better; {examples_to_measure(situation)} examples give a score to "
            "within 5 points"
        )
        return "measure first", Reason(text=text, source="95% interval of a share")
    if situation.has_changing_facts and "retrieval" not in situation.tried:
        text = "answers depend on facts that change, and training doesn't keep facts up to date"
        return "retrieve first", Reason(text=text, source="has_changing_facts")
    ways = {"prompt": "prompt", "few-shot": "few-shot"}
    if situation.task == "json":
        ways["structured-output"] = "structured output (a JSON schema, which most APIs and engines enforce)"
    missing = [text for way, text in ways.items() if way not in situation.tried]
    if missing:
        return "prompt first", Reason(
            text=f"not tried yet: {' and '.join(missing)}; an afternoon, and no model to maintain", source="tried"
        )
    return None


def instead(best: Candidate | None, others: Sequence[Alternative]) -> Alternative | None:
    """Return the first API that costs no more than a model of your own."""
    return next((other for other in others if best is None or other.usd_per_month <= best.usd_per_month), None)


def may_hold_api(situation: Situation) -> bool:
    """Return whether the API's answers could be held to their form, and weren't."""
    return not situation.must_self_host and "structured-output" not in situation.tried


def _base_will_do(
    situation: Situation,
    best: Candidate | None,
    answer: CrossoverAnswer | None,
    base: Alternative | None,
    other: Alternative | None,
) -> Reason | None:
    """Return that an open model without tuning is good enough; None if it isn't, or an API costs less that is, too."""
    served = [] if best is None else [(best.usd_per_month, best.model, f"on {best.provider} {best.gpu}")]
    if base is not None and not situation.is_api_too_slow:
        served.append((base.usd_per_month, base.model, "at an API"))
    if not situation.is_base_enough or not served:
        return None
    usd, model, where = min(served)
    is_wanted = situation.has_gap or situation.is_api_too_slow or situation.must_self_host
    if not is_wanted and answer is not None and usd >= answer.option("api").usd_per_month:
        return None
    if other is not None and other.score is not None and other.usd_per_month <= usd:
        return None
    text = (
        f"an open model without tuning is good enough ({situation.base_score:.0%}, {situation.needed_score:.0%} "
        f"needed): there is nothing to train; {model} costs {money(usd)} a month {where}"
    )
    return Reason(text=text, source="base_score, needed_score")


def _form_first(situation: Situation) -> Reason:
    text = (
        f"{situation.invalid_share:.0%} of the answers have the wrong form, which constrained decoding rules out, and "
        f"{(situation.needed_score or 0) - (situation.api_score or 0):.0%} are missing: hold answers to "
        f"{held_to(situation)} and measure, before a fine-tune is paid for"
    )
    return Reason(text=text, source="invalid_share, api_score, needed_score")


def _why_instead(situation: Situation, other: Alternative) -> Reason:
    named = situation.api if isinstance(situation.api, str) else situation.api.model
    if other.score is not None and situation.needed_score is not None:
        text = (
            f"{other.model} is good enough ({other.score:.0%}, {situation.needed_score:.0%} needed) and costs "
            f"{money(other.usd_per_month)} a month"
        )
        return Reason(text=text, source=f"other_apis; {other.source}")
    text = (
        f"a cheaper API, {other.model}, costs {money(other.usd_per_month)} a month for the same tokens and wasn't "
        "measured: "
        f"if its answers suffice, neither {named} nor a model of your own is needed"
    )
    return Reason(text=text, source=other.source)


def _dearer_than_own(others: Sequence[Alternative], other: Alternative | None, best: Candidate) -> tuple[Reason, ...]:
    if not others or other is not None:
        return ()
    cheapest = min(others, key=lambda one: one.usd_per_month)
    text = (
        f"a cheaper API, {cheapest.model}, costs {money(cheapest.usd_per_month)} a month, still more than {best.model}"
    )
    return (Reason(text=text, source=cheapest.source),)


def _reasons_to_train(situation: Situation, best: Candidate) -> tuple[Reason, ...]:
    reasons: list[Reason] = []
    if situation.must_self_host:
        text = "the data may not leave, so APIs and managed services are out; "
        text += f"{best.model} would be served on {best.provider} {best.gpu}"
        if best.provider == YOUR_OWN:
            text += ", and trained there: nothing leaves" if best.backend == "local" else "; training doesn't fit there"
        else:
            text += ", on GPUs that you rent: your data goes there"
        reasons.append(Reason(text=text, source="must_self_host"))
    if situation.has_gap:
        text = f"the API, prompted well, reaches {situation.api_score:.0%}; {situation.needed_score:.0%} is needed"
        reasons.append(Reason(text=text, source="api_score, needed_score"))
        if may_try_larger(situation):
            reasons.append(
                Reason(
                    text="not tried: a larger model at an API, which may reach it without any training", source="tried"
                )
            )
    if situation.is_api_too_slow:
        text = (
            f"the API answers too slowly; {best.model} ({best.params_b:.2g}B) is small, and the {situation.latency!r} "
            "latency target is met on its own GPU"
        )
        reasons.append(Reason(text=text, source="is_api_too_slow"))
    return tuple(reasons)


def _untuned_first(
    situation: Situation, best: Candidate, base: Alternative | None, held: ConstrainedBase | None
) -> tuple[Reason, ...]:
    """Return that an open model may do without tuning, if that wasn't measured, or wasn't held to a form."""
    reasons: list[Reason] = []
    if situation.base_score is not None and situation.needed_score is not None and not situation.is_base_enough:
        text = (
            f"an open model without tuning reaches {situation.base_score:.0%}; {situation.needed_score:.0%} is needed"
        )
        reasons.append(Reason(text=text, source="base_score, needed_score"))
    if held is not None:
        text = (
            f"not tried: {held.model} without tuning, its answers held to {held_to(situation)} while they are decoded"
        )
        if is_about_form(situation):
            most = (situation.api_score or 0) + (situation.invalid_share or 0)
            text += f"; {situation.invalid_share:.0%} of the API's answers have the wrong form"
            if situation.has_gap and not form_may_suffice(situation):
                text += f", and form alone lifts them to {most:.0%} at most"
        reasons.append(Reason(text=text, source="tried"))
    if not situation.is_base_measured:
        if base is None:
            text = f"not tried: {best.model} as it is, with your best prompt, on the same GPU; tune it only if it fails"
            reasons.append(Reason(text=text, source="tried"))
        else:
            text = (
                f"not tried: an open model without tuning, such as {base.model} at an API for "
                f"{money(base.usd_per_month)} a month; tune only if it fails"
            )
            reasons.append(Reason(text=text, source=f"tried; {base.source}"))
    if situation.task == "classification" and "small-classifier" not in situation.tried:
        text = (
            "not tried: a small classifier (embeddings and logistic regression, or a tuned encoder), minutes on a CPU"
        )
        reasons.append(Reason(text=text, source="tried"))
    return tuple(reasons)


def _about_the_data(situation: Situation, facts: Mapping[str, Any]) -> tuple[Reason, ...]:
    """Return what the origin of the examples and the number of pairs mean for training."""
    reasons: list[Reason] = []
    teacher = (situation.examples_by or "").partition("/")[0]
    if teacher in facts["no_distillation"]:
        text = (
            f"the examples were written by {situation.examples_by}, whose terms restrict training models on its "
            "answers: read them before you train, or have an open model or people write the examples"
        )
        reasons.append(Reason(text=text, source=str(facts["no_distillation"][teacher])))
    pairs, enough = situation.preference_pairs, int(facts["enough_pairs"])
    if pairs >= enough:
        text = "DPO comes after SFT: it moves a model that does the task already towards the better answers"
        reasons.append(Reason(text=text, source="preference_pairs"))
    elif pairs:
        text = f"{pairs:,} pairs are too few for DPO, which needs {enough:,}: train on the better answers with SFT"
        reasons.append(Reason(text=text, source="preference_pairs"))
    return tuple(reasons)


def beats_the_api(candidate: Candidate, answer: CrossoverAnswer) -> str:
    """Return from which volume a candidate is cheaper than the API, in words."""
    if candidate.break_even_requests is not None:
        return f"cheaper than the API from {volume(candidate.break_even_requests)} requests a month"
    return (
        f"{'always' if candidate.usd_per_month < answer.option('api').usd_per_month else 'never'} cheaper than the API"
    )


def _findings(situation: Situation, best: Candidate | None, answer: CrossoverAnswer | None) -> tuple[Reason, ...]:
    """Return what belongs under every verdict."""
    found: list[Reason] = []
    if best is not None and answer is not None:
        requests, api = situation.workload.requests_per_month or 0, answer.option("api")
        text = (
            f"at {volume(requests)} request{'' if requests == 1 else 's'} a month the API costs "
            f"{money(api.usd_per_month)} and "
            f"{best.model} on {best.provider} {best.gpu} {money(best.usd_per_month)}; P(self-hosting is cheaper) = "
            f"{best.p_cheaper:.0%}"
        )
        found.append(Reason(text=text, source=_cited(answer)))
        found += _stopped_when_idle(answer)
    if situation.has_metric is None:
        text = "not given: can a good answer be told from a bad one? Without that nothing below can be shown"
        found.append(Reason(text=text, source="has_metric"))
    if situation.base_score is not None and situation.needed_score is None:
        text = "base_score isn't counted: without needed_score it isn't known whether it is enough"
        found.append(Reason(text=text, source="base_score"))
    if situation.review_usd and (unknown := unknown_scores(situation)):
        text = f"review_usd isn't counted: without {' and '.join(unknown)} the number of answers to correct is unknown"
        found.append(Reason(text=text, source="review_usd"))
    return tuple(found)


def cheaper_when_idle(answer: CrossoverAnswer) -> OptionCost | None:
    """Return GPUs that stop when idle, where they cost a tenth less than GPUs that run all month."""
    own = answer.option("self-hosted")
    serverless = next((option for option in answer.options if option.name == "serverless"), None)
    is_cheaper = serverless is not None and serverless.usd_per_month < own.usd_per_month * Decimal("0.9")
    return serverless if is_cheaper else None


def _stopped_when_idle(answer: CrossoverAnswer) -> list[Reason]:
    """Return that GPUs which stop when idle are the cheaper way to serve, where they are."""
    serverless = cheaper_when_idle(answer)
    if serverless is None:
        return []
    text = (
        f"at this volume serverless GPUs are cheaper: {serverless.label}, {money(serverless.usd_per_month)} a month; "
        f"{serverless.note}"
    )
    return [Reason(text=text, source=serverless.lines[0].source)]


def _api_will_do(situation: Situation, best: Candidate, answer: CrossoverAnswer) -> Reason:
    unknown, even = unknown_scores(situation), beats_the_api(best, answer)
    if unknown:
        isnt = "isn't" if len(unknown) == 1 else "aren't"
        text = (
            f"a model of your own is {even}; whether the API is good enough isn't known: {' and '.join(unknown)} "
            f"{isnt} given"
        )
    else:
        text = (
            f"it is good enough ({situation.api_score:.0%}, {situation.needed_score:.0%} needed), and a model of your "
            f"own is {even}"
        )
    return Reason(text=text, source=_cited(answer))


def _what_it_costs_more(situation: Situation, best: Candidate, answer: CrossoverAnswer) -> Reason:
    """Return the price of quality, or of keeping the data in."""
    more = float(best.usd_per_month) - float(answer.option("api").usd_per_month)
    text = f"a model of your own isn't likely to be cheaper here: it costs {money(more)} a month more than the API"
    if more <= 0:
        text = "a model of your own isn't likely to be cheaper here: in most scenarios the API costs less"
    if situation.must_self_host:
        return Reason(text=f"{text}, for data that doesn't go there", source=_cited(answer))
    if more > 0 and situation.has_gap:
        better = (situation.workload.requests_per_month or 0) * (
            (situation.needed_score or 0) - (situation.api_score or 0)
        )
        if situation.review_usd:
            text += f", with each bad answer corrected by hand for {money(situation.review_usd)}"
        else:
            text += (
                f", {money(more / better)} for each answer that gets better: if a person corrects one for less, keep "
                "the API"
            )
    return Reason(text=text, source=_cited(answer))


def may_try_larger(situation: Situation) -> bool:
    """Return whether a larger model at an API may close the gap."""
    return situation.has_gap and not situation.must_self_host and "larger-model" not in situation.tried


def goes_out(situation: Situation, best: Candidate) -> bool:
    """Return whether data that may not leave would go to GPUs that are rented."""
    return situation.must_self_host and (best.backend != "local" or best.provider != YOUR_OWN)


def unknown_scores(situation: Situation) -> list[str]:
    """Return which of the two scores isn't given, by name."""
    return [name for name in ("api_score", "needed_score") if getattr(situation, name) is None]


def _cited(answer: CrossoverAnswer) -> str:
    price = answer.option("api").lines[0]
    return f"{price.source}, {price.as_of}"
