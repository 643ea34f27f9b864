"""The fields of a request for a fine-tune that take more than a copy: each honoured, chosen or refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, assert_never

from ftsdk.backends.together.limits import Limits
from ftsdk.backends.together.rows import trains_on_inputs
from ftsdk.errors import Gap, UnsupportedSpecError
from ftsdk.spec import (
    DPO,
    IA3,
    KTO,
    ORPO,
    SFT,
    AnyLoRA,
    DoRA,
    FullFineTune,
    JobSpec,
    LoRA,
    Method,
    PrefixTuning,
    PromptTuning,
    QLoRA,
    SimPO,
    TrainOn,
)

__all__ = [
    "add_evaluations_and_checkpoints",
    "add_length",
    "batch_fields",
    "method_fields",
    "schedule_fields",
    "train_on_of",
    "tuning_fields",
    "whole_number",
]


def whole_number(field: str, asked: float, gaps: list[Gap], reason: str) -> int:
    """Return the nearest whole number, at least 1; one that isn't what was asked is a gap."""
    nearest = max(1, round(asked))
    if asked != nearest:
        gaps.append(Gap(field, asked, tuple(sorted({max(1, math.floor(asked)), math.ceil(asked)})), reason))
    return nearest


def batch_fields(spec: JobSpec, limits: Limits, choose: Any, gaps: list[Gap]) -> dict[str, Any]:
    """Return batch and accumulation steps, whose product is `batch_size`. Most models take one batch only."""
    least, most = limits.batch_range(spec)
    is_asked = "batch_size" in spec.model_fields_set
    if least is None or most is None:
        if is_asked:
            return {"batch_size": spec.batch_size, "gradient_accumulation_steps": 1}
        choose("batch_size", "max", "the largest that the service accepts for this model, which isn't known offline")
        return {"batch_size": "max"}
    steps = next(
        (
            n
            for n in range(1, spec.batch_size + 1)
            if spec.batch_size % n == 0 and least <= spec.batch_size // n <= most
        ),
        None,
    )
    at_once = f"{least} sequences at a time" if least == most else f"{least} to {most} sequences at a time"
    if steps is not None:
        if is_asked:
            return {"batch_size": spec.batch_size // steps, "gradient_accumulation_steps": steps}
        choose(
            "batch_size",
            spec.batch_size,
            f"the service takes {at_once} for this model, accumulated over {steps}; source: {limits.source}",
        )
        return {"batch_size": "max", "gradient_accumulation_steps": steps}
    if is_asked:
        below = spec.batch_size // least * least
        offered = tuple(n for n in (below, below + least) if n)
        gaps.append(
            Gap(
                "batch_size",
                spec.batch_size,
                offered,
                f"the service takes {at_once} for this model; source: {limits.source}",
            )
        )
    accumulation = limits.accumulation or 1
    choose(
        "batch_size",
        most * accumulation,
        f"the service takes {at_once} for this model, which can't add up to {spec.batch_size}; source: {limits.source}",
    )
    return {"batch_size": "max", "gradient_accumulation_steps": accumulation}


def schedule_fields(spec: JobSpec) -> dict[str, Any]:
    """Return the learning rate's schedule."""
    # A linear decay to 100% of the peak is a constant rate.
    if spec.schedule == "cosine":
        return {"lr_scheduler_type": "cosine", "min_lr_ratio": 0.0, "scheduler_num_cycles": 0.5}
    return {"lr_scheduler_type": "linear", "min_lr_ratio": 1.0 if spec.schedule == "constant" else 0.0}


def tuning_fields(spec: JobSpec, choose: Any, gaps: list[Gap]) -> dict[str, Any]:
    """Return what is tuned: all weights, or an adapter and its shape."""
    match spec.tuning:
        case FullFineTune():
            return {"lora": False}
        case LoRA() | QLoRA() | DoRA() as tuning:
            return _adapter(spec, tuning, choose, gaps)
        case IA3() | PromptTuning() | PrefixTuning():
            # `plan` refuses these before anything is translated.
            raise UnsupportedSpecError("together", [Gap("tuning", spec.tuning.kind, ("full", "lora"))])
        case _:
            assert_never(spec.tuning)


def _adapter(spec: JobSpec, tuning: AnyLoRA, choose: Any, gaps: list[Gap]) -> dict[str, Any]:
    alpha = tuning.effective_alpha
    if tuning.alpha is None:
        choose("tuning.alpha", int(alpha), "2 x rank, the common rule")
    elif alpha != int(alpha) or alpha < 1:
        offered = tuple(sorted({max(1, math.floor(alpha)), math.ceil(alpha)}))
        gaps.append(Gap("tuning.alpha", alpha, offered, "the service takes whole numbers only"))
    dropout = tuning.dropout
    if spec.method.needs_reference and "dropout" not in tuning.model_fields_set:
        dropout = choose(
            "tuning.dropout", 0.0, "DPO compares two passes over the model, and dropout would add noise to both"
        )
    modules = "all-linear"
    if tuning.target_modules is None:
        choose("tuning.target_modules", modules, "every linear layer, as in QLoRA (section 4)")
    elif isinstance(tuning.target_modules, str):
        gaps.append(Gap("tuning.target_modules", tuning.target_modules, (), "the service takes names of layers only"))
    else:
        modules = ",".join(sorted(tuning.target_modules))
    # `lora` is never left open: without it the client drops every other LoRA argument in silence.
    return {
        "lora": True,
        "lora_r": tuning.rank,
        "lora_alpha": int(alpha),
        "lora_dropout": dropout,
        "lora_trainable_modules": modules,
    }


def method_fields(spec: JobSpec) -> dict[str, Any]:
    """Return the method and what it is set to."""
    match spec.method:
        case SFT():
            return {"training_method": "sft", "train_on_inputs": trains_on_inputs(spec.method.train_on)}
        case DPO():
            return {"training_method": "dpo", "dpo_beta": spec.method.beta}
        case KTO() | ORPO() | SimPO():
            raise _not_offered(spec.method)
        case _:
            assert_never(spec.method)


def train_on_of(method: Method) -> TrainOn | None:
    """Return what the rows of the file have to mark; None for rows that have nothing to mark."""
    match method:
        case SFT():
            return method.train_on
        case DPO():
            return None
        case KTO() | ORPO() | SimPO():
            raise _not_offered(method)
        case _:
            assert_never(method)


def _not_offered(method: Method) -> UnsupportedSpecError:
    """Return the refusal of a method that `plan` refuses before anything is translated.

    The client has `simpo_gamma`, but its documentation names DPO alone (read 2026-11-28), and nothing says whether the
    margin is absolute or a share of beta.
    """
    return UnsupportedSpecError("together", [Gap("method", method.kind, ("dpo", "sft"))])


def add_length(spec: JobSpec, limits: Limits, create: dict[str, Any], choose: Any, gaps: list[Gap]) -> None:
    """Set the longest sequence in tokens, if it was asked for."""
    if spec.max_length is None:
        known = limits.max_length(spec)
        reason = (
            "the longest that the service accepts for this model"
            f"{', which is not known offline' if known is None else f' (source: {limits.source})'}"
        )
        if spec.method.sequences_per_row > 1:
            reason += "; the two answers of a row share it"
        choose("max_length", known, reason)
    elif spec.method.sequences_per_row > 1:
        gaps.append(
            Gap(
                "max_length",
                spec.max_length,
                (),
                f"for {spec.method.kind.upper()} the service splits its limit between the two answers; leave it None",
            )
        )
    else:
        create["max_seq_length"] = spec.max_length


def add_evaluations_and_checkpoints(
    spec: JobSpec, limits: Limits, create: dict[str, Any], choose: Any, gaps: list[Gap]
) -> None:
    """Set the numbers of validations and checkpoints, which the service spreads evenly; ours are distances in steps."""
    epochs = create["n_epochs"]
    total = _total_steps(spec, limits, create)
    evals = 0
    stopping = spec.early_stopping
    if spec.validation is not None:
        least = 1 if stopping is None else stopping.patience + 1
        if spec.eval_steps is not None:
            evals = _parts("eval_steps", spec.eval_steps, total, gaps, least=least)
        else:
            each = max(1, math.ceil(least / epochs))
            evals = epochs * each
            how = (
                "one at the end of each epoch"
                if each == 1
                else f"{each} per epoch, so that there are enough for early stopping"
            )
            choose("eval_steps", f"{evals} validations, spread evenly", how)
    create["n_evals"] = evals
    if spec.checkpoint_steps is not None:
        create["n_checkpoints"] = _parts("checkpoint_steps", spec.checkpoint_steps, total, gaps, least=1)
    else:
        create["n_checkpoints"] = 1
        choose("checkpoint_steps", "1 checkpoint, at the end", "the service resumes by itself after a crash")
    create["early_stopping_enabled"] = stopping is not None
    if stopping is not None:
        create["early_stopping_patience"] = stopping.patience
        create["early_stopping_min_delta"] = stopping.min_delta
        # Early stopping counts from the first validation; the service's default skips one.
        create["early_stopping_warmup_evals"] = 0


def _total_steps(spec: JobSpec, limits: Limits, create: Mapping[str, Any]) -> int | str:
    """Return the number of optimizer steps, or why it can't be known before the start."""
    if create["packing"]:
        return (
            "with packing, only the service knows how many steps there are; set packing=False, with which every row is "
            "billed at the full sequence length"
        )
    batch = create["batch_size"] if create["batch_size"] != "max" else limits.batch_range(spec)[1]
    if batch is None:
        return "the service's batch size for this model isn't known offline: set batch_size"
    per_step = batch * create.get("gradient_accumulation_steps", 1)
    if spec.train.rows % per_step:
        return (
            f"{spec.train.rows} rows aren't a multiple of {per_step}, and it isn't documented whether the service "
            "makes a step of the remaining rows"
        )
    return spec.train.rows // per_step * create["n_epochs"]


def _parts(field: str, asked: int, total: int | str, gaps: list[Gap], *, least: int) -> int:
    if isinstance(total, str):
        gaps.append(
            Gap(
                field,
                asked,
                (),
                f"the service takes their number, not a distance in steps; {total}, or leave {field} None",
            )
        )
        return least
    fitting = [n for n in range(1, total + 1) if total % n == 0 and total // n >= least]
    if asked in fitting:
        return total // asked
    nearest = tuple(sorted(sorted(fitting, key=lambda n: (abs(n - asked), n))[:2]))
    reason = f"the service spreads a whole number of them evenly over {total} steps"
    if least > 1:
        reason += f", and early stopping needs {least}"
    gaps.append(Gap(field, asked, nearest, reason))
    return least
