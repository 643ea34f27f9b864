"""Tokenizers and weights, loaded by transformers and PEFT from safetensors. torch is imported inside functions."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

from ftsdk.errors import ModelError
from ftsdk.models.added_tokens import add_to_tokenizer
from ftsdk.models.folder_files import read_json
from ftsdk.models.identity import base_name
from ftsdk.models.materialize import materialize
from ftsdk.models.source import check_stated_sizes, inspect_model
from ftsdk.models.torch_stack import late_imports, loading_errors, quiet_transformers
from ftsdk.spec import Model

__all__ = [
    "embedding_rows_of",
    "eos_token_ids",
    "load_model",
    "load_tokenizer",
    "max_length_of",
    "pick_device",
    "pick_dtype",
    "rendering_options",
]

DtypeName = Literal["bfloat16", "float16", "float32"]

_PAD_NAMES = ("<|pad|>", "<pad>", "[PAD]", "<|padding|>", "<|finetune_right_pad_id|>")
_NO_LIMIT = int(1e30)
"""What transformers sets as the `model_max_length` of a tokenizer that states none."""
_SPARE = re.compile(r"reserved|unused|extra_id|fim_pad", re.IGNORECASE)


def load_tokenizer(model: Model, *, on_message: Callable[[str], None] | None = None) -> Any:
    """Load the tokenizer, with its chat template and a pad token set.

    A tokenizer without a pad token, or with one that the embedding has no row for, gets a reserved token that no text
    uses, or its end-of-sequence token where there is none. That is safe because ftsdk masks padding by position.

    Args:
        model: The model; its `chat_template` replaces the tokenizer's own.
        on_message: Called with one sentence for each thing worth knowing.

    Raises:
        ModelError: There is no tokenizer, it is damaged, or there is no chat template in the model or in the spec.
        MissingExtraError: transformers isn't installed.
    """
    folder = materialize(_without_added(model), on_message=on_message)
    with late_imports("loading a tokenizer"):
        from transformers import AutoTokenizer
    with quiet_transformers(), loading_errors(f"the tokenizer of {model} can't be loaded"):
        tokenizer: Any = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=model.trust_remote_code, local_files_only=True
        )
    if model.chat_template is not None:
        tokenizer.chat_template = model.chat_template
    if not tokenizer.chat_template:
        raise ModelError(
            f"{model} has no chat template, so it is unknown how a conversation is written for it. "
            "Use its instruct version, or pass one: Model(..., chat_template='...')."
        )
    if not isinstance(tokenizer.chat_template, str | dict):
        raise ModelError(
            f"the chat template of {model} isn't text. Download the model again, or pass one: "
            "Model(..., chat_template='...')."
        )
    if not isinstance(tokenizer.model_max_length, int | float):
        tokenizer.model_max_length = _NO_LIMIT  # compared with in every call, and stated in words in some configs
    with loading_errors(f"the tokenizer of {model} can't be used"):
        if model.add_tokens is not None:
            # Here, and not from the copy with more rows: a preview needs no weights.
            add_to_tokenizer(tokenizer, model.add_tokens, name=base_name(model))
        tokenizer("a", padding=False, truncation=False)
        if tokenizer.eos_token_id is None:
            raise ModelError(
                f"the tokenizer of {model} has no end-of-sequence token, so generation would never stop. Set eos_token "
                "in tokenizer_config.json."
            )
        _set_pad_token(tokenizer, model, embedding_rows_of(model, tokenizer), on_message)
    return tokenizer


def _without_added(model: Model) -> Model:
    """Return the model as it is published: all of its files but embedding and tokenizer are those of the copy."""
    return model if model.add_tokens is None else model.replace(add_tokens=None)


def _set_pad_token(tokenizer: Any, model: Model, rows: int | None, on_message: Callable[[str], None] | None) -> None:
    """Set a pad token that the model's embedding has a row for."""
    own = tokenizer.pad_token_id
    if own is not None and (rows is None or own < rows):
        return
    why = "has no pad token" if own is None else f"has the pad token {own}, beyond the {rows:,} rows of its embedding"
    tokenizer.pad_token = _spare_token(tokenizer, rows) or tokenizer.eos_token
    if rows is not None and tokenizer.pad_token_id >= rows:
        raise ModelError(
            f"the end-of-sequence token of {model} is token {tokenizer.pad_token_id}, but its embedding has {rows:,} "
            "rows: the tokenizer is another model's. Use the model's own, or resize the model with "
            "model.resize_token_embeddings(len(tokenizer)) and save both."
        )
    if on_message is not None:
        on_message(f"{model} {why}; {tokenizer.pad_token!r} is used for padding")


