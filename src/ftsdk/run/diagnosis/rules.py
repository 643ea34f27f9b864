"""The rules of a diagnosis. Each looks at the evidence and returns a finding, or None.

The thresholds are what a practitioner reads off the curves. They were set on runs of SmolLM2-135M with one fault
planted in each and on healthy ones, whose curves and answers the tests hold them to.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from statistics import fmean, median

from ftsdk.evals import PairedScore
from ftsdk.evals.suites import suite_names
from ftsdk.run.diagnosis.evidence import Answered, Evidence
from ftsdk.run.diagnosis.finding import Finding
from ftsdk.spec import SFT, default_learning_rate

__all__ = ["RULES", "Rule"]

Rule = Callable[[Evidence], Finding | None]

GENERAL, BLEED = "general", "format_bleed"
"""The names of suites, or what they begin with, whose results tell of abilities lost and of a format that bleeds."""
_MOST_EPOCHS = 1000.0
"""A job takes no more."""
_BEFORE_A_JUMP = 4
"""Steps whose median a jump is held against."""
_JUMP = 4
"""A jump is this many times the median difference of neighbouring steps; in measured runs, 5.6 and more where the rate
was 50 times the usual, and at most 2.6 in healthy ones."""
_FEWEST_POINTS = 5
"""Logged steps below which a curve says nothing."""
_STEADY = 10
"""A fall of this many times the difference of neighbouring steps is steady; steps that are too large don't do that."""
_TEMPLATE_MARKS = re.compile(
    r"<\|[a-z_]+\|>|\[/?INST\]|<</?SYS>>|<(?:start|end)_of_turn>|^#{2,3} ?(?:Instruction|Response|Input)\b|"
    r"^(?:user|assistant|system)\s*$",
    re.MULTILINE | re.IGNORECASE,
)


def diverging(evidence: Evidence) -> Finding | None:
    """The training loss went up, far above where it had been, and stayed there, or is no number any more."""
    curve = evidence.training
    if evidence.not_finite is not None:
        step, what = evidence.not_finite
        return _diverging(evidence, f"at step {step}: {what}")
    if len(curve) < 2 * _FEWEST_POINTS:
        return None
    step, lowest = curve.lowest
    is_back_up = curve.last > max(1.5 * lowest, lowest + 0.3)
    never_below = curve.last > 0.9 * curve.first and max(loss for _, loss in curve.points) > 1.5 * curve.first
    if not (is_back_up or never_below):
        return _jumping(evidence)
    return _diverging(
        evidence,
        f"the training loss was {lowest:.3g} at step {step} and is {curve.last:.3g} at the end (it began at "
        f"{curve.first:.3g})",
    )


def _jumping(evidence: Evidence) -> Finding | None:
    """The loss falls over all, but jumps far up again and again, at a high learning rate."""
    losses = [loss for _, loss in evidence.training.points]
    # Small batches of mixed rows differ as much from one step to the next as some jumps do.
    noise = _spread(evidence)
    jumps: list[tuple[int, float, float]] = []
    for n in range(_BEFORE_A_JUMP, len(losses)):
        before = median(losses[n - _BEFORE_A_JUMP : n])
        if losses[n] > 2 * before and losses[n] > before + max(1, _JUMP * noise):
            jumps.append((evidence.training.points[n][0], before, losses[n]))
    usual = default_learning_rate(evidence.spec.method, evidence.spec.tuning).value
    if len(jumps) < 2 or _learning_rate(evidence) <= 3 * usual:
        return None
    step, before, after = max(jumps, key=lambda jump: jump[2] / jump[1])
    return _diverging(
        evidence,
        f"the training loss jumped {len(jumps)} times to more than twice what it had been, at step {step} from "
        f"{before:.3g} to {after:.3g}; {usual:.0e} is a usual learning rate for {evidence.spec.tuning.kind}",
    )


