"""What a model's class and side files decide: its attention, and whether it can be saved."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ftsdk.backends.trainers.trl.attention import attention_for

transformers = pytest.importorskip("transformers", reason="the extra 'local' isn't installed")


def test_models_without_fused_attention_are_those_of_transformers() -> None:
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    without: set[str] = set()
    with_sdpa: set[str] = set()
    for model_type, name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items():
        first = name[0] if isinstance(name, tuple) else name
        found: Any = getattr(transformers, first)
        (with_sdpa if found._supports_sdpa else without).add(model_type)
    assert {t for t in without if attention_for(t)[0] != "eager"} == set()
    assert {t for t in with_sdpa if attention_for(t)[0] != "sdpa"} == set()


def test_attention_of_a_gguf_architecture_is_that_of_its_model() -> None:
    assert attention_for("gpt-oss")[0] == attention_for("gpt_oss")[0] == "eager"


@pytest.mark.parametrize(
    ("generation", "config"),
    [
        ({"temperature": 0.6, "top_p": 0.9}, {}),
        ({"top_k": 20, "do_sample": False}, {}),
        ({"num_beams": 1, "length_penalty": 2.0, "early_stopping": True}, {}),
        ({"pad_token_id": -1}, {}),
        ({}, {"temperature": 0.7, "top_p": 0.9, "num_beams": 4, "max_length": 20}),
    ],
)
def test_a_model_with_odd_generation_settings_can_be_saved(
    tiny_model: Path, tmp_path: Path, generation: dict[str, Any], config: dict[str, Any]
) -> None:
    from ftsdk.backends.trainers.trl.saveable import make_saveable

    folder = Path(shutil.copytree(tiny_model, tmp_path / "own"))
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": 2, **generation}))
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **config}))
    model: Any = transformers.AutoModelForCausalLM.from_pretrained(folder)
    make_saveable(model)
    model.generation_config.pad_token_id = 3  # the trainer aligns it with the tokenizer's
    model.save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "generation_config.json").read_text())
    assert saved["eos_token_id"] == 2
    assert saved.get("temperature") == generation.get("temperature")
