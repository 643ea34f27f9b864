"""Hold what was recorded of an export against what was recorded of the model before it: one gate for each thing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from statistics import fmean
from typing import TypeVar

from ftsdk.models.export.gates import ChangedAnswer, Gate, Tolerance
from ftsdk.models.export.observation import Answer, Observation, Step
from ftsdk.models.export.probes import CONVERSATIONS, TEXTS

__all__ = ["changed_answers", "compare"]

_One = TypeVar("_One")

_COMPARED = 10
"""Of the reference's most likely tokens at each step."""
_TIE = 1e-4
"""Nats; an adapter that moves log-probabilities by less on average changes nothing that could be seen."""


def compare(reference: Observation, written: Observation, tolerance: Tolerance) -> list[Gate]:
    """Return the verdicts on tokenizer, template, ends, adapter, log-probabilities and greedy answers."""
    return [
        tokenizer_gate(reference, written),
        template_gate(reference, written),
        ends_gate(reference, written),
        adapter_gate(reference, written, tolerance),
        log_probability_gate(reference, written, tolerance),
        greedy_gate(reference, written, tolerance),
    ]


def tokenizer_gate(reference: Observation, written: Observation) -> Gate:
    """Compare the token ids of texts that tokenizers disagree on."""
    wrong = [index for index, pair in _pairs(reference.text_ids, written.text_ids) if list(pair[0]) != list(pair[1])]
    if wrong:
        first = wrong[0]
        return Gate(
            name="tokenizer",
            verdict="differs",
            detail=f"{len(wrong)} of {len(TEXTS)} texts have other ids, such as {TEXTS[first]!r}: "
            f"{list(reference.text_ids[first])[:12]} became {list(written.text_ids[first])[:12]}",
        )
    return Gate(name="tokenizer", verdict="same", detail=f"{len(TEXTS)} texts have the same ids")


def template_gate(reference: Observation, written: Observation) -> Gate:
    """Compare conversations as the template renders them, character by character, and the ids of the prompts."""
    if not written.template:
        return Gate(name="template", verdict="differs", detail="there is no chat template in what was written")
    for index, (before, after) in _pairs(reference.renderings, written.renderings):
        is_without_bos = written.adds_bos and before and after and before.endswith(after)  # added with the ids
        if before != after and not is_without_bos:
            what = f"the conversation {[message['content'] for message in CONVERSATIONS[index]]}"
            return Gate(
                name="template", verdict="differs", detail=f"{what} became {after!r:.200}; it was {before!r:.200}"
            )
    same = sum(list(before) == list(after) for _, (before, after) in _pairs(reference.prompt_ids, written.prompt_ids))
    if same != len(reference.prompt_ids):
        # Rendered alike, and yet other tokens: a doubled or a missing beginning of text.
        return Gate(
            name="template",
            verdict="differs",
            detail=f"{len(reference.prompt_ids) - same} of {len(reference.prompt_ids)} prompts have other ids, though "
            "they are rendered alike: compare the beginning of text",
        )
    return Gate(
        name="template",
        verdict="same",
        detail=f"{len(CONVERSATIONS)} conversations are rendered alike, and {same} prompts have the same ids",
    )


def ends_gate(reference: Observation, written: Observation) -> Gate:
    """Compare the tokens that end an answer, and whether a text begins with one of its own."""
    wrong: list[str] = []
    if written.eos != reference.eos:
        wrong.append(f"the end of text is token {written.eos}, and was {reference.eos}")
    if missing := sorted(reference.ends - written.ends):
        wrong.append(f"token {missing[0]} ended an answer and doesn't any more")
    if added := sorted(written.ends - reference.ends):
        wrong.append(f"token {added[0]} ends an answer and didn't before")
    if written.adds_bos is not reference.adds_bos:
        wrong.append(f"a beginning of text is {'added' if written.adds_bos else 'not added'}, unlike before")
    stops = sum(answer.is_ended for answer in reference.answers)
    for before, after in zip(reference.answers, written.answers, strict=True):
        if before.tokens == after.tokens and before.is_ended is not after.is_ended:
            wrong.append(
                f"an answer {'ended' if before.is_ended else 'went on'} after {len(before.tokens)} tokens before"
            )
            break
    if wrong:
        return Gate(name="ends", verdict="differs", detail="; ".join(wrong))
    return Gate(
        name="ends",
        verdict="same",
        detail=f"answers end with token {' or '.join(map(str, sorted(reference.ends)))}, as before; {stops} of "
        f"{len(reference.answers)} did end",
    )