def _diverging(evidence: Evidence, seen: str) -> Finding:
    rate = _learning_rate(evidence)
    return Finding(
        kind="diverging",
        evidence=(seen, f"the learning rate is {rate:.1e}"),
        cause="the steps are too large: each one overshoots, and what was learned is lost again",
        advice="a tenth of the learning rate",
        change={"learning_rate": _rounded(rate / 10)},
    )


def loss_not_falling(evidence: Evidence) -> Finding | None:
    """The training loss stayed where it was."""
    curve = evidence.training
    if len(curve) < 2 * _FEWEST_POINTS or curve.first < 0.1 or curve.last < 0.85 * curve.first:
        return None
    rate, usual = _learning_rate(evidence), default_learning_rate(evidence.spec.method, evidence.spec.tuning).value
    noise = _spread(evidence)
    seen = (
        f"the training loss began at {curve.first:.3g} and ended at {curve.last:.3g} after {curve.points[-1][0]} steps "
        f"(single steps vary by {noise:.2g})",
        f"the learning rate is {rate:.1e}; {usual:.0e} is usual for {evidence.spec.tuning.kind}",
    )
    if rate < usual / 3:
        return Finding(
            kind="loss_not_falling",
            evidence=seen,
            cause="the learning rate is too low to get anywhere in so many steps",
            advice="the usual learning rate",
            change={"learning_rate": usual},
        )
    is_steady = curve.lowest[1] == curve.last and curve.first - curve.last > _STEADY * noise
    if rate > (10 if is_steady else 3) * usual:
        return Finding(
            kind="loss_not_falling",
            evidence=seen,
            cause="the learning rate is so high that nothing settles",
            advice="a tenth of the learning rate",
            change={"learning_rate": _rounded(rate / 10)},
        )
    return Finding(
        kind="loss_not_falling",
        evidence=seen,
        cause="too few steps, or answers that don't follow from their prompts: labels at random, or a prompt that "
        "lacks what the answer needs",
        advice="look at rows as they are trained on with job.preview(); if the answers do follow, train three times as "
        "long",
        change={"epochs": min(_rounded(3 * evidence.spec.epochs), _MOST_EPOCHS)},
    )


def overfitting(evidence: Evidence) -> Finding | None:
    """The validation loss rises while the training loss falls; or, without one, rows were learned by heart."""
    if len(evidence.validation) >= 2:
        return _rising_validation(evidence)
    curve = evidence.training
    if len(curve) < 2 * _FEWEST_POINTS or evidence.spec.epochs < 5:
        return None
    if curve.last > 0.05 * curve.first and curve.last > 0.02:
        return None
    step = next(step for step, loss in curve.smoothed if loss <= max(0.1 * curve.first, 0.05))
    epochs = None if evidence.steps_per_epoch is None else max(1, math.ceil(step / evidence.steps_per_epoch))
    if epochs is None or epochs > 0.6 * evidence.spec.epochs:
        return None
    return Finding(
        kind="overfitting",
        evidence=(
            f"the training loss fell from {curve.first:.3g} to {curve.last:.2g}: the rows are known by heart",
            f"it was below a tenth of its start after {epochs} of {evidence.spec.epochs:g} epochs",
            "there is no validation data, so nobody saw where learning turned into memorising",
        ),
        cause="too many epochs for so few rows",
        advice="as many epochs as it took, and validation data from Dataset.split(validation=0.1)",
        change={"epochs": float(epochs)},
    )


def _rising_validation(evidence: Evidence) -> Finding | None:
    points, curve = evidence.validation.points, evidence.training
    step, lowest = min(points, key=lambda point: point[1])
    last_step, last = points[-1]
    after = [loss for at, loss in points if at > step]
    is_risen = last > max(1.1 * lowest, lowest + 0.02)
    if not after or not is_risen or not curve or curve.last > curve.first:
        return None
    seen = (
        f"the validation loss was lowest at step {step} ({lowest:.3g}) and rose to {last:.3g} at step {last_step}",
        f"the training loss fell from {curve.first:.3g} to {curve.last:.2g} meanwhile",
    )
    epochs = None if evidence.steps_per_epoch is None else step / evidence.steps_per_epoch
    if epochs is not None and 1 <= epochs <= evidence.spec.epochs:
        return Finding(
            kind="overfitting",
            evidence=seen,
            cause="the model memorises the rows instead of learning from them",
            advice="stop where the validation loss was lowest",
            change={"epochs": float(max(1, round(epochs)))},
        )
    return Finding(
        kind="overfitting",
        evidence=seen,
        cause="the model memorises the rows within the first epoch: there are too few, or the steps are too large",
        advice="half the learning rate",
        change={"learning_rate": _rounded(_learning_rate(evidence) / 2)},
    )


