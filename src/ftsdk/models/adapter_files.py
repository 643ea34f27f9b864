"""What is in the folder of an adapter: whether it is whole, and whether it replaces more than low-rank weights."""

from __future__ import annotations

from pathlib import Path
from typing import cast

from ftsdk.errors import ModelError
from ftsdk.models.folder_files import describe_missing, read_json
from ftsdk.models.headers import read_safetensors_header

__all__ = ["check_adapter", "has_own_embeddings", "has_unlisted_embeddings"]

_LOW_RANK = frozenset(
    {"lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", "lora_bias"}
)


def has_own_embeddings(adapter: str) -> bool:
    """Return whether an adapter replaces or trains embeddings or whole layers beside its low-rank weights.

    PEFT writes such weights over the base's when it loads the adapter, so that switching the adapter off doesn't bring
    the base back.

    Raises:
        ModelError: The adapter isn't there or isn't whole.
    """
    check_adapter(adapter)
    folder = Path(adapter).expanduser()
    config = read_json(folder / "adapter_config.json", adapter)
    if config.get("modules_to_save") or config.get("trainable_token_indices") or config.get("bias", "none") != "none":
        return True
    names = read_safetensors_header(folder / "adapter_model.safetensors").shapes
    return any(not _LOW_RANK & set(name.split(".")) for name in names)


def has_unlisted_embeddings(adapter: str) -> bool:
    """Return whether an adapter's file has whole embeddings that its config doesn't list in `modules_to_save`.

    PEFT writes such a file for a model whose embeddings were resized, and saves them again only on request.

    Raises:
        ModelError: The adapter isn't there or isn't whole.
    """
    check_adapter(adapter)
    folder = Path(adapter).expanduser()
    listed = read_json(folder / "adapter_config.json", adapter).get("modules_to_save")
    known = set(cast("list[str]", listed)) if isinstance(listed, list) else set[str]()
    for name in read_safetensors_header(folder / "adapter_model.safetensors").shapes:
        parts = name.split(".")
        if parts[-1] == "weight" and not (_LOW_RANK | known) & set(parts):
            return True
    return False


def check_adapter(adapter: str) -> None:
    """Check that a folder holds a whole adapter in safetensors.

    Raises:
        ModelError: It doesn't.
    """
    folder = Path(adapter).expanduser()
    if not folder.is_dir():
        raise ModelError(describe_missing(folder, adapter, "adapter folder"))
    if not (folder / "adapter_config.json").is_file():
        raise ModelError(
            f"{adapter} is not an adapter: it has no adapter_config.json. Pass the folder that PEFT or ftsdk wrote."
        )
    read_json(folder / "adapter_config.json", adapter)
    weights = folder / "adapter_model.safetensors"
    if not weights.is_file():
        has_pickle = (folder / "adapter_model.bin").is_file()
        what = (
            "only pickle weights (adapter_model.bin), and ftsdk loads only safetensors"
            if has_pickle
            else "no adapter_model.safetensors"
        )
        raise ModelError(f"the adapter {adapter} has {what}. Save it again with save_pretrained of a recent PEFT.")
    read_safetensors_header(weights)
