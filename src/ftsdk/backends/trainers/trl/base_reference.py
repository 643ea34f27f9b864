"""The base model that an adapter's config names, so that plain peft finds it."""

from __future__ import annotations

from pathlib import Path
from typing import assert_never

from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.models import base_name
from ftsdk.spec import Model

__all__ = ["base_reference", "write_card"]

_CARD = """\
---
library_name: peft
---
# An adapter of {name}

`base_model_name_or_path` in `adapter_config.json` is a path of the machine that started the training:

    {base}

There, plain peft opens the adapter together with its base:

```python
from peft import AutoPeftModelForCausalLM

model = AutoPeftModelForCausalLM.from_pretrained("<this folder>")
```

On another machine, or before you publish the adapter, write the base model's folder or hub id there into
`base_model_name_or_path`. Or load the base yourself and put the adapter on top:

```python
from peft import PeftModel
from transformers import AutoModelForCausalLM

base = AutoModelForCausalLM.from_pretrained("<folder or hub id of the base>")
model = PeftModel.from_pretrained(base, "<this folder>")
```
"""

_UNPACKED = """
The base is {name}, unpacked once into safetensors by ftsdk, which does so again when the folder is gone and the run's
model is used.
"""


def base_reference(request: TrainingRequest, folder: Path) -> str:
    """Return what `base_model_name_or_path` has to be: the hub id, or the folder with the plain weights.

    The folder is that of the machine that planned the run, where the adapter will be used; the worker may be on
    another.

    Args:
        request: The training request.
        folder: Where the plain weights are for the worker.
    """
    match request.model.source:
        case "hub":
            return request.model.id
        case "folder":
            return request.base_folder or str(folder)
        case "gguf":
            return str(folder if request.base_folder is None else Path(request.base_folder) / folder.name)
        case _:
            assert_never(request.model.source)


def write_card(into: Path, model: Model, base: str) -> None:
    """Replace peft's template of a model card by what has to be known of a base that is a path."""
    card = into / "README.md"
    if model.source == "hub":
        card.unlink(missing_ok=True)
        return
    name = base_name(model)
    text = _CARD.format(name=name, base=base)
    card.write_text(text + (_UNPACKED.format(name=name) if model.source == "gguf" else ""), encoding="utf-8")