def no_end_of_text(evidence: Evidence) -> Finding | None:
    """The tuned model's answers begin right and never end."""
    for (name, target), tuned in evidence.answers.items():
        if target != "tuned" or not tuned.outputs:
            continue
        run_on = _share_cut(tuned)
        begins_right = [
            output.strip().casefold().startswith(reference.strip().casefold())
            and len(output.strip()) > len(reference.strip())
            for output, reference in zip(tuned.outputs, tuned.references, strict=True)
        ]
        share = fmean(begins_right)
        base = evidence.answers.get((name, "base"))
        base_share = None if base is None else _share_cut(base)
        if run_on is not None and run_on >= 0.5 and share >= 0.25:
            cut = f"{run_on:.0%} of the tuned model's answers on {name} end at the limit of their tokens"
            more = "" if base_share is None else f" (base: {base_share:.0%})"
            return Finding(
                kind="no_end_of_text",
                evidence=(cut + more, f"{share:.0%} begin with the reference and go on after it"),
                cause="the end of an answer was never trained, or the one that was trained isn't the one that ends "
                "generation: a chat template without it, or rows that are cut before it",
                advice="a chat template that ends each answer with the model's end-of-turn token (job.preview() shows "
                "it as trained), and max_length= above the longest row",
                change=_own_template(evidence),
            )
    return None


def template_mismatch(evidence: Evidence) -> Finding | None:
    """The loss is low, and the answers are not what so low a loss promises."""
    if evidence.report is None:
        return None
    loss, source = _final_loss(evidence)
    if loss is None:
        return None
    for (name, target), tuned in evidence.answers.items():
        pair = _pair(evidence, name)
        if target != "tuned" or pair is None or not tuned.outputs:
            continue
        # The loss of a preference is not one of tokens, and promises no answer; a suite asks for other things than what
        # was trained.
        is_promised = isinstance(evidence.spec.method, SFT) and not name.startswith(suite_names())
        promised = _promised_share(tuned, loss) if is_promised else None
        right = fmean(
            output.strip().casefold() == reference.strip().casefold()
            for output, reference in zip(tuned.outputs, tuned.references, strict=True)
        )
        marks = fmean(_TEMPLATE_MARKS.search(output) is not None for output in tuned.outputs)
        is_unusable = promised is not None and promised >= 0.3 and right < 0.6 * promised
        if not (is_unusable or marks >= 0.2):
            continue
        seen = [
            f"the {source} loss is {loss:.3g} a token, so at least {promised:.0%} of the answers on {name} should "
            f"equal their references; {right:.0%} do"
            if promised is not None
            else f"the {source} loss is {loss:.3g}"
        ]
        if marks >= 0.2:
            seen.append(f"{marks:.0%} of the answers hold pieces of a chat template, such as {_first_mark(tuned)!r}")
        seen.append(f"the score on {name} changed by {pair.difference:+.3g} from the base")
        return Finding(
            kind="template_mismatch",
            evidence=tuple(seen),
            cause="the model is asked in another format than it was trained in: another chat template, another system "
            "message, or blanks that differ",
            advice="train with the model's own chat template, and evaluate and serve with the one that was trained "
            "with; job.preview() shows the text as trained",
            change=_own_template(evidence),
        )
    return None


