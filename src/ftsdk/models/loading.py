"""Tokenizers and weights, loaded by transformers and PEFT from safetensors. torch is imported inside functions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from ftsdk.errors import ModelError
from ftsdk.models.materialize import materialize
from ftsdk.models.source import inspect_model
from ftsdk.models.torch_stack import late_imports, quiet_transformers
from ftsdk.spec import Model

__all__ = [
    "embedding_rows_of",
    "eos_token_ids",
    "load_model",
    "load_tokenizer",
    "max_length_of",
    "pick_device",
    "pick_dtype",
]

DtypeName = Literal["bfloat16", "float16", "float32"]

_PAD_NAMES = ("<|pad|>", "<pad>", "[PAD]", "<|padding|>", "<|finetune_right_pad_id|>")
_SPARE = re.compile(r"reserved|unused|extra_id|fim_pad", re.IGNORECASE)


def load_tokenizer(model: Model, *, on_message: Callable[[str], None] | None = None) -> Any:
    """Load the tokenizer, with its chat template and a pad token set.

    A tokenizer without a pad token gets a reserved token that no text uses, or its end-of-sequence token where there
    is none. That is safe because ftsdk masks padding by position.

    Args:
        model: The model; its `chat_template` replaces the tokenizer's own.
        on_message: Called with one sentence for each thing worth knowing.

    Raises:
        ModelError: There is no tokenizer, or no chat template in the model or in the spec.
        MissingExtraError: transformers isn't installed.
    """
    folder = materialize(model, on_message=on_message)
    with late_imports("loading a tokenizer"):
        from transformers import AutoTokenizer
    with quiet_transformers():
        try:
            tokenizer: Any = AutoTokenizer.from_pretrained(
                folder, trust_remote_code=model.trust_remote_code, local_files_only=True
            )
        except (ValueError, OSError, KeyError, ImportError) as error:
            raise ModelError(f"the tokenizer of {model} can't be loaded: {error}") from error
    if model.chat_template is not None:
        tokenizer.chat_template = model.chat_template
    if not tokenizer.chat_template:
        raise ModelError(
            f"{model} has no chat template, so it is unknown how a conversation is written for it. "
            "Use its instruct version, or pass one: Model(..., chat_template='...')."
        )
    if tokenizer.eos_token_id is None:
        raise ModelError(
            f"the tokenizer of {model} has no end-of-sequence token, so generation would never stop. Set eos_token in "
            "tokenizer_config.json."
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = _spare_token(tokenizer) or tokenizer.eos_token
        if on_message is not None:
            on_message(f"{model} has no pad token; {tokenizer.pad_token!r} is used for padding")
    return tokenizer


def _spare_token(tokenizer: Any) -> str | None:
    special = [str(token) for token in tokenizer.added_tokens_decoder.values()]
    taken = {tokenizer.eos_token, tokenizer.bos_token, tokenizer.unk_token}
    template = str(tokenizer.chat_template)
    for name in _PAD_NAMES:
        if name in special and name not in taken:
            return name
    return next(
        (token for token in special if _SPARE.search(token) and token not in taken and token not in template), None
    )


def eos_token_ids(tokenizer: Any, folder: Path) -> tuple[int, ...]:
    """Return the tokens that end an answer: the tokenizer's own and those of the model's `generation_config.json`.

    Args:
        tokenizer: From `load_tokenizer`.
        folder: From `materialize`.

    Raises:
        ModelError: `generation_config.json` isn't JSON.
    """
    found: list[int] = [tokenizer.eos_token_id]
    path = folder / "generation_config.json"
    if path.is_file():
        try:
            listed = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id")
        except (ValueError, AttributeError) as error:
            raise ModelError(
                f"{path.name} of {folder.name} can't be read as JSON ({error}). Copy or download the model again."
            ) from error
        found += listed if isinstance(listed, list) else [] if listed is None else [listed]
    return tuple(dict.fromkeys(found))


def max_length_of(model: Model, tokenizer: Any = None) -> int | None:
    """Return how many tokens a row may have, or None if neither the config nor the tokenizer states it.

    The one rule for plans, previews, training and evals: the config's `max_position_embeddings`, and only where there
    is none the tokenizer's `model_max_length`, which is often a leftover, or stands for "unknown" (1e30).
    """
    facts = inspect_model(model)
    if facts.max_position_embeddings is None and not facts.is_downloaded:
        facts = inspect_model(Model(id=str(materialize(model)), trust_remote_code=model.trust_remote_code))
    if facts.max_position_embeddings is not None:
        return facts.max_position_embeddings
    limit = getattr(tokenizer, "model_max_length", None)
    return int(limit) if isinstance(limit, int | float) and 0 < limit < 10**9 else None


def embedding_rows_of(model: Model) -> int | None:
    """Return how many token ids the model's embedding has; None if the headers of its files don't show it.

    Raises:
        ModelError: The model can't be found or isn't whole.
    """
    return inspect_model(Model(id=str(materialize(model)), trust_remote_code=model.trust_remote_code)).embedding_rows


def pick_device() -> str:
    """Return the best device of this machine: `"cuda"`, `"mps"` or `"cpu"`.

    Raises:
        MissingExtraError: torch isn't installed.
    """
    torch = _torch()
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def pick_dtype(device: str) -> DtypeName:
    """Return the fast number format of a device: bfloat16 on GPUs and CPUs with instructions for it, else float32."""
    torch = _torch()
    if device.startswith("cuda"):
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    if device.startswith("mps"):
        return "float32"
    # Private names, because torch has no public ones; without them the slow format is right.
    checks = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return "bfloat16" if any(check() for check in checks if check is not None) else "float32"


def load_model(
    model: Model, *, dtype: str | None = None, device: str | None = None, attention: str | None = None
) -> Any:
    """Load the weights, with the adapter on top if the model names one, ready for inference.

    Args:
        model: What to load.
        dtype: `"bfloat16"`, `"float16"` or `"float32"`; None picks by device, see `pick_dtype`.
        device: As torch calls it, such as `"cuda"` or `"cpu"`; None picks the best one of this machine.
        attention: An attention implementation, as transformers calls it; None is its default.

    Returns:
        A torch module in eval mode: transformers' model, or PEFT's around it if there is an adapter.

    Raises:
        ModelError: The weights can't be loaded, or the adapter doesn't fit them.
        MissingExtraError: torch, transformers or PEFT isn't installed.
    """
    torch = _torch()
    where = device or pick_device()
    folder = materialize(model)
    with late_imports("loading a model"):
        from transformers import AutoModelForCausalLM
    options: dict[str, Any] = {"attn_implementation": attention} if attention else {}
    with quiet_transformers():
        try:
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=getattr(torch, dtype or pick_dtype(where)),
                use_safetensors=True,
                trust_remote_code=model.trust_remote_code,
                local_files_only=True,
                **options,
            )
        except (ValueError, OSError, KeyError, RuntimeError, ImportError) as error:
            raise ModelError(f"{model} can't be loaded: {error}") from error
        if model.adapter is not None:
            loaded = _with_adapter(loaded, model)
    return loaded.to(where).eval()


def _with_adapter(loaded: Any, model: Model) -> Any:
    with late_imports("loading an adapter"):
        from peft import PeftModel
    inspect_model(model)  # refuses an adapter whose weights aren't safetensors
    try:
        return PeftModel.from_pretrained(loaded, str(Path(str(model.adapter)).expanduser()), local_files_only=True)
    except (ValueError, RuntimeError, KeyError, TypeError) as error:
        raise ModelError(f"the adapter {model.adapter} doesn't fit {model.id}: {error}") from error


def _torch() -> Any:
    with late_imports("running a model on this machine"):
        import torch
    return torch
