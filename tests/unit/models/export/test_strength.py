"""A doubled or a halved alpha is caught by a gate of its own, in every format."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Model
from ftsdk.models.export.gguf_files import write_adapter_gguf, write_gguf
from ftsdk.models.export.model_folder import write_merged
from ftsdk.models.export.observation import observe_reference
from ftsdk.models.export.strength import strength_gate, written_in_folder, written_in_gguf
from ftsdk.models.folder_files import read_json

pytest.importorskip("peft", reason="the extra 'local' isn't installed")
PROMPTS = [[{"role": "user", "content": "book a flight"}]]


def with_alpha(model: Model, factor: float, into: Path) -> Model:
    shutil.copytree(str(model.adapter), into)
    config = json.loads((into / "adapter_config.json").read_text())
    (into / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": config["lora_alpha"] * factor}))
    return model.replace(adapter=str(into))


@pytest.mark.parametrize("options", [{}, {"use_rslora": True, "target_modules": ["q_proj", "k_proj"]}], ids=["", "qk"])
@pytest.mark.parametrize(
    ("kind", "factor"),
    [("bf16", 1.0), ("bf16", 2.0), ("q8_0", 1.0), ("q4_k_m", 2.0), ("q4_k_m", 0.5), ("adapter", 1.0), ("adapter", 2.0)],
)
def test_strength(kind: str, factor: float, options: dict[str, Any], make_adapter: Any, tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="the extra 'export' isn't installed")
    if kind == "q4_k_m":
        pytest.importorskip("ggml", reason="the extra 'export' isn't installed")
    model = make_adapter(size=0.05, **options)
    reference, _ = observe_reference(model, PROMPTS, dtype="float32", max_new_tokens=1)
    written = model if factor == 1 else with_alpha(model, factor, tmp_path / "other")
    if kind == "bf16":
        (tmp_path / "merged").mkdir()
        write_merged(written, tmp_path / "merged", kind)
        found = written_in_folder(tmp_path / "merged", reference.changes)
    else:
        config = read_json(Path(model.id) / "config.json", "the base")
        base, adapter = tmp_path / "base.gguf", tmp_path / "adapter.gguf" if kind == "adapter" else None
        if adapter is not None:
            write_adapter_gguf(written, adapter)
        else:
            write_gguf(written, base, kind)
        found = written_in_gguf(base, adapter, config, reference.changes)
    gate = strength_gate(found)
    assert len(found) == 3
    assert gate.figures["least"] == pytest.approx(factor, rel=0.1)
    assert gate.verdict == ("within" if factor == 1 else "differs"), gate.detail


def test_what_rounding_hides_is_not_checked() -> None:
    import numpy as np

    chance = np.random.default_rng(0)
    change = chance.normal(0, 1e-5, (32, 32))
    noisy = change + chance.normal(0, 1e-3, (32, 32))
    assert strength_gate({"a": (noisy, change)}).verdict == "not checked"
    assert strength_gate({"a": (change * 2, change)}).verdict == "differs"
    assert strength_gate({"a": (change, change * 0)}).verdict == "not checked"
    assert strength_gate({}).verdict == "not checked"


def test_an_adapter_that_does_more_than_add_has_no_strength(make_adapter: Any) -> None:
    reference, _ = observe_reference(make_adapter(use_dora=True), PROMPTS, dtype="float32", max_new_tokens=1)
    assert reference.changes == {}
