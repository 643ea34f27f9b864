"""The order of the questions: the first one that isn't settled is the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from ftsdk._format import money
from ftsdk.cost.advice.inputs import Alternative, Candidate, Reason, Situation, Verdict
from ftsdk.cost.comparison.answer import CrossoverAnswer
from ftsdk.cost.comparison.answer_text import volume

__all__ = ["Decision", "beats_the_api", "decide", "next_steps"]


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
    *,
    source: str,
) -> Decision:
    """Return what to do first, and why.

    Args:
        situation: What is known.
        task: The facts of its kind of task.
        best: The first candidate; None if no model fits on any GPU.
        answer: That candidate against the API.
        others: APIs to try instead, the best first.
        source: Source of the facts of the task.
    """
    known = _findings(situation, best, answer)
    first = _before_training(situation)
    if first is not None:
        verdict, reason = first
        return Decision(verdict, (reason, *known))
    other = _instead(best, others)
    if other is not None and (best is None or best.p_cheaper >= 0.5 or situation.has_gap):
        return Decision("use the API", (_why_instead(situation, other), *known))
    if best is None or answer is None:
        text = "no model for this kind of task can be trained and served: see what is left out"
        return Decision("use the API", (Reason(text=text, source="left_out"), *known))
    is_cheaper = best.p_cheaper >= 0.5
    if not (situation.has_gap or situation.must_self_host or is_cheaper):
        also = () if other is None else (_why_instead(situation, other),)
        return Decision("use the API", (_api_will_do(situation, best, answer), *also, *known))
    because = (*known, *_reasons_to_train(situation, best), *_dearer_than_own(others, other, best))
    if not is_cheaper:
        because += (_what_it_costs_more(situation, best, answer),)
    least, enough = int(task["least_examples"]), int(task["enough_examples"])
    if situation.examples is None:
        text = f"the number of examples isn't given; {enough:,} are assumed, at least {least:,} are needed"
        because += (Reason(text=text, source=source),)
    elif situation.examples < least:
        text = f"{situation.examples:,} examples; {situation.task} needs at least {least:,}"
        return Decision("collect data first", (Reason(text=text, source=source), *because))
    return Decision("fine-tune", because)


def _before_training(situation: Situation) -> tuple[Verdict, Reason] | None:
    """Return what comes before any question of money; None if it was done."""
    if situation.has_metric is False:
        text = (
            f"nothing shows yet which model is better; {_examples_to_measure(situation)} examples give a score to "
            "within 5 points"
        )
        return "measure first", Reason(text=text, source="95 % interval of a share")
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


def _instead(best: Candidate | None, others: Sequence[Alternative]) -> Alternative | None:
    """Return the first API that costs no more than a model of your own."""
    return next((other for other in others if best is None or other.usd_per_month <= best.usd_per_month), None)


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
    if situation.has_gap:
        text = f"the API, prompted well, reaches {situation.api_score:.0%}; {situation.needed_score:.0%} is needed"
        reasons.append(Reason(text=text, source="api_score, needed_score"))
        if _may_try_larger(situation):
            reasons.append(
                Reason(
                    text="not tried: a larger model at an API, which may reach it without any training", source="tried"
                )
            )
    if situation.must_self_host:
        text = (
            f"the data may not leave, so APIs and managed services are out; {best.model} would be served by "
            f"{best.provider} on GPUs that you rent: "
            "your data goes there"
        )
        reasons.append(Reason(text=text, source="must_self_host"))
    return tuple(reasons)


def next_steps(
    verdict: Verdict,
    situation: Situation,
    task: Mapping[str, Any],
    best: Candidate | None,
    others: Sequence[Alternative],
) -> tuple[str, ...]:
    """Return what to do now, in order."""
    match verdict:
        case "measure first":
            return (
                f"write down for {_examples_to_measure(situation)} inputs what a good answer is",
                "make an Eval of them (Eval.exact_match, or a rubric)",
                "ask for advice again with api_score",
            )
        case "retrieve first":
            return (
                "put the facts into the prompt by retrieval",
                "measure that",
                "ask again with tried: [prompt, few-shot, retrieval]",
            )
        case "prompt first":
            return (
                "write the best prompt you can, with five to twenty examples in it",
                "measure it on examples that aren't in it",
                "ask again with tried and api_score",
            )
        case "collect data first":
            return (
                f"collect {int(task['enough_examples']):,} examples, from production or written by hand",
                "look at what a model would see of them: ftsdk preview JOB.yaml",
                "ask again",
            )
        case "use the API":
            unknown = _unknown_scores(situation)
            measure = (
                (f"measure whether the API is good enough, and ask again with {' and '.join(unknown)}",)
                if unknown
                else ()
            )
            other = _instead(best, others)
            if other is None:
                return (
                    *measure,
                    "stay with the API",
                    "ask again when the volume, the price or the needed score changes",
                )
            if other.score is not None:
                return (
                    *measure,
                    f"move to {other.model}",
                    "ask again when the volume, the price or the needed score changes",
                )
            return (
                *measure,
                f"measure {other.model} on the same examples, and move to it if its answers suffice",
                "if they don't, ask again with tried: [..., smaller-model]",
            )
        case "fine-tune":
            assert best is not None, "without a candidate there is nothing to tune"
            larger = (
                ("first measure a larger model at an API; if it is good enough, ask again with it",)
                if _may_try_larger(situation)
                else ()
            )
            costs = (
                "on your own GPU, without a bill"
                if best.backend == "local"
                else f"about {money(best.training.likely)} a run"
            )
            inside = (
                (
                    "where rented GPUs are out too, train and serve on one of your own that holds it: ask again with "
                    "its gpu_memory_gb",
                )
                if _goes_out(situation, best)
                else ()
            )
            return (
                *larger,
                f"train {best.model} first, the smallest: {costs}",
                *inside,
                "compare it with the base"
                + ("" if situation.must_self_host else " and with the API")
                + " on the same examples: run.evaluate()",
                "go up in size only if it doesn't reach "
                + ("what is needed" if situation.needed_score is None else f"{situation.needed_score:.0%}"),
            )


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
    if situation.review_usd and (unknown := _unknown_scores(situation)):
        text = f"review_usd isn't counted: without {' and '.join(unknown)} the number of answers to correct is unknown"
        found.append(Reason(text=text, source="review_usd"))
    return tuple(found)


def _stopped_when_idle(answer: CrossoverAnswer) -> list[Reason]:
    """Return that GPUs which stop when idle are the cheaper way to serve, where they are: at low volumes."""
    own = answer.option("self-hosted")
    serverless = next((option for option in answer.options if option.name == "serverless"), None)
    if serverless is None or serverless.usd_per_month >= own.usd_per_month * Decimal("0.9"):
        return []
    text = (
        f"at this volume serverless GPUs are cheaper: {serverless.label}, {money(serverless.usd_per_month)} a month; "
        f"{serverless.note}"
    )
    return [Reason(text=text, source=serverless.lines[0].source)]


def _api_will_do(situation: Situation, best: Candidate, answer: CrossoverAnswer) -> Reason:
    unknown, even = _unknown_scores(situation), beats_the_api(best, answer)
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


def _may_try_larger(situation: Situation) -> bool:
    return situation.has_gap and not situation.must_self_host and "larger-model" not in situation.tried


def _goes_out(situation: Situation, best: Candidate) -> bool:
    return situation.must_self_host and best.backend != "local"


def _unknown_scores(situation: Situation) -> list[str]:
    return [name for name in ("api_score", "needed_score") if getattr(situation, name) is None]


def _examples_to_measure(situation: Situation) -> int:
    """Return how many examples give a share to within five points.

    Near 0 and 1 the formula would ask for hardly any.
    """
    score = 0.5 if situation.api_score is None else min(max(situation.api_score, 0.1), 0.9)
    return math.ceil(1.96**2 * score * (1 - score) / 0.05**2)


def _cited(answer: CrossoverAnswer) -> str:
    price = answer.option("api").lines[0]
    return f"{price.source}, {price.as_of}"
