"""An adapter as a folder that plain PEFT opens, together with its base."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from ftsdk.errors import SpecError
from ftsdk.models.adapter_files import check_adapter
from ftsdk.models.export.model_folder import write_tokenizer
from ftsdk.models.folder_files import read_json
from ftsdk.models.loading import eos_token_ids, load_tokenizer
from ftsdk.models.materialize import materialize
from ftsdk.spec import Model

__all__ = ["base_of_adapter", "write_adapter"]


def write_adapter(model: Model, into: Path) -> None:
    """Write the adapter of a model with the name of its base, its tokenizer, and the chat template of the training.

    Args:
        model: With an adapter.
        into: An empty folder.

    Raises:
        SpecError: The model has no adapter.
        ModelError: The adapter isn't whole.
    """
    if model.adapter is None:
        raise SpecError(
            f"{model} has no adapter: all of its weights were trained, or none. Export it whole: to='merged'"
        )
    check_adapter(model.adapter)
    source, folder = Path(model.adapter).expanduser(), materialize(model)
    shutil.copyfile(source / "adapter_model.safetensors", into / "adapter_model.safetensors")
    config = read_json(source / "adapter_config.json", model.adapter)
    config["base_model_name_or_path"] = base_of_adapter(model)
    config["revision"] = model.revision if model.source == "hub" else None  # PEFT's word for that of the base
    config["inference_mode"] = True
    (into / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True), encoding="utf-8")
    write_tokenizer(model, folder, into)
    if (folder / "generation_config.json").is_file():
        shutil.copyfile(folder / "generation_config.json", into / "generation_config.json")
    else:
        ends = list(eos_token_ids(load_tokenizer(model), folder))
        (into / "generation_config.json").write_text(json.dumps({"eos_token_id": ends}), encoding="utf-8")


def base_of_adapter(model: Model) -> str:
    """Return what PEFT finds the base by: its id on the hub, or the folder with its plain weights on this machine."""
    return model.id if model.source == "hub" else str(materialize(model))
