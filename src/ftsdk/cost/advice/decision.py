"""The questions of a careful colleague, in their order: the first one that isn't settled is the verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from ftsdk._format import money
from ftsdk.cost.advice.inputs import Candidate, Reason, Situation, Verdict
from ftsdk.cost.comparison.answer import CrossoverAnswer
from ftsdk.cost.comparison.answer_text import volume

__all__ = ["beats_the_api", "judge", "next_steps"]


def judge(
    situation: Situation, task: Mapping[str, Any], best: Candidate | None, answer: CrossoverAnswer | None, *, source: str
) -> tuple[Verdict, list[Reason]]:
    """Say what to do first, and why.

    Args:
        situation: What was told.
        task: The facts of its kind of task.
        best: The first candidate; None: nothing holds any.
        answer: That candidate against the API.
        source: Of the facts.
    """
    because = _what_is_known(situation, best, answer)
    if situation.has_metric is False:
        text = f"nobody can tell yet what is better; {_examples_to_measure(situation)} examples tell a score to within 5 points"
        return "measure first", [Reason(text=text, source="95 % interval of a share"), *because]
    if situation.has_changing_facts and "retrieval" not in situation.tried:
        text = "answers depend on facts that change, and training doesn't keep facts up to date"
        return "retrieve first", [Reason(text=text, source="has_changing_facts"), *because]
    missing = [way for way in ("prompt", "few-shot") if way not in situation.tried]
    if missing:
        text = f"not tried yet: {' and '.join(missing)}; an afternoon, and no model to look after"
        return "prompt first", [Reason(text=text, source="tried"), *because]
    if best is None or answer is None:
        return "use the API", [
            Reason(text="no model for this kind of task can be trained and served: see what is left out", source="left_out"),
            *because,
        ]
    is_cheaper = best.p_cheaper >= 0.5
    if _has_gap(situation):
        text = f"the API reaches {situation.api_score:.0%} of the {situation.needed_score:.0%} that is needed, though prompted"
        because.append(Reason(text=text, source="api_score, needed_score"))
        if _may_try_larger(situation):
            because.append(Reason(text="not tried: a larger model at an API, which may reach it without any training", source="tried"))
    if situation.must_self_host:
        text = (
            f"the data may not leave, so APIs and managed services are out; {best.model} would be served by {best.provider} on GPUs that you rent: "
            "your data goes there"
        )
        because.append(Reason(text=text, source="must_self_host"))
    if not (_has_gap(situation) or situation.must_self_host or is_cheaper):
        return "use the API", [_api_will_do(situation, best, answer), *because]
    if not is_cheaper:
        because.append(_what_it_costs_more(situation, best, answer))
    least = int(task["least_examples"])
    if situation.examples is None:
        text = f"not said: how many examples there are; {task['enough_examples']:,} are taken, at least {least:,} are needed"
        because.append(Reason(text=text, source=source))
    elif situation.examples < least:
        text = f"{situation.examples:,} examples; {situation.task} takes {least:,} at least"
        return "collect data first", [Reason(text=text, source=source), *because]
    return "fine-tune", because


def next_steps(verdict: Verdict, situation: Situation, task: Mapping[str, Any], best: Candidate | None) -> tuple[str, ...]:
    """Say what to do now."""
    match verdict:
        case "measure first":
            return (
                f"write down for {_examples_to_measure(situation)} inputs what a good answer is",
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
                "look at what a model would see of them: ftsdk preview JOB.yaml",
                "ask again",
            )
        case "use the API":
            unknown = _unknown_scores(situation)
            measure = (f"measure whether the API is good enough, and ask again with {' and '.join(unknown)}",) if unknown else ()
            return (*measure, "stay with the API", "ask again when the volume, the price or the needed score changes")
        case "fine-tune":
            assert best is not None, "without a candidate there is nothing to tune"
            larger = ("first measure a larger model at an API; if it is good enough, ask again with it",) if _may_try_larger(situation) else ()
            costs = "on the GPU that is here, without a bill" if best.backend == "local" else f"about {money(best.training.likely)} a run"
            inside = (
                ("where rented GPUs are out too, train and serve on one of your own that holds it: ask again with its gpu_memory_gb",)
                if _goes_out(situation, best)
                else ()
            )
            return (
                *larger,
                f"train {best.model} first, the smallest: {costs}",
                *inside,
                "compare it with the base" + ("" if situation.must_self_host else " and with the API") + " on the same examples: run.evaluate()",
                "go up in size only if it doesn't reach " + ("what is needed" if situation.needed_score is None else f"{situation.needed_score:.0%}"),
            )


def beats_the_api(candidate: Candidate, answer: CrossoverAnswer) -> str:
    """From which volume a candidate is cheaper than the API."""
    if candidate.break_even_requests is not None:
        return f"cheaper than the API from {volume(candidate.break_even_requests)} requests a month"
    return f"{'always' if candidate.usd_per_month < answer.option('api').usd_per_month else 'never'} cheaper than the API"


def _what_is_known(situation: Situation, best: Candidate | None, answer: CrossoverAnswer | None) -> list[Reason]:
    """What belongs under every verdict."""
    because: list[Reason] = []
    if best is not None and answer is not None:
        requests, api = situation.workload.requests_per_month or 0, answer.option("api")
        text = (
            f"at {volume(requests)} request{'' if requests == 1 else 's'} a month the API costs {money(api.usd_per_month)} and "
            f"{best.model} on {best.provider} {best.gpu} {money(best.usd_per_month)}; P(self-hosting is cheaper) = {best.p_cheaper:.0%}"
        )
        because.append(Reason(text=text, source=_cited(answer)))
    if situation.has_metric is None:
        text = "not said: can a good answer be told from a bad one? Without that nothing below can be shown"
        because.append(Reason(text=text, source="has_metric"))
    if situation.review_usd and (unknown := _unknown_scores(situation)):
        text = f"review_usd isn't counted: without {' and '.join(unknown)} nobody knows how many answers have to be put right"
        because.append(Reason(text=text, source="review_usd"))
    return because


def _api_will_do(situation: Situation, best: Candidate, answer: CrossoverAnswer) -> Reason:
    unknown, even = _unknown_scores(situation), beats_the_api(best, answer)
    if unknown:
        isnt = "isn't" if len(unknown) == 1 else "aren't"
        text = f"a model of your own is {even}; whether the API is good enough isn't known: {' and '.join(unknown)} {isnt} given"
    else:
        text = f"it is good enough ({situation.api_score:.0%}, {situation.needed_score:.0%} needed), and a model of your own is {even}"
    return Reason(text=text, source=_cited(answer))


def _what_it_costs_more(situation: Situation, best: Candidate, answer: CrossoverAnswer) -> Reason:
    """Quality and secrecy have a price: whoever decides has to see it."""
    more = float(best.usd_per_month) - float(answer.option("api").usd_per_month)
    text = f"a model of your own isn't likely to be cheaper here: it costs {money(more)} a month more than the API"
    if more <= 0:
        text = "a model of your own isn't likely to be cheaper here: in most scenarios the API costs less"
    if situation.must_self_host:
        return Reason(text=f"{text}, for data that doesn't go there", source=_cited(answer))
    if more > 0 and _has_gap(situation):
        better = (situation.workload.requests_per_month or 0) * ((situation.needed_score or 0) - (situation.api_score or 0))
        if situation.review_usd:
            text += f", with each bad answer put right by hand for {money(situation.review_usd)}"
        else:
            text += f", {money(more / better)} for each answer that gets better: if a person puts one right for less, keep the API"
    return Reason(text=text, source=_cited(answer))


def _has_gap(situation: Situation) -> bool:
    return situation.api_score is not None and situation.needed_score is not None and situation.api_score < situation.needed_score


def _may_try_larger(situation: Situation) -> bool:
    return _has_gap(situation) and not situation.must_self_host and "larger-model" not in situation.tried


def _goes_out(situation: Situation, best: Candidate) -> bool:
    return situation.must_self_host and best.backend != "local"


def _unknown_scores(situation: Situation) -> list[str]:
    return [name for name in ("api_score", "needed_score") if getattr(situation, name) is None]


def _examples_to_measure(situation: Situation) -> int:
    """How many examples tell a share to within five points; near 0 and 1 the formula would ask for hardly any."""
    score = 0.5 if situation.api_score is None else min(max(situation.api_score, 0.1), 0.9)
    return math.ceil(1.96**2 * score * (1 - score) / 0.05**2)


def _cited(answer: CrossoverAnswer) -> str:
    price = answer.option("api").lines[0]
    return f"{price.source}, {price.as_of}"
