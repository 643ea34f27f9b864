"""Looking at a model: every bad folder is one clear error, and nothing heavy is imported."""

from __future__ import annotations

import json
import pickle
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from ftsdk.errors import ModelError
from ftsdk.models import inspect_model
from ftsdk.spec import Model

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 400,
    "max_position_embeddings": 512,
    "tie_word_embeddings": True,
}


def write_weights(path: Path, numbers: int = 6) -> None:
    header = json.dumps({"w": {"dtype": "F32", "shape": [numbers], "data_offsets": [0, 4 * numbers]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4 * numbers))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "my-model"
    made.mkdir()
    (made / "config.json").write_text(json.dumps(CONFIG))
    write_weights(made / "model.safetensors")
    return made


def test_a_whole_folder_gives_its_sizes(folder: Path) -> None:
    facts = inspect_model(Model(id=str(folder)))

    assert facts.is_downloaded
    assert (facts.source, facts.name, facts.path) == ("folder", "my-model", folder)
    assert (facts.architecture, facts.model_type, facts.parameters, facts.stored_dtype) == (
        "LlamaForCausalLM",
        "llama",
        6,
        "F32",
    )
    assert (facts.hidden_size, facts.num_hidden_layers, facts.head_dim, facts.vocab_size) == (32, 2, 8, 400)
    assert (facts.num_attention_heads, facts.num_key_value_heads, facts.intermediate_size) == (4, 2, 64)
    assert (facts.max_position_embeddings, facts.tie_word_embeddings) == (512, True)
    assert pickle.loads(pickle.dumps(facts)) == facts


def test_sizes_one_level_down_are_found(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({"model_type": "seeing", "text_config": CONFIG}))

    facts = inspect_model(Model(id=str(folder)))

    assert (facts.model_type, facts.hidden_size, facts.max_position_embeddings) == ("seeing", 32, 512)


def test_quantised_weights_are_noted_and_not_counted(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({**CONFIG, "quantization_config": {"bits": 4}}))

    facts = inspect_model(Model(id=str(folder)))

    assert facts.parameters is None
    assert facts.notes == ("the weights are already quantised",)


def test_parts_named_by_an_index_are_counted_together(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    write_weights(folder / "part-1.safetensors", 3)
    write_weights(folder / "part-2.safetensors", 4)
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "part-1.safetensors", "b": "part-2.safetensors"}})
    )

    assert inspect_model(Model(id=str(folder))).parameters == 7


def test_a_missing_part_is_named(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "part-1.safetensors"}}))

    with pytest.raises(ModelError, match=r"1 of 1 parts are missing \(part-1\.safetensors\)"):
        inspect_model(Model(id=str(folder)))


def test_an_index_can_not_point_outside_the_folder(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "outside.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../outside.safetensors"}}))

    with pytest.raises(ModelError, match="parts are missing"):
        inspect_model(Model(id=str(folder)))


def test_a_misspelt_folder_is_answered_with_the_nearest_name(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"there is no folder .*my-modle; did you mean '.*my-model'\?"):
        inspect_model(Model(id=str(folder.parent / "my-modle")))


def test_a_folder_without_config_is_refused(folder: Path) -> None:
    (folder / "config.json").unlink()

    with pytest.raises(ModelError, match=r"has no config\.json"):
        inspect_model(Model(id=str(folder)))


def test_a_config_that_is_no_json_is_refused(folder: Path) -> None:
    (folder / "config.json").write_text("{")

    with pytest.raises(ModelError, match=r"config\.json can't be read as JSON"):
        inspect_model(Model(id=str(folder)))


def test_a_folder_without_weights_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()

    with pytest.raises(ModelError, match="has no weights"):
        inspect_model(Model(id=str(folder)))


def test_pickle_weights_are_refused_and_never_opened(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"not even a pickle")

    with pytest.raises(
        ModelError, match=r"only pickle weights \(pytorch_model\.bin\).*only safetensors.*save_pretrained"
    ):
        inspect_model(Model(id=str(folder)))


def test_weights_under_another_name_are_refused_by_that_name(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "consolidated.safetensors")

    with pytest.raises(ModelError, match=r"has consolidated\.safetensors but no model\.safetensors"):
        inspect_model(Model(id=str(folder)))


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_of_its_own_is_refused_until_it_is_trusted(folder: Path, file: str) -> None:
    (folder / file).write_text(json.dumps({**CONFIG, "auto_map": {"AutoModelForCausalLM": "modeling_evil.Evil"}}))

    with pytest.raises(ModelError, match=r"modeling_evil\.Evil.*trust_remote_code=True"):
        inspect_model(Model(id=str(folder)))
    assert inspect_model(Model(id=str(folder), trust_remote_code=True)).is_downloaded


