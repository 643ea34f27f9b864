"""From a spec to the service's exact request: pure, offline, and every field honoured or refused."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ftsdk._format import money
from ftsdk._numbers import as_json_number
from ftsdk.backends.together.catalogue import Catalogue, KnownModel
from ftsdk.backends.together.limits import Limits, gaps_against
from ftsdk.backends.together.request_fields import (
    add_evaluations_and_checkpoints,
    add_length,
    batch_fields,
    method_fields,
    schedule_fields,
    train_on_of,
    tuning_fields,
    whole_number,
)
from ftsdk.cost.pricebook.finetune_prices import FinetunePrice
from ftsdk.cost.pricebook.price import Price
from ftsdk.errors import Gap, SpecError
from ftsdk.protocol import Adjustment, Capabilities
from ftsdk.spec import (
    DataFormat,
    JobSpec,
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
"""The service's names for the formats of rows that it takes."""


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

    epochs = whole_number("epochs", spec.epochs, gaps, "the service takes whole epochs only")
    batch = batch_fields(spec, limits, choose, gaps)
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
        **schedule_fields(spec),
        "warmup_ratio": spec.warmup_ratio,
        "weight_decay": spec.weight_decay
        if spec.weight_decay is not None
        else choose("weight_decay", 0.0, "no decay, as in QLoRA and in the service's client"),
        "max_grad_norm": spec.max_grad_norm
        if spec.max_grad_norm is not None
        else choose("max_grad_norm", 1.0, "the default of the service's client and of transformers"),
        "random_seed": spec.seed,
        **tuning_fields(spec, choose, gaps),
        **method_fields(spec),
    }
    add_length(spec, limits, create, choose, gaps)
    add_evaluations_and_checkpoints(spec, limits, create, choose, gaps)
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
            "train_on": train_on_of(spec.method),
            "train": spec.train.fingerprint,
            "validation": None if spec.validation is None else spec.validation.fingerprint,
        },
        "create": create,
        "budget_usd": None if spec.budget_usd is None else as_json_number(spec.budget_usd),
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