def adapter_gate(reference: Observation, written: Observation, tolerance: Tolerance) -> Gate:
    """Check that the adapter is in it at all: what was written is closer to the tuned model than to the base."""
    if reference.without_adapter is None:
        return Gate(name="adapter", verdict="not checked", detail="the model has no adapter: it is whole by itself")
    to_tuned, to_base, effect = list[float](), list[float](), list[float]()
    for index, step, before, after in _steps(reference, written):
        base = reference.without_adapter[index][step]
        to_tuned += _differences(before, after)
        to_base += _differences(base, after)
        effect += _differences(before, base)
    if not effect:
        return Gate(name="adapter", verdict="can't tell", detail="no log-probabilities could be compared")
    figures = {"to_tuned": fmean(to_tuned), "to_base": fmean(to_base), "effect": fmean(effect)}
    if figures["effect"] < _TIE:
        return Gate(
            name="adapter",
            verdict="can't tell",
            detail="the adapter changes no log-probability of these prompts: pass prompts of its task",
            figures=figures,
        )
    found = (
        f"{figures['to_tuned']:.2g} nats from the tuned model and {figures['to_base']:.2g} from the base, on average"
    )
    if not figures["to_tuned"] < figures["to_base"]:  # nor if they aren't numbers
        return Gate(name="adapter", verdict="differs", detail=f"not applied: {found}", figures=figures)
    if written.without_adapter is not None:
        rows = zip(reference.without_adapter, written.without_adapter, strict=True)
        off = [
            value
            for base, after in rows
            for one, other in zip(base, after, strict=False)
            for value in _differences(one, other)
        ]
        figures["off"] = fmean(off) if off else 0.0
        if figures["off"] > (tolerance.most_mean_difference or 0.1):
            return Gate(
                name="adapter",
                verdict="differs",
                detail=f"with the adapter switched off it isn't the base: {figures['off']:.2g} nats from it on average",
                figures=figures,
            )
    return Gate(name="adapter", verdict="same", detail=f"applied: {found}", figures=figures)


def log_probability_gate(reference: Observation, written: Observation, tolerance: Tolerance) -> Gate:
    """Compare how likely tokens are, at each step up to the first that differs."""
    values, kls, agree = list[float](), list[float](), list[bool]()
    for _, _, before, after in _steps(reference, written):
        values += _differences(before, after)
        kls.append(_divergence(before, after))
        agree.append(_top(before) == _top(after))
    if not values:
        return Gate(name="log-probabilities", verdict="can't tell", detail="none could be compared")
    figures = {
        "mean_difference": fmean(values),
        "most_difference": max(values),
        "mean_kl": fmean(kls),
        "top_agreement": fmean(agree),
        "steps": float(len(kls)),
    }
    limits = (
        ("mean_difference", tolerance.most_mean_difference),
        ("most_difference", tolerance.most_difference),
        ("mean_kl", tolerance.most_kl),
    )
    over = [f"{name} is over {limit:g}" for name, limit in limits if limit is not None and not figures[name] <= limit]
    shown = (
        f"over {len(kls)} steps the mean difference is {figures['mean_difference']:.2g} nats, the largest "
        f"{figures['most_difference']:.2g}, the divergence {figures['mean_kl']:.2g}, and "
        f"{figures['top_agreement']:.1%} of the most likely tokens agree"
    )
    if over:
        return Gate(name="log-probabilities", verdict="differs", detail=f"{'; '.join(over)}: {shown}", figures=figures)
    return Gate(name="log-probabilities", verdict="within", detail=shown, figures=figures)