def _spare_token(tokenizer: Any, rows: int | None) -> str | None:
    special = [str(token) for n, token in tokenizer.added_tokens_decoder.items() if rows is None or n < rows]
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
        ModelError: `generation_config.json` isn't JSON, or names something other than tokens.
    """
    found: list[int] = [tokenizer.eos_token_id]
    path = folder / "generation_config.json"
    if path.is_file():
        stated: object = read_json(path, folder.name).get("eos_token_id")
        listed = cast("list[object]", stated) if isinstance(stated, list) else [] if stated is None else [stated]
        for token in listed:
            if not isinstance(token, int) or isinstance(token, bool) or token < 0:
                raise ModelError(
                    f"{path.name} of {folder.name} has the eos_token_id {str(stated)[:100]}, which isn't a token id or "
                    "a list of them. Correct it, or copy or download the model again."
                )
            found.append(token)
    return tuple(dict.fromkeys(found))


def max_length_of(model: Model, tokenizer: Any = None) -> int | None:
    """Return how many tokens a row may have, or None if neither the config nor the tokenizer states it.

    The one rule for plans, previews, training and evals: the config's `max_position_embeddings`, and only where there
    is none the tokenizer's `model_max_length`, which is often a leftover, or stands for "unknown" (1e30).
    """
    facts = inspect_model(model)
    if facts.max_position_embeddings is None and not facts.is_downloaded:
        folder = materialize(_without_added(model))
        facts = inspect_model(Model(id=str(folder), trust_remote_code=model.trust_remote_code))
    if facts.max_position_embeddings is not None:
        return facts.max_position_embeddings
    limit = getattr(tokenizer, "model_max_length", None)
    return int(limit) if isinstance(limit, int | float) and 0 < limit < 10**9 else None


class RenderingOptions(TypedDict):
    """What decides, beside the rows, how they are rendered for a model."""

    max_length: int | None
    """Tokens that are kept of a row; None: all."""
    eos_token_ids: tuple[int, ...]
    embedding_rows: int | None


def rendering_options(model: Model, tokenizer: Any, *, max_length: int | None) -> RenderingOptions:
    """Return the options of `ftsdk.data.render_dataset` for a model: the same for training, previews and reports.

    Args:
        model: The model.
        tokenizer: From `load_tokenizer`.
        max_length: What the job sets; None: as many tokens as the model reads.

    Raises:
        ModelError: The model can't be found, or its files contradict each other.
    """
    return RenderingOptions(
        max_length=max_length or max_length_of(model, tokenizer),
        eos_token_ids=eos_token_ids(tokenizer, materialize(_without_added(model))),
        embedding_rows=embedding_rows_of(model, tokenizer),
    )


def embedding_rows_of(model: Model, tokenizer: Any = None) -> int | None:
    """Return how many token ids the model's embedding has; None if the headers of its files don't show it.

    Args:
        model: The model.
        tokenizer: From `load_tokenizer`: with it, no copy is written of a model to which tokens are added.

    Raises:
        ModelError: The model can't be found or isn't whole.
    """
    plain = model if tokenizer is None else _without_added(model)
    facts = inspect_model(Model(id=str(materialize(plain)), trust_remote_code=model.trust_remote_code))
    if facts.embedding_rows is None or tokenizer is None or plain is model:
        return facts.embedding_rows
    return max(facts.embedding_rows, len(tokenizer))


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
    if model.adapter is not None:
        inspect_model(model)  # refuses an adapter whose weights aren't safetensors
    check_stated_sizes(folder, shown=str(model), adapter=model.adapter)
    with late_imports("loading a model"):
        from transformers import AutoModelForCausalLM
    options: dict[str, Any] = {"attn_implementation": attention} if attention else {}
    with quiet_transformers():
        with loading_errors(f"{model} can't be loaded"):
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=getattr(torch, dtype or pick_dtype(where)),
                use_safetensors=True,
                trust_remote_code=model.trust_remote_code,
                local_files_only=True,
                **options,
            )
        if model.adapter is not None:
            loaded = _with_adapter(loaded, model)
    return loaded.to(where).eval()


def _with_adapter(loaded: Any, model: Model) -> Any:
    with late_imports("loading an adapter"):
        from peft import PeftModel
    with loading_errors(f"the adapter {model.adapter} doesn't fit {model.id}", "Name the base it was trained on."):
        return PeftModel.from_pretrained(loaded, str(Path(str(model.adapter)).expanduser()), local_files_only=True)


def _torch() -> Any:
    with late_imports("running a model on this machine"):
        import torch
    return torch
