"""Which requests to create a job the service refuses: pure checks against the limits of the model."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from ftsdk.testing.together.answers import Refusal
from ftsdk.testing.together.offers import ModelOffer

__all__ = ["SECRETS", "check_create", "check_estimate", "check_training"]

SECRETS = ("wandb_key", "wandb_api_key", "hf_api_token")
"""Fields that hold keys of other services: never recorded, never shown."""


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


_Check = tuple[Callable[[object], bool], str]
_TEXT: _Check = (_is_text, "a string")
_WHOLE: _Check = (_is_whole, "an integer")
_NUMBER: _Check = (_is_number, "a number")
_BOOL: _Check = (_is_bool, "a boolean")
_OBJECT: _Check = (_is_object, "an object")

_CREATE: Mapping[str, _Check] = {
    "training_file": _TEXT, "validation_file": _TEXT, "model": _TEXT, "from_checkpoint": _TEXT, "suffix": _TEXT,
    "packing": _BOOL, "n_epochs": _WHOLE, "n_evals": _WHOLE, "n_checkpoints": _WHOLE, "max_seq_length": _WHOLE,
    "batch_size": (lambda value: value == "max" or _is_whole(value), 'an integer or "max"'),
    "gradient_accumulation_steps": _WHOLE, "learning_rate": _NUMBER, "warmup_ratio": _NUMBER, "max_grad_norm": _NUMBER,
    "weight_decay": _NUMBER,
    "lr_scheduler": _OBJECT, "training_type": _OBJECT, "training_method": _OBJECT, "multimodal_params": _OBJECT,
    "random_seed": _WHOLE, "early_stopping_enabled": _BOOL, "early_stopping_patience": _WHOLE,
    "early_stopping_min_delta": _NUMBER,
    "early_stopping_warmup_evals": _WHOLE, "from_hf_model": _TEXT, "hf_model_revision": _TEXT,
    "hf_output_repo_name": _TEXT,
    "wandb_base_url": _TEXT, "wandb_project_name": _TEXT, "wandb_name": _TEXT, "wandb_entity": _TEXT,
    **dict.fromkeys(SECRETS, _TEXT),
}  # fmt: skip
_ESTIMATE = {
    name: _CREATE[name]
    for name in (
        "training_file",
        "validation_file",
        "model",
        "from_checkpoint",
        "n_epochs",
        "n_evals",
        "training_method",
        "training_type",
    )
}
_SFT: Mapping[str, _Check] = {
    "train_on_inputs": (lambda value: value == "auto" or _is_bool(value), 'a boolean or "auto"')
}
_DPO: Mapping[str, _Check] = {
    "dpo_beta": _NUMBER,
    "dpo_normalize_logratios_by_length": _BOOL, "dpo_reference_free": _BOOL, "rpo_alpha": _NUMBER,
    "simpo_gamma": _NUMBER,
}  # fmt: skip
_LORA: Mapping[str, _Check] = {
    "lora_r": _WHOLE,
    "lora_alpha": _WHOLE,
    "lora_dropout": _NUMBER,
    "lora_trainable_modules": _TEXT,
}


def check_create(body: Mapping[str, Any]) -> None:
    """Check the fields of a request to create a job: their names and their types.

    Raises:
        Refusal: 422, it has a field that is unknown, missing or of the wrong type.
    """
    _check_fields(body, _CREATE)
    _check_parts(body)
    if bool(body.get("model")) == bool(body.get("from_checkpoint")):
        raise Refusal(422, "exactly one of model and from_checkpoint is required", param="model")


def check_estimate(body: Mapping[str, Any]) -> None:
    """Check the fields of a request for a price, as `check_create` does."""
    # The client sends an empty model with from_checkpoint, and null for a training type that was left open.
    _check_fields({name: value for name, value in body.items() if (name, value) != ("training_type", None)}, _ESTIMATE)
    _check_parts(body)
    if not body.get("model") and not body.get("from_checkpoint"):
        raise Refusal(422, "one of model and from_checkpoint is required", param="model")


def _check_fields(body: Mapping[str, Any], known: Mapping[str, _Check], *, within: str = "") -> None:
    for name, value in body.items():
        path = f"{within}{name}"
        if name not in known:
            raise Refusal(422, f"unknown field {path!r}", param=path)
        fits, what = known[name]
        if not fits(value):
            raise Refusal(422, f"{path} must be {what}", param=path)
    if not within and not body.get("training_file"):
        raise Refusal(422, "training_file is required", param="training_file")


def _check_parts(body: Mapping[str, Any]) -> None:
    method = cast("dict[str, Any]", body.get("training_method") or {"method": "sft", "train_on_inputs": "auto"})
    kind = method.get("method")
    if kind not in ("sft", "dpo"):
        raise Refusal(422, "training_method.method must be 'sft' or 'dpo'", param="training_method")
    rest = {name: value for name, value in method.items() if name != "method"}
    _check_fields(rest, _SFT if kind == "sft" else _DPO, within="training_method.")
    if kind == "sft" and "train_on_inputs" not in rest:
        raise Refusal(422, "training_method.train_on_inputs is required", param="training_method.train_on_inputs")
    training = cast("dict[str, Any]", body.get("training_type") or {"type": "Lora", "lora_r": 1, "lora_alpha": 1})
    kind = training.get("type")
    if kind not in ("Full", "Lora"):
        raise Refusal(422, "training_type.type must be 'Full' or 'Lora'", param="training_type")
    rest = {name: value for name, value in training.items() if name != "type"}
    _check_fields(rest, _LORA if kind == "Lora" else {}, within="training_type.")
    for name in ("lora_r", "lora_alpha") if kind == "Lora" else ():
        if name not in rest:
            raise Refusal(422, f"training_type.{name} is required", param=f"training_type.{name}")


def check_training(body: Mapping[str, Any], offer: ModelOffer, *, data_format: str, evals_format: str | None) -> None:
    """Check the numbers of a request against what the model allows, and the method against the data.

    Args:
        body: A request that passed `check_create`.
        offer: The model.
        data_format: The format of the training file, as its report says it.
        evals_format: That of the validation file; None if there is none.

    Raises:
        Refusal: 400, with what is allowed.
    """
    method = cast("dict[str, Any]", body.get("training_method") or {"method": "sft"})
    training = cast("dict[str, Any]", body.get("training_type") or {"type": "Lora"})
    is_dpo = method["method"] == "dpo"
    _check_numbers(body, offer, is_dpo=is_dpo)
    if training["type"] == "Full" and not offer.full:
        raise Refusal(400, f"full training is not supported for {offer.name}", param="training_type")
    if training["type"] == "Lora":
        _between("lora_r", training.get("lora_r", offer.max_rank), 1, offer.max_rank)
        _between("lora_alpha", training.get("lora_alpha", 1), 1, None)
        dropout = training.get("lora_dropout", 0)
        if not 0 <= dropout < 1:
            raise Refusal(400, f"lora_dropout must be in [0, 1), got {dropout}", param="lora_dropout")
    if (body.get("multimodal_params") or {}).get("train_vision") and not offer.vision:
        raise Refusal(400, f"{offer.name} has no vision encoder to train", param="multimodal_params")
    _check_method(method)
    for name, found in (("training_file", data_format), ("validation_file", evals_format)):
        if found is not None and is_dpo != (found == "preference_openai"):
            raise Refusal(400, f"{name} is of format {found!r}, which {method['method']} can't use", param=name)
    _check_early_stopping(body)
    suffix = body.get("suffix")
    # The Python client says 40, the TypeScript one 64; the stricter one can't be wrong.
    if suffix is not None and not re.fullmatch(r"[A-Za-z0-9._-]{1,40}", suffix):
        raise Refusal(400, "suffix must be 1 to 40 letters, digits, dots, dashes or underscores", param="suffix")


def _check_numbers(body: Mapping[str, Any], offer: ModelOffer, *, is_dpo: bool) -> None:
    batch = body.get("batch_size", "max")
    if batch != "max":
        _between("batch_size", batch, offer.batch_size, offer.max_batch_size or offer.batch_size)
    longest = offer.max_length_dpo if is_dpo else offer.max_length_sft
    scheduler = cast("dict[str, Any]", body.get("lr_scheduler") or {})
    if scheduler and scheduler.get("lr_scheduler_type") not in ("linear", "cosine"):
        raise Refusal(422, "lr_scheduler.lr_scheduler_type must be 'linear' or 'cosine'", param="lr_scheduler")
    arguments = cast("dict[str, Any]", scheduler.get("lr_scheduler_args") or {})
    for name, low, high in (
        ("n_epochs", 1, offer.max_epochs),
        ("n_evals", 0, offer.max_evals),
        ("n_checkpoints", 1, offer.max_checkpoints),
        ("max_seq_length", offer.min_length, longest),
        # 0 means: as the model's limits say.
        ("gradient_accumulation_steps", 0, None),
        ("learning_rate", offer.min_learning_rate, offer.max_learning_rate),
        ("warmup_ratio", 0, 1),
        ("max_grad_norm", 0, None),
        ("weight_decay", 0, None),
    ):
        if body.get(name) is not None:
            _between(name, body[name], low, high)
    _between("min_lr_ratio", arguments.get("min_lr_ratio") or 0, 0, 1)


def _check_method(method: Mapping[str, Any]) -> None:
    for name in ("dpo_beta", "rpo_alpha", "simpo_gamma"):
        if method.get(name) is not None:
            _between(name, method[name], 0, None)


def _check_early_stopping(body: Mapping[str, Any]) -> None:
    if not body.get("early_stopping_enabled"):
        return
    patience, warmup = body.get("early_stopping_patience", 2), body.get("early_stopping_warmup_evals", 1)
    _between("early_stopping_patience", patience, 1, None)
    _between("early_stopping_warmup_evals", warmup, 0, None)
    _between("early_stopping_min_delta", body.get("early_stopping_min_delta", 0), 0, None)
    if not body.get("validation_file"):
        raise Refusal(400, "early stopping requires a validation file", param="validation_file")
    least = patience + warmup + 1
    if body.get("n_evals", 0) < least:
        raise Refusal(400, f"early stopping requires n_evals >= patience + warmup_evals + 1 = {least}", param="n_evals")


def _between(name: str, value: float, low: float, high: float | None) -> None:
    if value < low:
        raise Refusal(400, f"{name} {value} is lower than the minimum of {low}", param=name)
    if high is not None and value > high:
        raise Refusal(400, f"{name} {value} is higher than the maximum of {high}", param=name)
