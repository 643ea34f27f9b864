"""A copy of a model whose tokenizer has more tokens and whose embedding has a row for each: made once, then reused."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, cast

from ftsdk.errors import ModelError
from ftsdk.models.torch_stack import late_imports, loading_errors

__all__ = ["add_to_tokenizer", "added_token_ids", "key_of_copy", "write_with_tokens"]

_MANIFEST = "manifest.json"


def key_of_copy(identity: str, tokens: tuple[str, ...]) -> str:
    """Return the name of the copy's folder: another one for other weights, and for other tokens.

    Args:
        identity: Of the model, see `model_identity`.
        tokens: What is added.
    """
    return hashlib.sha256(json.dumps([identity, *tokens]).encode()).hexdigest()[:16]


def added_token_ids(folder: Path) -> tuple[int, ...]:
    """Return the ids of the tokens that were added to a model, whose rows are to be trained; none for other folders.

    Args:
        folder: From `materialize`.
    """
    try:
        content = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ()
    found: object = cast("dict[str, Any]", content).get("added_tokens") if isinstance(content, dict) else None
    return tuple(cast("dict[str, int]", found).values()) if isinstance(found, dict) else ()


def add_to_tokenizer(tokenizer: Any, tokens: tuple[str, ...], *, name: str) -> dict[str, int]:
    """Add tokens to a tokenizer in memory, and return the ids of those that it didn't have.

    Args:
        tokenizer: transformers'.
        tokens: What is added; those that the tokenizer has already are left as they are.
        name: Of the model, for errors.

    Raises:
        ModelError: One of the tokens is never found in a text.
    """
    from transformers import AddedToken

    known = tokenizer.get_vocab()
    new = [token for token in tokens if token not in known]
    # As a word of the text, and not as a special token: answers that are decoded without those keep it.
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in new])
    ids = {token: int(tokenizer.convert_tokens_to_ids(token)) for token in new}
    for token, number in ids.items():
        if tokenizer.encode(f"a{token}b", add_special_tokens=False).count(number) != 1:
            raise ModelError(f"the tokenizer of {name} doesn't find the added token {token!r} in a text")
    return ids


def write_with_tokens(source: Path, into: Path, tokens: tuple[str, ...], *, name: str) -> dict[str, int]:
    """Write the copy.

    New rows of the embedding, and of a head of its own, start as the mean of the others, so that a new token is neither
    likelier nor louder than any.

    Args:
        source: A folder that transformers can load.
        into: An empty folder.
        tokens: What is added; those that the tokenizer has already are left as they are.
        name: Of the model, for errors.

    Returns:
        The ids of the new tokens.

    Raises:
        ModelError: The model can't be loaded or written, or one of the tokens is never found in a text.
    """
    with late_imports(f"adding tokens to {name}"):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig
    with loading_errors(f"tokens can't be added to {name}"):
        tokenizer: Any = AutoTokenizer.from_pretrained(source, local_files_only=True)
        ids = add_to_tokenizer(tokenizer, tokens, name=name)
        model: Any = AutoModelForCausalLM.from_pretrained(
            source, dtype="auto", use_safetensors=True, local_files_only=True
        )
        rows = model.get_input_embeddings().weight.shape[0]
        if len(tokenizer) > rows:
            model.resize_token_embeddings(len(tokenizer), mean_resizing=False)
        if ids:
            with torch.no_grad():
                layers = [model.get_input_embeddings(), model.get_output_embeddings()]
                for weight in {id(layer.weight): layer.weight for layer in layers if layer is not None}.values():
                    first = min(min(ids.values()), rows)
                    weight[list(ids.values())] = weight[:first].float().mean(dim=0).to(weight.dtype)
        # transformers refuses to save the generation settings of some published models.
        for setting in model.config._get_generation_parameters():
            delattr(model.config, setting)
        model.generation_config = GenerationConfig()
        model.save_pretrained(into)
        tokenizer.save_pretrained(into)
        for file in source.glob("generation_config.json"):
            shutil.copyfile(file, into / file.name)
    return ids
