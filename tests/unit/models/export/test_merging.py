"""Every kind of adapter is merged as PEFT applies it, or refused by name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Model
from ftsdk.errors import ModelError, SpecError
from ftsdk.models import load_model
from ftsdk.models.export import write_merged
from ftsdk.models.headers import read_safetensors_header

pytest.importorskip("peft", reason="the extra 'local' isn't installed")


def log_probabilities(model: Any) -> Any:
    import torch

    with torch.inference_mode():
        return model(input_ids=torch.arange(4, 40)[None]).logits.float().log_softmax(dim=-1)


def merged(model: Model, tmp_path: Path, quantization: str | None = None, **options: Any) -> Path:
    into = tmp_path / "merged"
    into.mkdir()
    write_merged(model, into, quantization, **options)
    return into


KINDS: dict[str, dict[str, Any]] = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "patterns": {"rank_pattern": {"q_proj": 2, "layers.1.mlp.up_proj": 6}, "alpha_pattern": {"v_proj": 3}},
    "rslora-patterns": {"use_rslora": True, "rank_pattern": {"q_proj": 2}, "alpha_pattern": {"^.*o_proj": 1}},
    "embedding": {"target_modules": ["embed_tokens", "q_proj"]},
    "head": {"target_modules": ["lm_head", "q_proj"]},
    "whole-embedding": {"modules_to_save": ["embed_tokens"]},
    "whole-head": {"modules_to_save": ["lm_head"]},
    "both-whole": {"modules_to_save": ["embed_tokens", "lm_head"]},
    "rows": {"trainable_token_indices": [2, 5, 9]},
    "norms": {"modules_to_save": ["input_layernorm"]},
}


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")  # of PEFT, where heads are tied
@pytest.mark.filterwarnings("ignore:Setting `save_embedding_layers` to `True`:UserWarning")
@pytest.mark.parametrize("kind", KINDS)
def test_a_merged_model_answers_as_peft_does(kind: str, make_adapter: Any, tmp_path: Path) -> None:
    model = make_adapter(**KINDS[kind])
    before = log_probabilities(load_model(model, dtype="float32", device="cpu"))
    base = log_probabilities(load_model(model.replace(adapter=None), dtype="float32", device="cpu"))

    after = log_probabilities(load_model(Model(id=str(merged(model, tmp_path))), dtype="float32", device="cpu"))

    assert float((before - base).abs().max()) > 0.01
    assert float((before - after).abs().max()) < 1e-4


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("peft_type", "IA3"),
        ("bias", "all"),
        ("init_lora_weights", "pissa_niter_4"),
        ("layer_replication", [[0, 1]]),
        ("target_parameters", ["experts.up"]),
    ],
)
def test_an_adapter_that_cannot_be_merged_is_refused_by_name(
    field: str, value: object, make_adapter: Any, tmp_path: Path
) -> None:
    model = make_adapter()
    path = Path(model.adapter) / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), field: value}))

    with pytest.raises(ModelError, match=rf"can't be merged: {field} is"):
        merged(model, tmp_path)


def test_an_adapter_of_another_model_is_refused(make_adapter: Any, tmp_path: Path, tiny_model: Path) -> None:
    model = make_adapter().replace(id=str(tiny_model))

    with pytest.raises(ModelError):
        merged(model, tmp_path)


def test_a_config_that_does_not_fit_the_matrices_is_refused(make_adapter: Any, tmp_path: Path) -> None:
    model = make_adapter()
    path = Path(model.adapter) / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "r": 8}))

    with pytest.raises(ModelError, match="states rank 8"):
        merged(model, tmp_path)


def test_weights_are_split_into_files_with_an_index(make_adapter: Any, tmp_path: Path) -> None:
    into = merged(make_adapter(), tmp_path, most_shard_bytes=60_000)

    index = json.loads((into / "model.safetensors.index.json").read_text())
    held = {name: file.name for file in into.glob("*.safetensors") for name in read_safetensors_header(file).shapes}

    assert len(set(held.values())) > 2
    assert index["weight_map"] == held
    assert log_probabilities(load_model(Model(id=str(into)), dtype="float32", device="cpu")).isfinite().all()


def test_numbers_are_cast_once_from_float32(make_adapter: Any, tmp_path: Path) -> None:
    import torch
    from safetensors.torch import load_file

    model = make_adapter()
    whole = load_model(model, dtype="float32", device="cpu").merge_and_unload().state_dict()

    found = load_file(merged(model, tmp_path, "bf16") / "model.safetensors")

    name = "model.layers.1.mlp.down_proj.weight"
    assert found[name].dtype == torch.bfloat16
    assert (found[name].float() - whole[name].bfloat16().float()).abs().max() <= whole[name].abs().max() * 2**-8


def test_float16_refuses_what_it_cannot_hold(tiny_export_model: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    base = tmp_path / "base"
    shutil.copytree(tiny_export_model, base)
    tensors = load_file(base / "model.safetensors")
    tensors["model.norm.weight"][0] = 1e6
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})

    with pytest.raises(ModelError, match="beyond the range of float16"):
        merged(Model(id=str(base)), tmp_path, "f16")


def test_a_quantisation_of_gguf_is_no_number_format_of_a_folder(tiny_export_model: Path, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="export to='gguf'"):
        merged(Model(id=str(tiny_export_model)), tmp_path, "q8_0")


def test_every_end_of_text_is_kept(make_adapter: Any, tmp_path: Path, tiny_export_model: Path) -> None:
    import shutil

    base = tmp_path / "base"
    shutil.copytree(tiny_export_model, base)
    (base / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, 0], "do_sample": False}))

    into = merged(Model(id=str(base)), tmp_path)

    assert json.loads((into / "generation_config.json").read_text()) == {"eos_token_id": [2, 0], "do_sample": False}


def test_the_chat_template_of_the_training_is_written(tiny_export_model: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    template = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"

    into = merged(Model(id=str(tiny_export_model), chat_template=template), tmp_path)

    tokenizer: Any = AutoTokenizer.from_pretrained(into)
    assert tokenizer.apply_chat_template([{"role": "user", "content": "a"}], tokenize=False) == "[a]"


def test_a_base_that_was_trained_on_in_4_bits_is_merged_as_it_was(make_adapter: Any, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes", reason="the extra 'local' isn't installed")
    from ftsdk.models.export.base_weights import base_format_of
    from ftsdk.models.export.observation import observe_reference

    model = make_adapter()
    manifest = {"spec": {"tuning": {"kind": "qlora", "double_quantization": True}}, "training": {"dtype": "float32"}}
    (Path(model.adapter) / "manifest.json").write_text(json.dumps(manifest))
    held = base_format_of(model)
    prompts = [[{"role": "user", "content": "what is the weather"}]]

    after, _ = observe_reference(Model(id=str(merged(model, tmp_path))), prompts, dtype="float32", max_new_tokens=4)
    trained, _ = observe_reference(model, prompts, dtype="float32", max_new_tokens=4, base_format=held)
    plain, _ = observe_reference(model, prompts, dtype="float32", max_new_tokens=4)

    def apart(one: Any, other: Any) -> float:
        first, second = one.answers[0].steps[0], other.answers[0].steps[0]
        return max(abs(first[token] - second[token]) for token in first.keys() & second.keys())

    assert held is not None
    assert apart(trained, after) < 1e-4 < apart(plain, after)
