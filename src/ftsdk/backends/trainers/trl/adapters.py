"""peft's configuration of each tuning, and what is set on the model once the adapter is there."""

from __future__ import annotations

import re
from typing import Any

import torch
from peft import IA3Config, LoraConfig, PeftConfig, PrefixTuningConfig, PromptTuningConfig

from ftsdk.backends.trainers.trl.adapter_starts import held_alpha, held_rank
from ftsdk.backends.trainers.trl.request import TrainingRequest

__all__ = ["adapter_config", "begin_at_text", "give_wrapped_head_a_bias"]


def adapter_config(request: TrainingRequest, model: Any, *, added_tokens: tuple[int, ...] = ()) -> PeftConfig:
    """Return peft's configuration for the request's tuning.

    Args:
        request: The training request.
        model: As it was loaded, without an adapter.
        added_tokens: Ids of tokens whose rows of the embedding are trained, too.
    """
    tuning = request.tuning
    match tuning.kind:
        case "prompt":
            # Never peft's own start from a text, which writes a path of this machine into the config.
            return PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=tuning.virtual_tokens or 1)
        case "prefix":
            return PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=tuning.virtual_tokens or 1)
        case "ia3":
            names = list(tuning.target_modules or ())
            return IA3Config(
                task_type="CAUSAL_LM", target_modules=names, feedforward_modules=[n for n in names if n == "down_proj"]
            )
        case _:
            return _lora_config(request, model, added_tokens)


def _lora_config(request: TrainingRequest, model: Any, added_tokens: tuple[int, ...]) -> LoraConfig:
    tuning = request.tuning
    alpha: Any = held_alpha(tuning)  # peft says int and divides it
    targets = tuning.target_modules
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=held_rank(tuning),
        lora_alpha=alpha,
        lora_dropout=tuning.dropout or 0.0,
        target_modules=_targets(model, targets) if tuning.layers is not None else _as_peft(targets),
        layers_to_transform=None if tuning.layers is None else list(tuning.layers),
        use_dora=bool(tuning.dora),
        use_rslora=tuning.rank_stabilized,
        trainable_token_indices=_rows_of(model, added_tokens),
        bias="none",
    )


def _as_peft(targets: str | tuple[str, ...] | None) -> Any:
    return list(targets) if isinstance(targets, tuple) else targets


def _targets(model: Any, targets: str | tuple[str, ...] | None) -> list[str]:
    """Return names of layers: peft takes numbers of blocks beside names only, and not beside `all-linear`."""
    if isinstance(targets, tuple):
        return list(targets)
    linear = (name for name, module in model.named_modules() if isinstance(module, torch.nn.Linear))
    return sorted({name.rpartition(".")[2] for name in linear if re.search(r"\.\d+\.", name)})


def _rows_of(model: Any, added_tokens: tuple[int, ...]) -> Any:
    """Return which rows are trained: of the embedding, and of the head where it has weights of its own."""
    if not added_tokens:
        return None
    embedding, head = model.get_input_embeddings(), model.get_output_embeddings()
    is_tied = head is None or head.weight is embedding.weight
    wanted = [embedding] if is_tied else [embedding, head]
    names = {name.rpartition(".")[2] for name, module in model.named_modules() if any(module is one for one in wanted)}
    return {name: list(added_tokens) for name in sorted(names)}


def give_wrapped_head_a_bias(model: Any) -> None:
    """Let TRL's fused loss read a head of which an adapter trains single rows (`trainable_token_indices`).

    It reads `weight` and `bias` (TRL 1.16, `trl/trainer/utils.py`); peft's wrapper has the first, with the trained rows
    in it, but not the second (0.21.2, `TrainableTokensWrapper`).
    """
    head = model.get_output_embeddings()
    if head is not None and not hasattr(head, "bias"):
        head.register_parameter("bias", None)


def begin_at_text(model: Any, tokenizer: Any, request: TrainingRequest) -> None:
    """Let what stands before every row start as a text: its embeddings, or the keys and values that it leaves.

    Args:
        model: peft's, with learned prompts or prefixes.
        tokenizer: That of the model.
        request: The training request.
    """
    tuning = request.tuning
    if tuning.init_text is None or tuning.virtual_tokens is None:
        return
    ids: list[int] = tokenizer(tuning.init_text, add_special_tokens=False)["input_ids"]
    count = tuning.virtual_tokens
    repeated = (ids * -(-count // len(ids)))[:count]
    base, weight = model.get_base_model(), model.prompt_encoder["default"].embedding.weight
    tokens = torch.tensor([repeated], device=base.get_input_embeddings().weight.device)
    with torch.no_grad():
        if tuning.kind == "prompt":
            start = base.get_input_embeddings()(tokens)[0]
        else:
            was_training = base.training
            cache = base.eval()(input_ids=tokens, use_cache=True).past_key_values
            base.train(was_training)
            start = _flattened(cache)
        weight.copy_(start.to(weight))


def _flattened(cache: Any) -> torch.Tensor:
    """Return a cache of one row as peft keeps it: by position, the keys and values of each layer after one another."""
    parts: list[torch.Tensor] = []
    for layer in cache.layers:
        parts += [side[0].transpose(0, 1).flatten(1) for side in (layer.keys, layer.values)]
    return torch.cat(parts, dim=1)
