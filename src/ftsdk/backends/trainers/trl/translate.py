"""Translate a spec and a device to every option of the training. Pure, so that the plan is what runs."""

from __future__ import annotations

import math
from typing import Any

from ftsdk._numbers import as_json_number
from ftsdk.backends.hosted.launcher import Hardware
from ftsdk.backends.hosted.micro_batch import rows_at_once, share_at_most, tokens_at_once
from ftsdk.backends.hosted.trainer import TrainingPlan
from ftsdk.backends.trainers.trl.attention import attention_for
from ftsdk.backends.trainers.trl.methods import KINDS, PACKED_KINDS
from ftsdk.backends.trainers.trl.plan_tuning import TuningPlan, plan_tuning
from ftsdk.backends.trainers.trl.privacy.choices import UNPROTECTED, choose_noise, privacy_of, private_gaps
from ftsdk.backends.trainers.trl.sharding.plan import sharding_notes
from ftsdk.errors import Gap
from ftsdk.models import ModelFacts, base_folder, inspect_model
from ftsdk.protocol import Adjustment, Capabilities, Execution, Workload
from ftsdk.spec import SFT, TUNINGS, JobSpec, default_learning_rate

__all__ = ["CAPABILITIES", "recomputes", "steps_per_epoch", "translate"]

_COMPARED_ROWS = 8

CAPABILITIES = Capabilities(
    methods=KINDS,
    tunings=frozenset(TUNINGS),
    formats=frozenset({"chat", "preference", "unpaired"}),
    model_sources=frozenset({"hub", "folder", "gguf"}),
    fields=frozenset(
        {
            "batch_size",
            "budget_usd",
            "checkpoint_steps",
            "dtype",
            "early_stopping.min_delta",
            "early_stopping.patience",
            "epochs",
            "eval_steps",
            "learning_rate",
            "max_grad_norm",
            "max_length",
            "max_steps",
            "max_truncated",
            "method.beta",
            "method.desirable_weight",
            "method.gamma",
            "method.neftune_alpha",
            "method.privacy.delta",
            "method.privacy.epsilon",
            "method.privacy.max_grad_norm",
            "method.train_on",
            "method.undesirable_weight",
            "model.adapter",
            "model.add_tokens",
            "model.chat_template",
            "model.revision",
            "model.trust_remote_code",
            "optimizer",
            "schedule",
            "seed",
            "tuning.alpha",
            "tuning.double_quantization",
            "tuning.dropout",
            "tuning.init",
            "tuning.init_text",
            "tuning.layers",
            "tuning.rank",
            "tuning.rank_stabilized",
            "tuning.target_modules",
            "tuning.virtual_tokens",
            "validation",
            "warmup_ratio",
            "weight_decay",
        }
    ),
)


def recomputes(tuning: str, device: str) -> bool:
    """Return whether activations are computed again in the backward pass: on a GPU, where memory is scarce.

    Not with learned prefixes, which are a cache of keys and values, and a second pass would add to it (peft 0.21
    refuses it).
    """
    return device != "cpu" and tuning != "prefix"


def steps_per_epoch(sequences: int, batch_size: int) -> int:
    """Count the optimizer steps of one pass over the data; the last one may have fewer sequences."""
    return math.ceil(sequences / batch_size)


