"""GGUF files: what is in them, read by the official package, and what is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Model
from ftsdk.errors import ModelError, SpecError
from ftsdk.models.export import write_adapter_gguf, write_gguf
from ftsdk.models.export.gguf_tokenizer import PRE_TOKENIZERS, pre_tokenizer_of
from ftsdk.models.export.llama_names import rope_factors
from ftsdk.models.export.quantizing import quantized_type
from ftsdk.models.headers import read_gguf_header

gguf = pytest.importorskip("gguf", reason="the extra 'export' isn't installed")


def changed(base: Path, into: Path, file: str, change: Callable[[dict[str, Any]], object]) -> Model:
    shutil.copytree(base, into)
    content = json.loads((into / file).read_text())
    change(content)
    (into / file).write_text(json.dumps(content))
    return Model(id=str(into))


def read_tensors(path: Path) -> dict[str, Any]:
    reader = gguf.GGUFReader(path)
    return {tensor.name: gguf.quants.dequantize(tensor.data, tensor.tensor_type) for tensor in reader.tensors}


def test_an_unchanged_model_comes_back_as_it_was(tiny_export_model: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    made = write_gguf(Model(id=str(tiny_export_model)), tmp_path / "m.gguf", "f32")

    found, base = read_tensors(made.path), load_file(tiny_export_model / "model.safetensors")
    assert (found["blk.1.ffn_down.weight"] == base["model.layers.1.mlp.down_proj.weight"]).all()
    queries = base["model.layers.0.self_attn.q_proj.weight"]
    assert not (found["blk.0.attn_q.weight"] == queries).all()  # llama.cpp's order of rows
    assert sorted(found["blk.0.attn_q.weight"].sum(axis=1)) == pytest.approx(sorted(queries.sum(axis=1)), abs=1e-5)


def test_a_file_states_what_llama_cpp_needs(tiny_export_model: Path, tmp_path: Path) -> None:
    made = write_gguf(Model(id=str(tiny_export_model)), tmp_path / "m.gguf", "q8_0", name="mails")

    fields = read_gguf_header(made.path).fields
    assert fields["general.name"] == "mails"
    assert fields["general.file_type"] == 7
    assert fields["tokenizer.ggml.pre"] == "gpt-2"
    assert fields["tokenizer.ggml.eos_token_id"] == 2
    assert fields["tokenizer.ggml.add_bos_token"] is False
    assert fields["tokenizer.chat_template"] == (tiny_export_model / "chat_template.jinja").read_text()
    assert made.census == {"Q8_0": 15, "F32": 5}


def test_every_quantisation_stays_near_the_weights(tiny_export_model: Path, tmp_path: Path) -> None:
    import numpy as np

    pytest.importorskip("ggml", reason="the extra 'export' isn't installed")
    from ftsdk.testing.tiny import build_tiny_model

    wide = build_tiny_model(tmp_path / "wide", hidden_size=256, layers=1)
    whole = read_tensors(write_gguf(Model(id=str(wide)), tmp_path / "f32.gguf", "f32").path)
    errors: dict[str, float] = {}
    for quantization in ("f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q4_k_m"):
        found = read_tensors(write_gguf(Model(id=str(wide)), tmp_path / f"{quantization}.gguf", quantization).path)
        name = "blk.0.attn_q.weight"
        errors[quantization] = float(np.abs(found[name] - whole[name]).mean() / np.abs(whole[name]).mean())

    assert list(errors.values()) == sorted(errors.values())
    assert errors["f16"] < 1e-3
    assert 0.02 < errors["q4_k_m"] < 0.15


def test_the_mix_is_that_of_llama_cpp() -> None:
    def kind(name: str, *, layer: int | None = 0, width: int = 512, is_tied: bool = False) -> str:
        found = quantized_type(name, (64, width), "q4_k_m", layer=layer, layers=32, is_tied=is_tied)
        return str(found.name)

    assert kind("blk.0.attn_q.weight") == "Q4_K"
    assert [kind("blk.0.attn_v.weight", layer=layer) for layer in (0, 4, 6, 28)] == ["Q6_K", "Q4_K", "Q6_K", "Q6_K"]
    assert kind("blk.0.ffn_down.weight", width=576) == "Q8_0"
    assert kind("blk.0.attn_q.weight", width=576) == "Q5_0"
    assert kind("output.weight", layer=None) == "Q6_K"
    assert kind("token_embd.weight", layer=None) == "Q4_K"
    assert kind("token_embd.weight", layer=None, is_tied=True) == "Q6_K"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("model_type", "qwen2"),
        ("attention_bias", True),
        ("mlp_bias", True),
        ("rope_parameters", {"rope_type": "yarn", "rope_theta": 1e4}),
    ],
)
def test_other_models_are_refused_by_field(field: str, value: object, tiny_export_model: Path, tmp_path: Path) -> None:
    model = changed(tiny_export_model, tmp_path / "m", "config.json", lambda content: content.update({field: value}))

    with pytest.raises(ModelError, match=r"convert_hf_to_gguf\.py"):
        write_gguf(model, tmp_path / "m.gguf")

    assert not (tmp_path / "m.gguf").exists()


def test_a_splitter_that_is_not_listed_is_refused(tiny_export_model: Path, tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["pre_tokenizer"] = {"type": "Split", "pattern": {"Regex": "x"}, "behavior": "Isolated", "invert": False}

    model = changed(tiny_export_model, tmp_path / "m", "tokenizer.json", change)

    with pytest.raises(ModelError, match="isn't on the list"):
        write_gguf(model, tmp_path / "m.gguf")


@pytest.mark.parametrize("name", PRE_TOKENIZERS)
def test_listed_splitters_are_known_by_their_form(name: str) -> None:
    steps = [{**step, "trim_offsets": True} for step in PRE_TOKENIZERS[name]]
    ignores = name == "llama-bpe"
    content = {
        "model": {"type": "BPE", "ignore_merges": ignores},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
    }

    assert pre_tokenizer_of(content, "m") == name
    content["model"]["ignore_merges"] = not ignores
    with pytest.raises(ModelError, match="ignore_merges"):
        pre_tokenizer_of(content, "m")


def test_the_frequencies_of_llama_3_are_those_of_transformers() -> None:
    import torch
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = {
        "rope_type": "llama3",
        "rope_theta": 500000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    }
    config = LlamaConfig(hidden_size=256, num_attention_heads=4, rope_parameters=rope)
    expected, _ = ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))

    factors = rope_factors(config.to_dict())

    assert factors is not None
    plain = [500000.0 ** -(index / 64) for index in range(0, 64, 2)]
    assert [value / factor for value, factor in zip(plain, factors, strict=True)] == pytest.approx(expected.tolist())


def test_an_adapter_keeps_the_scale_of_its_training(make_adapter: Any, tmp_path: Path) -> None:
    import numpy as np
    from safetensors.numpy import load_file

    model = make_adapter(use_rslora=True, rank_pattern={"up_proj": 2}, alpha_pattern={"v_proj": 3})
    made = write_adapter_gguf(model, tmp_path / "a.gguf", name="mails-v3")

    fields, tensors = read_gguf_header(made.path).fields, read_tensors(made.path)
    stored = load_file(Path(model.adapter) / "adapter_model.safetensors")
    assert fields["adapter.lora.task_name"] == "mails-v3"
    for module, target, rank, alpha in (
        ("mlp.up_proj", "ffn_up", 2, 8),
        ("self_attn.v_proj", "attn_v", 4, 3),
        ("mlp.down_proj", "ffn_down", 4, 8),
    ):
        a, b = (stored[f"base_model.model.model.layers.0.{module}.lora_{side}.weight"] for side in "AB")
        as_llama_cpp = fields["adapter.lora.alpha"] / rank
        found = as_llama_cpp * (tensors[f"blk.0.{target}.weight.lora_b"] @ tensors[f"blk.0.{target}.weight.lora_a"])
        assert np.abs(found - alpha / rank**0.5 * (b @ a)).max() < 1e-5


@pytest.mark.parametrize(
    ("options", "why"),
    [({"use_dora": True}, "DoRA"), ({"modules_to_save": ["input_layernorm"]}, "weights of its own")],
)
def test_what_has_no_form_in_an_adapter_file_is_refused(
    options: dict[str, Any], why: str, make_adapter: Any, tmp_path: Path
) -> None:
    with pytest.raises(ModelError, match=why):
        write_adapter_gguf(make_adapter(**options), tmp_path / "a.gguf")


def test_a_model_without_an_adapter_has_no_adapter_file(tiny_export_model: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="no adapter"):
        write_adapter_gguf(Model(id=str(tiny_export_model)), tmp_path / "a.gguf")


def test_an_unknown_quantisation_is_refused(tiny_export_model: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="q4_k_m"):
        write_gguf(Model(id=str(tiny_export_model)), tmp_path / "m.gguf", "q9")
