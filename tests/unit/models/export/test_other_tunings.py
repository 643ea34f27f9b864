"""Results of the other tunings: what is a LoRA is exported like one, and what isn't is refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ftsdk import Model
from ftsdk.errors import ModelError
from ftsdk.models.export import export_model

pytest.importorskip("peft", reason="the extra 'local' isn't installed")
KINDS = {
    "IA3Config": {"target_modules": ["k_proj", "v_proj", "down_proj"], "feedforward_modules": ["down_proj"]},
    "PromptTuningConfig": {"num_virtual_tokens": 4},
    "PrefixTuningConfig": {"num_virtual_tokens": 4},
}


@pytest.fixture
def make_other(tiny_export_model: Path, tmp_path: Path) -> Any:
    def make(kind: str) -> Model:
        import peft
        from transformers import AutoModelForCausalLM

        base: Any = AutoModelForCausalLM.from_pretrained(tiny_export_model)
        made: Any = peft.get_peft_model(base, getattr(peft, kind)(task_type="CAUSAL_LM", **KINDS[kind]))
        made.save_pretrained(tmp_path / kind)
        return Model(id=str(tiny_export_model), adapter=str(tmp_path / kind))

    return make


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("to", "options"), [("merged", {}), ("gguf", {}), ("gguf", {"adapter_only": True}), ("ollama", {})], ids=str
)
def test_what_no_other_engine_runs_is_refused(
    make_other: Any, tmp_path: Path, kind: str, to: Any, options: dict[str, Any]
) -> None:
    pytest.importorskip("gguf", reason="the extra 'export' isn't installed")
    with pytest.raises(ModelError, match="it isn't a LoRA"):
        export_model(make_other(kind), tmp_path / "out", to=to, prove=False, **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_of_another_kind_is_written_for_peft(make_other: Any, tmp_path: Path, kind: str) -> None:
    prompts = [[{"role": "user", "content": "what is the weather"}]]
    export = export_model(make_other(kind), tmp_path / "out", to="adapter", prompts=prompts, max_new_tokens=4)
    assert export.state in ("proven", "unproven"), str(export)
    assert (tmp_path / "out" / "adapter_model.safetensors").is_file()


def test_a_rank_stabilized_adapter_is_merged_with_its_own_scale(make_adapter: Any, tmp_path: Path) -> None:
    prompts = [[{"role": "user", "content": "what is the weather"}]]
    model = make_adapter(use_rslora=True, r=8, target_modules=["q_proj"], layers_to_transform=[1])
    export = export_model(model, tmp_path / "out", to="merged", prompts=prompts, max_new_tokens=4)
    assert export.state == "proven", str(export)