def abilities_lost(evidence: Evidence) -> Finding | None:
    """The tuned model is worse than the base at what it wasn't trained for."""
    for pair in _pairs(evidence, GENERAL):
        if pair.high < 0:
            rate = _learning_rate(evidence)
            return Finding(
                kind="abilities_lost",
                evidence=(
                    f"{pair.name}: tuned minus base {100 * pair.difference:+.1f} points (95% interval "
                    f"{100 * pair.low:+.1f} to {100 * pair.high:+.1f})",
                    f"the learning rate is {rate:.1e}, over {evidence.spec.epochs:g} epochs of one kind of rows",
                ),
                cause="the training pushed out what the model could do before",
                advice="mix a tenth of general rows into the training data, Dataset.mix({train: 0.9, "
                "Dataset.general(): 0.1}); if that isn't enough, half the learning rate",
            )
    return None


def format_bleed(evidence: Evidence) -> Finding | None:
    """Unrelated questions are answered in the format of the training rows."""
    for pair in _pairs(evidence, BLEED):
        if pair.high < 0:
            return Finding(
                kind="format_bleed",
                evidence=(
                    f"{pair.name}: tuned minus base {100 * pair.difference:+.1f} points (95% interval "
                    f"{100 * pair.low:+.1f} to {100 * pair.high:+.1f}): unrelated questions are answered in the "
                    "format of the training rows",
                ),
                cause="all rows look alike, so the model learned that every answer looks like this",
                advice="mix a tenth of general rows into the training data, Dataset.mix({train: 0.9, "
                "Dataset.general(): 0.1}), or send only the task's own requests to this model",
            )
    return None


RULES: tuple[Rule, ...] = (
    diverging,
    loss_not_falling,
    no_end_of_text,
    template_mismatch,
    overfitting,
    abilities_lost,
    format_bleed,
)
"""In the order in which to act: what makes the other numbers meaningless comes first."""


def _learning_rate(evidence: Evidence) -> float:
    spec = evidence.spec
    return spec.learning_rate or default_learning_rate(spec.method, spec.tuning).value


def _rounded(value: float) -> float:
    return float(f"{value:.2g}")


def _spread(evidence: Evidence) -> float:
    """Return how much the loss of single steps varies around its neighbours."""
    losses = [loss for _, loss in evidence.training.points]
    return median(abs(one - other) for one, other in itertools.pairwise(losses))


def _final_loss(evidence: Evidence) -> tuple[float | None, str]:
    if evidence.validation:
        return evidence.validation.points[-1][1], "validation"
    if len(evidence.training) >= _FEWEST_POINTS:
        return evidence.training.last, "training"
    return None, ""


def _promised_share(answered: Answered, loss: float) -> float | None:
    """Return the least share of exact answers that a loss promises.

    The probability of a whole answer is exp(-loss * tokens), and its mean over answers is at least that of the mean
    (Jensen); greedy decoding does no worse than sampling where the reference is the likeliest answer.
    """
    # Without counts: four characters a token, and the end of the turn.
    tokens = fmean(len(reference) / 4 + 1 for reference in answered.references)
    return None if tokens > 64 else math.exp(-max(loss, 0.0) * tokens)


def _share_cut(answered: Answered) -> float | None:
    known = [is_cut for is_cut in answered.cut if is_cut is not None]
    return fmean(known) if known else None


def _first_mark(answered: Answered) -> str:
    found = (_TEMPLATE_MARKS.search(output) for output in answered.outputs)
    return next(match.group() for match in found if match is not None)


def _own_template(evidence: Evidence) -> dict[str, object]:
    model = evidence.spec.model
    return {} if model.chat_template is None else {"model": model.replace(chat_template=None)}


def _pairs(evidence: Evidence, name: str) -> list[PairedScore]:
    if evidence.report is None:
        return []
    return [
        pair
        for pair in evidence.report.pairs
        if pair.name.startswith(name) and pair.tuned == "tuned" and pair.base == "base" and pair.is_bounded
    ]


def _pair(evidence: Evidence, name: str) -> PairedScore | None:
    return next((pair for pair in _pairs(evidence, name) if pair.name == name), None)
