"""The service's limits on hyperparameters, by model: from the catalogue offline, or from the service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, assert_never, cast

from ftsdk.errors import Gap
from ftsdk.spec import DPO, KTO, ORPO, SFT, JobSpec, Method, SimPO, Value

__all__ = ["Limits", "TuningLimits", "gaps_against", "read_limits"]


class TuningLimits(Value):
    """Limits of LoRA or of full fine-tuning. None: not known."""

    min_batch_size: int | None = None
    max_batch_size: int | None = None
    """Largest batch for SFT, in sequences."""
    max_batch_size_dpo: int | None = None
    max_rank: int | None = None
    target_modules: tuple[str, ...] | None = None


class Limits(Value):
    """Limits of one model. None: not known."""

    lora: TuningLimits = TuningLimits()
    full: TuningLimits = TuningLimits()
    supports_lora: bool = True
    supports_full: bool | None = None
    accumulation: int | None = None
    """Gradient accumulation steps that the service uses if a job doesn't set them."""
    max_epochs: int | None = None
    max_evals: int | None = None
    max_checkpoints: int | None = None
    min_learning_rate: float | None = None
    max_learning_rate: float | None = None
    min_length: int | None = None
    """Smallest `max_seq_length`, in tokens."""
    max_length_sft: int | None = None
    max_length_dpo: int | None = None
    source: str
    """Where the limits were read, and on which day."""

    def of(self, spec: JobSpec) -> TuningLimits:
        """Return the limits of the spec's tuning."""
        return self.lora if spec.tuning.adapts else self.full

    def batch_range(self, spec: JobSpec) -> tuple[int | None, int | None]:
        """Return smallest and largest batch for the spec's method and tuning, in sequences."""
        tuning = self.of(spec)
        return tuning.min_batch_size, _of_method(spec.method, sft=tuning.max_batch_size, dpo=tuning.max_batch_size_dpo)

    def max_length(self, spec: JobSpec) -> int | None:
        """Return the largest `max_seq_length` for the spec's method, in tokens."""
        return _of_method(spec.method, sft=self.max_length_sft, dpo=self.max_length_dpo)


def read_limits(answer: Mapping[str, Any]) -> Limits:
    """Read the service's answer.

    A number that is missing or zero is taken as not known: the service reports what it doesn't support as zeros.
    """
    lora = _mapping(answer.get("lora_training"))
    full = _mapping(answer.get("full_training"))
    modules = lora.get("target_modules")
    return Limits(
        lora=TuningLimits(
            min_batch_size=_count(lora.get("min_batch_size")),
            max_batch_size=_count(lora.get("max_batch_size")),
            max_batch_size_dpo=_count(lora.get("max_batch_size_dpo")),
            max_rank=_count(lora.get("max_rank")),
            target_modules=tuple(str(m) for m in cast("list[object]", modules))
            if isinstance(modules, list) and modules
            else None,
        ),
        full=TuningLimits(
            min_batch_size=_count(full.get("min_batch_size")),
            max_batch_size=_count(full.get("max_batch_size")),
            max_batch_size_dpo=_count(full.get("max_batch_size_dpo")),
        ),
        supports_full=bool(answer.get("supports_full_training")) and bool(full),
        accumulation=_count(answer.get("default_gradient_accumulation_steps")),
        max_epochs=_count(answer.get("max_num_epochs")),
        max_evals=_count(answer.get("max_num_evals")),
        max_checkpoints=_count(answer.get("max_num_checkpoints")),
        min_learning_rate=_number(answer.get("min_learning_rate")),
        max_learning_rate=_number(answer.get("max_learning_rate")),
        min_length=_count(answer.get("min_max_seq_length")),
        max_length_sft=_count(answer.get("max_seq_length_sft")),
        max_length_dpo=_count(answer.get("max_seq_length_dpo")),
        source="the service's own limits for this model",
    )


def gaps_against(spec: JobSpec, create: Mapping[str, Any], limits: Limits) -> list[Gap]:
    """Compare the arguments of a job with a model's limits; an unknown limit is not a gap.

    Args:
        spec: The job.
        create: The arguments of the service's `create`, as the plan has them.
        limits: From the catalogue, or from the service.
    """
    gaps: list[Gap] = []
    is_full = not spec.tuning.adapts
    if is_full and limits.supports_full is False:
        gaps.append(
            Gap("tuning", "full", ("lora",), f"{spec.model.id} can be tuned with LoRA only; source: {limits.source}")
        )
    if not is_full and not limits.supports_lora:
        gaps.append(
            Gap("tuning", "lora", ("full",), f"{spec.model.id} can be tuned in full only; source: {limits.source}")
        )
    if gaps:
        return gaps
    gaps += _batch_gaps(spec, create, limits)
    tuning = limits.of(spec)

    def at_most(field: str, asked: float, most: float | None) -> None:
        if most is not None and asked > most:
            gaps.append(Gap(field, asked, (most,), f"at most {most:g}; source: {limits.source}"))

    if not is_full:
        at_most("tuning.rank", create["lora_r"], tuning.max_rank)
        known = tuning.target_modules
        unknown = (
            []
            if known is None
            else sorted(set(str(create["lora_trainable_modules"]).split(",")) - {*known, "all-linear"})
        )
        if known is not None and unknown:
            gaps.append(Gap("tuning.target_modules", unknown, known, f"source: {limits.source}"))
    at_most("epochs", create["n_epochs"], limits.max_epochs)
    at_most("eval_steps", create["n_evals"], limits.max_evals)
    at_most("checkpoint_steps", create["n_checkpoints"], limits.max_checkpoints)
    at_most("learning_rate", create["learning_rate"], limits.max_learning_rate)
    least = limits.min_learning_rate
    if least is not None and create["learning_rate"] < least:
        gaps.append(
            Gap("learning_rate", create["learning_rate"], (least,), f"at least {least:g}; source: {limits.source}")
        )
    length = create.get("max_seq_length")
    if length is not None:
        at_most("max_length", length, limits.max_length(spec))
        if limits.min_length is not None and length < limits.min_length:
            gaps.append(
                Gap(
                    "max_length",
                    length,
                    (limits.min_length,),
                    f"at least {limits.min_length}; source: {limits.source}",
                )
            )
    return gaps


def _batch_gaps(spec: JobSpec, create: Mapping[str, Any], limits: Limits) -> list[Gap]:
    batch = create["batch_size"]
    if batch == "max":
        return []
    least, most = limits.batch_range(spec)
    if (least is None or batch >= least) and (most is None or batch <= most):
        return []
    steps = create.get("gradient_accumulation_steps") or 1
    offered = tuple(sorted({bound * steps for bound in (least, most) if bound is not None}))
    return [
        Gap(
            "batch_size",
            spec.batch_size,
            offered,
            f"the service takes {least} to {most} sequences at a time, not {batch}; source: {limits.source}",
        )
    ]


def _of_method(method: Method, *, sft: int | None, dpo: int | None) -> int | None:
    match method:
        case SFT():
            return sft
        case DPO():
            return dpo
        case KTO() | ORPO() | SimPO():  # `plan` has refused them
            return None
        case _:
            assert_never(method)


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value > 0 else None
