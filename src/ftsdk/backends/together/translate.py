"""From a spec to the service's exact request: pure, offline, and every field honoured or refused."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple, assert_never

from ftsdk._format import money
from ftsdk.backends.together.catalogue import Catalogue, KnownModel
from ftsdk.backends.together.limits import Limits, gaps_against
from ftsdk.backends.together.rows import trains_on_inputs
from ftsdk.cost.pricebook.finetune_prices import FinetunePrice
from ftsdk.cost.pricebook.price import Price
from ftsdk.errors import Gap, SpecError
from ftsdk.protocol import Adjustment, Capabilities
from ftsdk.spec import (
    DPO,
    SFT,
    AnyLoRA,
    DataFormat,
    DoRA,
    FullFineTune,
    JobSpec,
    LoRA,
    Method,
    QLoRA,
    TrainOn,
    default_learning_rate,
)

__all__ = ["CAPABILITIES", "Choice", "RequestPlan", "choose_model", "cost_note", "estimate_arguments", "translate"]

CAPABILITIES = Capabilities(
    methods=frozenset({"sft", "dpo"}),
    tunings=frozenset({"lora", "full"}),
    formats=frozenset({"chat", "preference"}),
    model_sources=frozenset({"hub"}),
    fields=frozenset(
        {
            "batch_size",
            "budget_usd",
            "checkpoint_steps",
            "early_stopping.min_delta",
            "early_stopping.patience",
            "epochs",
            "eval_steps",
            "learning_rate",
            "max_grad_norm",
            "max_length",
            "method.beta",
            "method.train_on",
            "packing",
            "schedule",
            "seed",
            "tuning.alpha",
            "tuning.dropout",
            "tuning.rank",
            "tuning.target_modules",
            "validation",
            "warmup_ratio",
            "weight_decay",
        }
    ),
)


_FORMATS: Mapping[DataFormat, str] = {"chat": "conversational", "preference": "preference"}
"""The service's names for the formats of rows."""


class Choice(NamedTuple):
    """The model as the service knows it."""

    service: str
    known: KnownModel | None
    """Its entry in the catalogue; None for a name that the user gave."""


class RequestPlan(NamedTuple):
    """The request, and everything that the plan reports about it."""

    request: dict[str, Any]
    adjustments: tuple[Adjustment, ...]
    gaps: tuple[Gap, ...]
    notes: tuple[str, ...]


def choose_model(spec: JobSpec, book: Catalogue, models: Mapping[str, str]) -> Choice | Gap:
    """Return the service's name for the model, or a gap with the nearest models that it tunes.

    Args:
        spec: The job.
        book: The catalogue.
        models: The user's overrides of the catalogue: hub id to the service's name.
    """
    hub = spec.model.id
    known = book.find(hub)
    if hub in models:
        return Choice(models[hub], known)
    if known is not None and known.service is not None:
        return Choice(known.service, known)
    why = (
        "the service fine-tunes it, but its name there isn't known"
        if known is not None
        else "not in the service's list of models for fine-tuning"
    )
    return Gap(
        "model",
        hub,
        book.nearest(hub),
        f"{why}, as of {book.as_of}; if you know its name there, pass Together(models={{{hub!r}: name}})",
    )


def translate(spec: JobSpec, choice: Choice, book: Catalogue) -> RequestPlan:
    """Plan the whole request, except for the ids of the uploaded files."""
    adjustments: list[Adjustment] = []
    gaps: list[Gap] = []
    notes: list[str] = []
    limits = book.limits(choice.known) if choice.known is not None else Limits(source="nothing known offline")

    def choose(field: str, chosen: Any, reason: str) -> Any:
        adjustments.append(Adjustment(field=field, chosen=chosen, reason=reason))
        return chosen

    epochs = _whole("epochs", spec.epochs, gaps, "the service takes whole epochs only")
    batch = _batch(spec, limits, choose, gaps)
    learning_rate = spec.learning_rate
    if learning_rate is None:
        learning_rate = choose("learning_rate", *default_learning_rate(spec.method, spec.tuning))
    packing = spec.packing
    if packing is None:
        packing = choose(
            "packing",
            True,
            "several rows share a sequence; without packing the service bills every row at the full sequence length",
        )
    create: dict[str, Any] = {
        "model": choice.service,
        "n_epochs": epochs,
        "packing": packing,
        **batch,
        "learning_rate": learning_rate,
        **_schedule(spec),
        "warmup_ratio": spec.warmup_ratio,
        "weight_decay": spec.weight_decay
        if spec.weight_decay is not None
        else choose("weight_decay", 0.0, "no decay, as in QLoRA and in the service's client"),
        "max_grad_norm": spec.max_grad_norm
        if spec.max_grad_norm is not None
        else choose("max_grad_norm", 1.0, "the default of the service's client and of transformers"),
        "random_seed": spec.seed,
        **_tuning(spec, choose, gaps),
        **_method(spec),
    }
    _length(spec, limits, create, choose, gaps)
    _rhythm(spec, limits, create, choose, gaps)
    gaps += gaps_against(spec, create, limits)
    choose(
        "max_truncated",
        None,
        "not checked: the service truncates long rows and doesn't report how many; job.preview() counts them",
    )
    notes.append(
        "the service renders the rows with its own copy of the model's chat template; job.preview() renders them with "
        "the one from the hub"
    )
    if choice.known is not None and choice.known.inferred:
        notes.append(
            f"the service's name for {spec.model.id}, {choice.service!r}, is inferred from similar names; submit() "
            "checks it before anything is uploaded"
        )
    if choice.known is None:
        notes.append(
            f"{spec.model.id} isn't in the catalogue of {book.as_of}: submit() checks the service's limits for it "
            "before anything is uploaded"
        )
    request: dict[str, Any] = {
        "upload": {
            "format": _FORMATS[spec.train.format],
            "train_on": _train_on(spec.method),
            "train": spec.train.fingerprint,
            "validation": None if spec.validation is None else spec.validation.fingerprint,
        },
        "create": create,
        "budget_usd": None if spec.budget_usd is None else float(spec.budget_usd),
    }
    return RequestPlan(request, tuple(adjustments), tuple(gaps), tuple(notes))


