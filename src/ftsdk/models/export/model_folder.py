"""A merged model as a folder that plain transformers opens."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ftsdk.errors import ModelError, SpecError
from ftsdk.models.export.base_weights import MergedWeights, base_format_of, open_weights
from ftsdk.models.export.safetensors_file import FORMATS, NumberFormat, split_into_shards, write_safetensors
from ftsdk.models.folder_files import read_json
from ftsdk.models.identity import base_name
from ftsdk.models.loading import eos_token_ids, load_tokenizer
from ftsdk.spec import Model

__all__ = ["MOST_SHARD_BYTES", "write_merged", "write_tokenizer"]

MOST_SHARD_BYTES = 4_000_000_000
"""Of one file, as published models have it."""
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "tokenizer.model",
    "spiece.model",
    "chat_template.jinja",
    "chat_template.json",
)
_LICENCES = ("LICENSE", "LICENSE.md", "LICENSE.txt", "LICENCE", "NOTICE", "NOTICE.txt", "USE_POLICY.md")


def write_merged(
    model: Model,
    into: Path,
    quantization: str | None = None,
    *,
    most_shard_bytes: int = MOST_SHARD_BYTES,
    on_message: Callable[[str], None] | None = None,
) -> NumberFormat:
    """Write a model, its adapter merged in float32 and cast once, into a folder for transformers.

    Weights are read, merged and written one by one: the peak of memory is a few times the largest of them.

    Args:
        model: With or without an adapter.
        into: An empty folder.
        quantization: The number format: `"f32"`, `"f16"` or `"bf16"`. None: that of the base.
        most_shard_bytes: Of one file of weights.
        on_message: Called with one sentence before each slow step.

    Returns:
        The number format.

    Raises:
        ModelError: The model isn't whole, or its adapter can't be merged.
        SpecError: There is no such number format.
    """
    weights = open_weights(model, on_message=on_message, base_format=base_format_of(model))
    try:
        number_format = _number_format(quantization, weights)
        if on_message is not None:
            what = f"merging the adapter into {base_name(model)}" if model.adapter else f"writing {base_name(model)}"
            on_message(f"{what}, {number_format}")
        tokenizer = load_tokenizer(model)
        _write_weights(weights, into, number_format, most_shard_bytes)
        _write_configs(weights, into, number_format, eos_token_ids(tokenizer, weights.folder))
        write_tokenizer(model, weights.folder, into)
        if model.trust_remote_code:
            for path in weights.folder.glob("*.py"):
                _copy(weights.folder, path.name, into)
        for name in _LICENCES:
            _copy(weights.folder, name, into)
    finally:
        weights.close()
    return number_format


def write_tokenizer(model: Model, folder: Path, into: Path) -> None:
    """Copy the tokenizer of a model as it is, with the chat template of the training.

    Args:
        model: Its `chat_template` replaces the tokenizer's own.
        folder: From `materialize`.
        into: Where to.
    """
    for name in _TOKENIZER_FILES:
        _copy(folder, name, into)
    if model.chat_template is None:
        for path in (folder / "additional_chat_templates").glob("*.jinja"):
            _copy(folder, f"additional_chat_templates/{path.name}", into)
    if model.chat_template is None:
        return
    (into / "chat_template.json").unlink(missing_ok=True)
    (into / "chat_template.jinja").write_text(model.chat_template, encoding="utf-8")
    config = into / "tokenizer_config.json"
    if config.is_file() and "chat_template" in (content := read_json(config, str(model))):
        del content["chat_template"]
        config.write_text(json.dumps(content, indent=2, ensure_ascii=False), encoding="utf-8")


def _copy(folder: Path, name: str, into: Path) -> None:
    """Copy a file of a model, if it has one of this name.

    Raises:
        ModelError: It is a link to somewhere else: what is exported is published, and that may be anything of the user.
    """
    source = folder / name
    if not source.is_file():
        return
    home = folder.resolve()
    # The cache of the hub keeps files beside its snapshots: `blobs/HASH` and `snapshots/REVISION/NAME`.
    blobs = home.parent.parent / "blobs" if home.parent.name == "snapshots" else home
    if not any(source.resolve().is_relative_to(place) for place in (home, blobs)):
        raise ModelError(f"{source} is a link to a file outside of the model's folder; put the file itself there")
    (into / name).parent.mkdir(exist_ok=True)
    shutil.copyfile(source, into / name)


def _number_format(asked: str | None, weights: MergedWeights) -> NumberFormat:
    """Return the number format to write: what is asked for, or that of the base.

    Raises:
        SpecError: There is no such one.
    """
    if asked is not None:
        for known in FORMATS:
            if asked.lower() in (known, FORMATS[known].torch_name):
                return known
        raise SpecError(
            f"quantization={asked!r} isn't for a merged folder, which has numbers as transformers computes with them: "
            f"{', '.join(FORMATS)}. For a quantised model export to='gguf'"
        )
    import torch

    stored = weights.stored(next(name for name, shape in weights.shapes.items() if len(shape) > 1)).dtype
    for known, form in FORMATS.items():
        if getattr(torch, form.torch_name) == stored:
            return known
    return "f32"


def _write_weights(weights: MergedWeights, into: Path, number_format: NumberFormat, most_bytes: int) -> None:
    changed: frozenset[str] = weights.plan.changed if weights.plan is not None else frozenset()

    def read(name: str) -> Any:
        is_as_trained = weights.plan is not None and weights.base_format is not None
        stays = name not in changed and not is_as_trained
        return weights.stored(name) if stays else weights.merged(name)

    shards = split_into_shards(weights.shapes, number_format, most_bytes=most_bytes)
    if len(shards) == 1:
        write_safetensors(into / "model.safetensors", shards[0], weights.shapes, number_format, read)
        return
    total = 0
    where: dict[str, str] = {}
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        total += write_safetensors(into / file, names, weights.shapes, number_format, read)
        where |= dict.fromkeys(names, file)
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(where.items()))}
    (into / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")


def _write_configs(weights: MergedWeights, into: Path, number_format: NumberFormat, ends: Sequence[int]) -> None:
    config: dict[str, Any] = {key: value for key, value in weights.config.items() if key != "_name_or_path"}
    for key in [key for key in ("dtype", "torch_dtype") if key in config] or ["dtype"]:
        config[key] = FORMATS[number_format].torch_name
    if weights.is_untied:
        config["tie_word_embeddings"] = False
    (into / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    path = weights.folder / "generation_config.json"
    stated: Mapping[str, Any] = read_json(path, weights.folder.name) if path.is_file() else {}
    known = stated.get("eos_token_id")
    if path.is_file() and set(ends) == set(known if isinstance(known, list) else [known]):
        shutil.copyfile(path, into / path.name)  # as its makers meant it
        return
    named = {"eos_token_id": list(ends) if len(ends) > 1 else ends[0]}
    bos = {"bos_token_id": config["bos_token_id"]} if config.get("bos_token_id") is not None else {}
    content = {**bos, **stated, **named}
    (into / "generation_config.json").write_text(json.dumps(content, indent=2), encoding="utf-8")
