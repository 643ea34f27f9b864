"""What to do now, in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from ftsdk._format import money
from ftsdk.cost.advice.constrained_base import ConstrainedBase, form_may_suffice, form_of, held_api, held_to
from ftsdk.cost.advice.decision import (
    cheaper_when_idle,
    goes_out,
    instead,
    may_hold_api,
    may_try_larger,
    unknown_scores,
)
from ftsdk.cost.advice.inputs import Alternative, Candidate, Situation, Verdict
from ftsdk.cost.advice.sample_size import examples_to_measure
from ftsdk.cost.comparison.answer import CrossoverAnswer

__all__ = ["next_steps"]


def next_steps(
    verdict: Verdict,
    situation: Situation,
    task: Mapping[str, Any],
    best: Candidate | None,
    others: Sequence[Alternative],
    base: Alternative | None,
    answer: CrossoverAnswer | None = None,
    held: ConstrainedBase | None = None,
) -> tuple[str, ...]:
    """Return what to do now, in order.

    Args:
        verdict: What was decided.
        situation: What is known.
        task: The facts of its kind of task.
        best: The first candidate; None if no model fits on any GPU.
        others: APIs to try instead, the best first.
        base: An open model at an API, to be measured before it is tuned.
        answer: The first candidate against the API.
        held: The base model to measure with constrained decoding.
    """
    match verdict:
        case "measure first":
            return (
                f"write down for {examples_to_measure(situation)} inputs what a good answer is",
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
            ways = (
                "write the best prompt you can, with five to twenty examples in it",
                "measure it on examples that aren't in it",
            )
            if "prompt" in situation.tried and "few-shot" in situation.tried:
                ways = _held(situation, held, answer)
            return (*ways, "ask again with tried and api_score")
        case "constrain first":
            return (
                *_held(situation, held, answer),
                "ask again with tried: [..., structured-output, constrained-decoding], api_score and base_score",
            )
        case "use the base model":
            return (
                "serve the open model with your best prompt"
                + ("" if form_of(situation.task) is None else f", its answers held to {held_to(situation)}"),
                "keep the eval: run it again on what users send",
                "ask again when the volume, the price or the needed score changes",
            )
        case "collect data first":
            return (
                f"collect {int(task['enough_examples']):,} examples, from production or written by hand",
                "look at what a model would see of them: ftsdk preview JOB.yaml",
                "ask again",
            )
        case "use the API":
            unknown = unknown_scores(situation)
            measure = (
                (f"measure whether the API is good enough, and ask again with {' and '.join(unknown)}",)
                if unknown
                else ()
            )
            other = instead(best, others)
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
                if may_try_larger(situation)
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
                if goes_out(situation, best)
                else ()
            )
            untuned = _untuned(situation, best, base, held)
            return (
                *((*untuned, *larger) if form_may_suffice(situation) else (*larger, *untuned)),
                f"train {best.model} first, the smallest: {costs}",
                *inside,
                "compare it with the base"
                + ("" if situation.must_self_host else " and with the API")
                + " on the same examples: run.evaluate()",
                "go up in size only if it doesn't reach "
                + ("what is needed" if situation.needed_score is None else f"{situation.needed_score:.0%}"),
                *_when_idle(answer),
            )
        case _:
            assert_never(verdict)


def _when_idle(answer: CrossoverAnswer | None) -> tuple[str, ...]:
    """Return the step to serve on GPUs that stop when idle, where those are cheaper: at low volumes."""
    option = None if answer is None else cheaper_when_idle(answer)
    return () if option is None else (f"serve it on GPUs that stop when idle: {option.label}",)


def _held(situation: Situation, held: ConstrainedBase | None, answer: CrossoverAnswer | None) -> tuple[str, ...]:
    """Return the steps that measure answers which are held to their form."""
    api = (held_api(situation, answer),) if may_hold_api(situation) else ()
    return (*api, *(() if held is None else (f"measure {held}",)))


def _untuned(
    situation: Situation, best: Candidate, base: Alternative | None, held: ConstrainedBase | None
) -> tuple[str, ...]:
    """Return the step that measures what needs no tuning."""
    ways: list[str] = []
    if not situation.is_base_measured:
        ways.append(f"{best.model} as it is" if base is None else f"an open model as it is ({base.model})")
    if held is not None:
        ways.append(str(held))
    if situation.task == "classification" and "small-classifier" not in situation.tried:
        ways.append("a small classifier on embeddings")
    return (f"measure {'; '.join(ways)}; on the same examples; stop if one is good enough",) if ways else ()