def estimate_arguments(create: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of the service's price estimate for a `create`, without file ids, as the client does."""
    if create["lora"]:
        tuning = {
            "type": "Lora",
            **{name: create[name] for name in ("lora_r", "lora_alpha", "lora_dropout", "lora_trainable_modules")},
        }
    else:
        tuning = {"type": "Full"}
    method: dict[str, Any]
    match create["training_method"]:
        case "sft":
            method = {"method": "sft", "train_on_inputs": create["train_on_inputs"]}
        case "dpo":
            method = {
                "method": "dpo",
                "dpo_beta": create["dpo_beta"],
                "dpo_normalize_logratios_by_length": False,
                "dpo_reference_free": False,
                "rpo_alpha": 0,
                "simpo_gamma": 0,
            }
        case other:
            raise SpecError(f"no price estimate is known for the training method {other!r}")
    return {
        "model": create["model"],
        "n_epochs": create["n_epochs"],
        "n_evals": create["n_evals"],
        "training_type": tuning,
        "training_method": method,
    }


def cost_note(price: FinetunePrice | None, minimum: Price) -> str:
    """Return what is known about the cost before the service's own estimate."""
    if price is None:
        rate = "no source has its price per token"
    else:
        bound = ", an upper bound" if price.is_upper_bound else ""
        rate = f"${price.usd} per million tokens ({price.source}{bound})"
    return (
        f"{rate}; at least {money(minimum.usd, places=2)} a job ({minimum.cited}). "
        "submit() requests the service's own estimate first, and creates nothing if it is over budget_usd or over what "
        "the account may spend"
    )


def _whole(field: str, asked: float, gaps: list[Gap], reason: str) -> int:
    nearest = max(1, round(asked))
    if asked != nearest:
        gaps.append(Gap(field, asked, tuple(sorted({max(1, math.floor(asked)), math.ceil(asked)})), reason))
    return nearest


def _batch(spec: JobSpec, limits: Limits, choose: Any, gaps: list[Gap]) -> dict[str, Any]:
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


def _schedule(spec: JobSpec) -> dict[str, Any]:
    # A linear decay to 100 % of the peak is a constant rate.
    if spec.schedule == "cosine":
        return {"lr_scheduler_type": "cosine", "min_lr_ratio": 0.0, "scheduler_num_cycles": 0.5}
    return {"lr_scheduler_type": "linear", "min_lr_ratio": 1.0 if spec.schedule == "constant" else 0.0}


def _tuning(spec: JobSpec, choose: Any, gaps: list[Gap]) -> dict[str, Any]:
    match spec.tuning:
        case FullFineTune():
            return {"lora": False}
        case LoRA() | QLoRA() | DoRA() as tuning:
            return _adapter(spec, tuning, choose, gaps)
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


def _method(spec: JobSpec) -> dict[str, Any]:
    match spec.method:
        case SFT():
            return {"training_method": "sft", "train_on_inputs": trains_on_inputs(spec.method.train_on)}
        case DPO():
            return {"training_method": "dpo", "dpo_beta": spec.method.beta}
        case _:
            assert_never(spec.method)


def _train_on(method: Method) -> TrainOn | None:
    """Return what the rows of the file have to mark; None for rows that have nothing to mark."""
    match method:
        case SFT():
            return method.train_on
        case DPO():
            return None
        case _:
            assert_never(method)


def _length(spec: JobSpec, limits: Limits, create: dict[str, Any], choose: Any, gaps: list[Gap]) -> None:
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


def _rhythm(spec: JobSpec, limits: Limits, create: dict[str, Any], choose: Any, gaps: list[Gap]) -> None:
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