def test_an_adapter_given_as_a_model_is_told_how_to_be_used(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")

    with pytest.raises(ModelError, match="is an adapter, not a whole model: write Model"):
        inspect_model(Model(id=str(tmp_path)))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ((), "has no adapter_config.json"),
        (("adapter_config.json",), "no adapter_model.safetensors"),
        (("adapter_config.json", "adapter_model.bin"), "only pickle weights"),
    ],
)
def test_a_bad_adapter_is_refused(folder: Path, tmp_path: Path, files: tuple[str, ...], message: str) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    for name in files:
        (adapter / name).write_text("{}")

    with pytest.raises(ModelError, match=message):
        inspect_model(Model(id=str(folder), adapter=str(adapter)))


def test_a_good_adapter_passes(folder: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text("{}")
    write_weights(adapter / "adapter_model.safetensors")

    assert inspect_model(Model(id=str(folder), adapter=str(adapter))).is_downloaded


@pytest.mark.parametrize("identifier", ["a/b--c", "has blank/name", "org/name.git", "örg/name", "org/.name", "a..b"])
def test_what_can_not_be_a_hub_id_is_refused(identifier: str) -> None:
    with pytest.raises(ModelError, match="a hub id looks like"):
        inspect_model(Model(id=identifier))


class TestHub:
    @pytest.fixture(autouse=True)
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
        return tmp_path / "hub"

    def snapshot(self, cache: Path) -> Path:
        model = cache / "models--org--name"
        made = model / "snapshots" / "c0ffee"
        made.mkdir(parents=True)
        (model / "refs").mkdir()
        (model / "refs" / "main").write_text("c0ffee")
        (made / "config.json").write_text(json.dumps(CONFIG))
        return made

    def test_a_model_that_is_not_downloaded_is_no_error(self) -> None:
        facts = inspect_model(Model(id="org/name"))

        assert not facts.is_downloaded
        assert (facts.path, facts.parameters, facts.hidden_size, facts.notes) == (None, None, None, ())

    def test_a_downloaded_model_is_found_by_branch_and_by_commit(self, cache: Path) -> None:
        made = self.snapshot(cache)
        write_weights(made / "model.safetensors")

        for revision in (None, "main", "c0ffee"):
            facts = inspect_model(Model(id="org/name", revision=revision))
            assert (facts.is_downloaded, facts.path, facts.parameters, facts.hidden_size) == (True, made, 6, 32)
        assert not inspect_model(Model(id="org/name", revision="v2")).is_downloaded

    def test_a_config_alone_gives_sizes_but_counts_as_not_downloaded(self, cache: Path) -> None:
        self.snapshot(cache)

        facts = inspect_model(Model(id="org/name"))

        assert (facts.is_downloaded, facts.hidden_size, facts.parameters) == (False, 32, None)
        assert facts.notes == ("only the config is downloaded, not the weights",)

    def test_a_folder_with_the_same_name_is_noted_and_not_taken(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "org" / "name").mkdir(parents=True)
        monkeypatch.chdir(tmp_path)

        facts = inspect_model(Model(id="org/name"))

        assert facts.source == "hub"
        assert "write './org/name'" in facts.notes[0]

    def test_a_revision_can_not_leave_the_cache(self, cache: Path) -> None:
        self.snapshot(cache)

        assert inspect_model(Model(id="org/name", revision="../../..")).path is None


def test_a_gguf_file_that_is_none_is_refused_by_its_magic(tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    file.write_bytes(b"PK\x03\x04" + bytes(100))

    with pytest.raises(ModelError, match=r"model\.gguf is not a GGUF file"):
        inspect_model(Model(id=str(file)))


def test_a_missing_gguf_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="there is no file"):
        inspect_model(Model(id=str(tmp_path / "model.gguf")))


def test_looking_at_a_model_imports_nothing_heavy(folder: Path) -> None:
    code = (
        "import sys; from ftsdk.models import inspect_model; from ftsdk.spec import Model; "
        f"inspect_model(Model(id={str(folder)!r})); "
        "print(sorted({'torch', 'transformers', 'huggingface_hub', 'numpy', 'gguf', 'safetensors'} & set(sys.modules)))"
    )

    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert shown.stdout.strip() == "[]"