def greedy_gate(reference: Observation, written: Observation, tolerance: Tolerance) -> Gate:
    """Compare greedy answers token by token; where they part, how sure the reference was counts."""
    parted = list(_partings(reference, written))
    count = len(reference.answers)
    if not count:
        return Gate(name="greedy", verdict="not checked", detail="there are no prompts")
    surest = max((margin for _, _, margin in parted), default=0.0)
    figures = {"equal": float(count - len(parted)), "answers": float(count), "surest_margin": surest}
    shown = f"{count - len(parted)} of {count} answers are equal token by token"
    if not parted:
        return Gate(name="greedy", verdict="same", detail=shown, figures=figures)
    if tolerance.tie_margin is None:
        return Gate(
            name="greedy",
            verdict="within",
            detail=f"{shown}; a quantised model isn't held to that",
            figures=figures,
        )
    if surest <= tolerance.tie_margin:
        return Gate(
            name="greedy",
            verdict="within",
            detail=f"{shown}, and where others part the two best tokens were within {surest:.2g} nats",
            figures=figures,
        )
    return Gate(
        name="greedy",
        verdict="differs",
        detail=f"{shown}; others part where the model was sure by {surest:.2g} nats",
        figures=figures,
    )


def changed_answers(
    reference: Observation, written: Observation, prompts: Sequence[str], decode: Callable[[Sequence[int]], str]
) -> tuple[ChangedAnswer, ...]:
    """Return the prompts that get another answer, with both."""
    return tuple(
        ChangedAnswer(
            prompt=prompts[index],
            before=decode(reference.answers[index].tokens),
            after=decode(written.answers[index].tokens),
            at_token=at,
            margin=margin,
        )
        for index, at, margin in _partings(reference, written)
    )


def _steps(reference: Observation, written: Observation) -> Iterator[tuple[int, int, Step, Step]]:
    """Yield the steps that both have after the same tokens: all, or up to the first difference, and that one, too."""
    for index, (before, after) in enumerate(zip(reference.answers, written.answers, strict=True)):
        shared = _shared(before, after)
        last = len(before.steps) if written.is_forced else shared + 1
        for step in range(min(last, len(before.steps), len(after.steps))):
            yield index, step, before.steps[step], after.steps[step]


def _partings(reference: Observation, written: Observation) -> Iterator[tuple[int, int, float]]:
    """Yield the answers that differ: which, at which token, and how sure the reference was there."""
    for index, (before, after) in enumerate(zip(reference.answers, written.answers, strict=True)):
        if before.tokens == after.tokens and before.is_ended is after.is_ended:
            continue
        at = _shared(before, after)
        step = before.steps[at] if at < len(before.steps) else {}
        best = sorted(step.values(), reverse=True)
        yield index, at, best[0] - best[1] if len(best) > 1 else math.inf


def _shared(before: Answer, after: Answer) -> int:
    pairs = zip(before.tokens, after.tokens, strict=False)
    return next(
        (index for index, (one, other) in enumerate(pairs) if one != other), min(len(before.tokens), len(after.tokens))
    )


def _differences(before: Step, after: Step) -> list[float]:
    """Return the differences of the log-probabilities of the reference's most likely tokens."""
    floor = min(after.values(), default=-math.inf)
    found: list[float] = []
    for token in sorted(before, key=before.__getitem__, reverse=True)[:_COMPARED]:
        if token in after:
            found.append(abs(before[token] - after[token]))
        elif before[token] > floor:
            found.append(before[token] - floor)  # at least: it is less likely than all that were recorded
    return found


def _divergence(before: Step, after: Step) -> float:
    """Return the Kullback-Leibler divergence over the tokens that both recorded, all others taken together."""
    known = [token for token in before if token in after]
    inside = sum(math.exp(before[token]) * (before[token] - after[token]) for token in known)
    rest, other = (max(1e-12, 1.0 - sum(math.exp(step[token]) for token in known)) for step in (before, after))
    found = inside + rest * math.log(rest / other)
    return math.inf if math.isnan(found) else max(0.0, found)


def _top(step: Step) -> int:
    return max(step, key=step.__getitem__)


def _pairs(before: Sequence[_One], after: Sequence[_One]) -> Iterator[tuple[int, tuple[_One, _One]]]:
    return enumerate(zip(before, after, strict=True))