def translate(spec: JobSpec, hardware: Hardware) -> TrainingPlan:
    """Decide everything that the training depends on.

    Returns:
        The request, with no None where a number is needed; what was chosen, and why; and what isn't supported.
    """
    adjustments: list[Adjustment] = []
    gaps: list[Gap] = []
    notes: list[str] = []

    def choose(field: str, chosen: Any, reason: str) -> Any:
        adjustments.append(Adjustment(field=field, chosen=chosen, reason=reason))
        return chosen

    facts, folder = inspect_model(spec.model), base_folder(spec.model)
    notes.extend(facts.notes)
    if not facts.is_downloaded:
        notes.append(f"{spec.model} isn't on this machine yet; the worker downloads it before it starts")

    notes.extend(sharding_notes(spec, hardware))

    learning_rate = spec.learning_rate
    if learning_rate is None:
        learning_rate = choose("learning_rate", *default_learning_rate(spec.method, spec.tuning))
    weight_decay = (
        spec.weight_decay
        if spec.weight_decay is not None
        else choose("weight_decay", 0.0, "no decay, as in QLoRA and TRL's default")
    )
    privacy = privacy_of(spec)
    max_grad_norm = (
        spec.max_grad_norm
        if spec.max_grad_norm is not None
        else choose("max_grad_norm", 1.0, "the default of transformers")
        if privacy is None
        else choose("max_grad_norm", 0.0, "the gradient of each row is clipped instead, to privacy.max_grad_norm")
    )

    max_length = spec.max_length
    limit, before = facts.max_position_embeddings, spec.tuning.added_positions
    if limit is not None and before:
        limit -= before
    if max_length is not None and limit is not None and max_length > limit:
        gaps.append(Gap("max_length", max_length, (limit,), f"{spec.model} has {limit} positions{_beside(before)}"))
    if max_length is None:
        max_length = choose(
            "max_length",
            limit,
            f"the number of positions of the model{_beside(before)}"
            if limit
            else "the model's own limit, read after the download",
        )

    dtype = _choose_dtype(spec, hardware, choose, gaps)
    attention = choose("attention", *attention_for(facts.model_type))
    packed_tokens = _choose_packed_tokens(spec, facts, hardware, attention, choose)
    micro_batch = _choose_micro_batch(spec, facts, hardware, choose, gaps, is_packed=packed_tokens is not None)
    if spec.method.needs_several_rows and micro_batch == 1:
        gaps.append(_too_few_rows(spec, hardware))
    if privacy is not None:
        gaps.extend(private_gaps(spec, privacy, hardware))
        notes.extend(UNPROTECTED)

    steps = steps_per_epoch(spec.train.training_sequences, spec.batch_size)
    total = min(max(1, math.ceil(steps * spec.epochs)), spec.max_steps or 10**9)
    if privacy is not None:
        choose_noise(spec, privacy, steps=total, choose=choose)
    eval_steps = spec.eval_steps
    if spec.validation is not None and eval_steps is None:
        eval_steps = choose("eval_steps", min(steps, total), "once an epoch")
    checkpoint_steps = _choose_checkpoint_steps(spec, total, eval_steps, choose, gaps)

    tuning = TuningPlan(spec, facts, hardware, choose)
    planned_tuning = plan_tuning(tuning)
    gaps.extend(tuning.gaps)
    notes.extend(tuning.notes)
    _check_optimizer(spec, hardware, gaps)
    _check_noise(spec, gaps, notes, is_on_cpu=hardware.device == "cpu")

    request: dict[str, Any] = {
        "model": spec.model.to_dict(),
        "base_folder": None if folder is None or not spec.tuning.adapts else str(folder),
        "method": spec.method.model_dump(mode="json", exclude_none=True),
        "tuning": planned_tuning,
        "device": hardware.device,
        "processes": hardware.processes,
        **({} if hardware.sharding == "none" else {"sharding": hardware.sharding}),
        "dtype": dtype,
        "attention": attention,
        "epochs": spec.epochs,
        "max_steps": spec.max_steps,
        "total_steps": total,
        "batch_size": spec.batch_size,
        "micro_batch_size": micro_batch,
        "accumulation_steps": max(1, spec.batch_size // (micro_batch * hardware.processes)),
        "packed_tokens": packed_tokens,
        "learning_rate": learning_rate,
        "schedule": spec.schedule,
        "warmup_ratio": spec.warmup_ratio,
        "weight_decay": weight_decay,
        "max_grad_norm": max_grad_norm,
        "optimizer": spec.optimizer,
        "max_length": max_length,
        "max_truncated": spec.max_truncated,
        "seed": spec.seed,
        "eval_steps": eval_steps,
        "checkpoint_steps": checkpoint_steps,
        "early_stopping": None
        if spec.early_stopping is None
        else {"patience": spec.early_stopping.patience, "min_delta": spec.early_stopping.min_delta},
        "budget_usd": None if spec.budget_usd is None else as_json_number(spec.budget_usd),
        "train": spec.train.fingerprint,
        "validation": None if spec.validation is None else spec.validation.fingerprint,
    }
    # A batch that the processes can't share is a gap, and then there is nothing to execute.
    workload = None if gaps else Workload.of(spec, max_length=max_length, execution=_execution(spec, request))
    return TrainingPlan(
        request=request, workload=workload, adjustments=tuple(adjustments), gaps=tuple(gaps), notes=tuple(notes)
    )


def _execution(spec: JobSpec, request: dict[str, Any]) -> Execution:
    """Return how the training will be executed, for estimates."""
    steps, is_on_cpu, compares = request["total_steps"], request["device"] == "cpu", spec.method.compares_answers
    return Execution(
        steps=steps,
        micro_batch_size=request["micro_batch_size"],
        accumulation_steps=request["accumulation_steps"],
        devices=request["processes"],
        is_sharded=request.get("sharding", "none") == "full",
        precision=request["dtype"],
        attention=request["attention"],
        recomputes=recomputes(spec.tuning.kind, request["device"]) and privacy_of(spec) is None,
        # On a CPU logits are computed for trained tokens only, but for padded answers that are compared, none of which
        # `order.py` sorts.
        projects_trained_only=is_on_cpu
        and not spec.tuning.added_positions
        and (not compares or request["packed_tokens"] is not None),
        sorted_rows=0 if compares else spec.batch_size,
        packed_tokens=request["packed_tokens"] or 0,
        evaluations=0 if spec.validation is None else max(1, steps // (request["eval_steps"] or steps)),
        checkpoints=max(1, steps // (request["checkpoint_steps"] or steps)) + 1,
        optimizer=spec.optimizer,
    )


def _beside(positions: int) -> str:
    return f", besides the {positions} of the tuning" if positions else ""


def _check_optimizer(spec: JobSpec, hardware: Hardware, gaps: list[Gap]) -> None:
    """Refuse what bitsandbytes has no kernels for (0.50: those of CPUs update 8-bit moments, and page nothing)."""
    if spec.optimizer == "adamw" or hardware.device == "cuda":
        return
    offered = ("adamw", "adamw_8bit") if hardware.device == "cpu" else ("adamw",)
    if spec.optimizer not in offered:
        reason = "moments that move to the host's memory need a CUDA GPU"
        if hardware.device != "cpu":
            reason = "bitsandbytes has no kernels for Apple GPUs"
        gaps.append(Gap("optimizer", spec.optimizer, offered, reason))


def _check_noise(spec: JobSpec, gaps: list[Gap], notes: list[str], *, is_on_cpu: bool) -> None:
    """Refuse noise on embeddings beside learned ones; say what it costs elsewhere."""
    if not isinstance(spec.method, SFT) or spec.method.neftune_alpha is None:
        return
    if spec.tuning.added_positions:
        gaps.append(
            Gap("method.neftune_alpha", spec.method.neftune_alpha, (), "what stands before a row would get noise, too")
        )
    elif is_on_cpu:
        notes.append("with noise on its embeddings each row is computed for itself: rows are padded, none are packed")


def _choose_dtype(spec: JobSpec, hardware: Hardware, choose: Any, gaps: list[Gap]) -> str:
    if spec.dtype == "float16" and hardware.device == "cpu":
        gaps.append(Gap("dtype", "float16", ("bfloat16", "float32"), "float16 overflows in training on a CPU"))
    if spec.dtype is not None:
        return spec.dtype
    if privacy_of(spec) is not None and not hardware.has_bfloat16:
        return choose("dtype", "float32", "float16 scales the loss, so that clipping single rows would bound nothing")
    if hardware.has_bfloat16:
        return choose("dtype", "bfloat16", f"{hardware.name} computes in it natively")
    if hardware.device == "cuda":
        return choose("dtype", "float16", f"{hardware.name} has no bfloat16; with loss scaling")
    return choose("dtype", "float32", f"{hardware.name} has no fast bfloat16")


def _choose_micro_batch(
    spec: JobSpec, facts: ModelFacts, hardware: Hardware, choose: Any, gaps: list[Gap], *, is_packed: bool
) -> int:
    """Return the largest micro-batch that fits: a divisor of the batch, so that `batch_size` is exact."""
    if spec.batch_size % hardware.processes:
        multiple = spec.batch_size + hardware.processes - spec.batch_size % hardware.processes
        gaps.append(
            Gap(
                "batch_size",
                spec.batch_size,
                (multiple,),
                f"it must be a multiple of the number of processes, {hardware.processes}",
            )
        )
        return 1
    share = spec.batch_size // hardware.processes
    if spec.method.needs_several_rows and share > 1:
        return _choose_comparing_batch(spec, facts, hardware, share, choose)
    if hardware.device == "cpu":
        micro, reason = (
            share_at_most(share, 4),
            "short rows needn't be padded to the longest of the step, and a CPU gains little from more",
        )
    else:
        micro, reason = _rows_at_once(spec, facts, hardware, share)
    text = f"{micro} sequences at a time"
    if share > micro:
        text += f", gradients added up over {share // micro}"
    choose("micro_batch_size", f"{text}, where rows are padded" if is_packed else text, reason)
    return micro


def _rows_at_once(spec: JobSpec, facts: ModelFacts, hardware: Hardware, share: int) -> tuple[int, str]:
    shards = hardware.processes if hardware.sharding == "full" else 1
    again = recomputes(spec.tuning.kind, hardware.device) and privacy_of(spec) is None
    memory_gib = hardware.memory_gib or 16.0
    return rows_at_once(spec, facts, memory_gib=memory_gib, share=share, shards=shards, recomputes=again)


def _choose_comparing_batch(spec: JobSpec, facts: ModelFacts, hardware: Hardware, share: int, choose: Any) -> int:
    """Return the micro-batch of a method whose loss compares its rows: up to eight, and at least two."""
    most = share_at_most(share, _COMPARED_ROWS)
    if hardware.device != "cpu":
        most = min(most, _rows_at_once(spec, facts, hardware, share)[0])
    micro = most if most > 1 else min(n for n in range(2, share + 1) if share % n == 0)
    text = f"{micro} sequences at a time"
    if share > micro:
        text += f", gradients added up over {share // micro}"
    choose("micro_batch_size", text, "part of the maths: the loss compares each row with the others of its micro-batch")
    return micro


def _too_few_rows(spec: JobSpec, hardware: Hardware) -> Gap:
    return Gap(
        "batch_size",
        spec.batch_size,
        (2 * hardware.processes,),
        f"{spec.method.kind.upper()} compares the rows that go through a device together, so each needs two",
    )


def _choose_packed_tokens(
    spec: JobSpec, facts: ModelFacts, hardware: Hardware, attention: str, choose: Any
) -> int | None:
    """Return how many tokens of packed rows go through a CPU at once; None where rows are padded.

    Whether the model can do it is tried by the worker, which has its weights.
    """
    if hardware.device != "cpu" or spec.method.kind not in PACKED_KINDS or attention != "sdpa":
        return None
    if spec.tuning.added_positions or (isinstance(spec.method, SFT) and spec.method.neftune_alpha is not None):
        return None
    if hardware.sharding != "none":
        # Processes cut their rows into different numbers of pieces, and gather weights together for each pass.
        return None
    if privacy_of(spec) is not None:  # rows that share a computation share a gradient
        return None
    return choose(
        "packed_tokens",
        tokens_at_once(spec, facts, memory_gib=hardware.memory_gib),
        "the rows of a step are packed without padding, and what they share at their beginning is computed once"
        + (", as is the prompt of each pair" if spec.method.sequences_per_row > 1 else "")
        + "; if a trial at the start shows that the model mixes packed rows, they are padded instead",
    )


def _choose_checkpoint_steps(spec: JobSpec, total: int, eval_steps: int | None, choose: Any, gaps: list[Gap]) -> int:
    requested = spec.checkpoint_steps
    if spec.early_stopping is not None and eval_steps is not None:
        # The best weights are those of a validation, so every validation needs its checkpoint.
        if requested is not None and requested != eval_steps:
            gaps.append(
                Gap(
                    "checkpoint_steps",
                    requested,
                    (eval_steps,),
                    "early stopping keeps the weights of the best validation: the two go together",
                )
            )
        return requested or choose(
            "checkpoint_steps", eval_steps, "with each validation, so that the best weights can be kept"
        )
    if requested is not None:
        return requested
    parts = 10 if spec.tuning.adapts else 4
    return choose(
        "checkpoint_steps",
        max(1, math.ceil(total / parts)),
        f"about {parts} per run, so a crash loses at most that share of it",
    )
