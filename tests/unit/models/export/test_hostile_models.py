"""Folders and adapters that were made to do harm, and exports that were broken off."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Model
from ftsdk.deploy.servers.exported import exported_model
from ftsdk.errors import CorruptArtifactError, ModelError
from ftsdk.models.export import export_model, read_export, write_merged
from ftsdk.models.export.comparison import adapter_gate, log_probability_gate
from ftsdk.models.export.gates import Tolerance
from ftsdk.models.export.observation import Answer, Observation
from ftsdk.models.export.ollama import write_modelfile

MakeAdapter = Callable[..., Model]


def change_config(model: Model, **fields: Any) -> None:
    assert model.adapter is not None
    path = Path(model.adapter) / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def merge(model: Model, tmp_path: Path) -> None:
    (tmp_path / "merged").mkdir()
    write_merged(model, tmp_path / "merged")


@pytest.mark.parametrize("name", ["NOTICE", "additional_chat_templates/x.jinja", "merges.txt"])
def test_a_link_out_of_the_models_folder_is_not_published(name: str, tiny_export_model: Path, tmp_path: Path) -> None:
    base, secret = tmp_path / "base", tmp_path / "id_rsa"
    shutil.copytree(tiny_export_model, base)
    secret.write_text("PRIVATE KEY")
    (base / name).parent.mkdir(exist_ok=True)
    (base / name).unlink(missing_ok=True)
    (base / name).symlink_to(secret)
    with pytest.raises(ModelError, match="link to a file outside"):
        merge(Model(id=str(base)), tmp_path)


def test_links_of_the_hubs_cache_and_within_the_folder_are_followed(tiny_export_model: Path, tmp_path: Path) -> None:
    base = tmp_path / "models--a--b" / "snapshots" / "abc"
    shutil.copytree(tiny_export_model, base)
    (tmp_path / "models--a--b" / "blobs").mkdir()
    (tmp_path / "models--a--b" / "blobs" / "hash").write_text("Apache")
    (base / "LICENSE").symlink_to("../../blobs/hash")
    (base / "NOTICE").symlink_to("LICENSE")
    merge(Model(id=str(base)), tmp_path)
    assert (tmp_path / "merged" / "LICENSE").read_text() == (tmp_path / "merged" / "NOTICE").read_text() == "Apache"


def test_a_pattern_that_never_ends_is_refused(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    model = make_adapter()
    change_config(model, rank_pattern={"(([a-z_.0-9])|([a-z_.0-9]))+[!?]": 4})
    with pytest.raises(ModelError, match="takes longer"):
        merge(model, tmp_path)


@pytest.mark.parametrize("tokens", [[2, 5, -1], [2, 5, 10**6], [2, 5, True]])
def test_rows_of_tokens_that_the_base_does_not_have_are_refused(
    tokens: list[int], make_adapter: MakeAdapter, tmp_path: Path
) -> None:
    model = make_adapter(trainable_token_indices=[2, 5, 9])
    change_config(model, trainable_token_indices=tokens)
    with pytest.raises(ModelError, match="tokens that it doesn't have"):
        merge(model, tmp_path)


@pytest.mark.filterwarnings("ignore:Model has `tie_word_embeddings=True`:UserWarning")  # of PEFT
def test_a_replaced_weight_must_be_finite(make_adapter: MakeAdapter, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    model = make_adapter(modules_to_save=["embed_tokens"])
    assert model.adapter is not None
    file = Path(model.adapter) / "adapter_model.safetensors"
    tensors = load_file(file)
    name = next(name for name in tensors if "embed_tokens" in name)
    tensors[name][0, 0] = math.nan
    save_file(tensors, file, metadata={"format": "pt"})
    with pytest.raises(ModelError, match="aren't finite"):
        merge(model, tmp_path)


@pytest.mark.parametrize("stop", ['"\nADAPTER ./x', "<|end|>\nFROM /etc/passwd", 'a"b', "\r"])
def test_a_stop_writes_no_other_line_of_a_modelfile(stop: str) -> None:
    with pytest.raises(ModelError, match="can't be written in a Modelfile"):
        write_modelfile("m.gguf", template=None, stops=["</s>", stop], context=64, licence=None)


@pytest.mark.parametrize("licence", ['MIT"', '""""\nFROM /x\n"', '"""""'])
def test_a_licence_ends_where_the_modelfile_says(licence: str) -> None:
    text = write_modelfile("m.gguf", template=None, stops=[], context=64, licence=licence).text
    inside = text.partition('LICENSE """')[2]
    assert inside.index('"""') == len(inside) - len('"""\n')


def observation(value: float) -> Observation:
    steps = ({1: value, 2: value - 1},)
    return Observation(
        eos=0,
        ends=frozenset({0}),
        adds_bos=False,
        renderings=(),
        text_ids=(),
        template="",
        prompt_ids=((1,),),
        answers=(Answer(tokens=(1,), steps=steps, is_ended=True),),
        without_adapter=(steps,),
        is_forced=True,
    )


def test_numbers_that_are_none_pass_no_gate() -> None:
    only_kl = Tolerance(most_kl=0.1, tie_margin=None)
    broken = observation(math.nan)
    good = observation(-0.5)
    assert log_probability_gate(good, broken, only_kl).verdict == "differs"
    assert adapter_gate(broken, good, only_kl).verdict != "same"


def test_an_export_is_none_before_its_end(tiny_export_model: Path, tmp_path: Path) -> None:
    into = tmp_path / "out"
    kept: list[Path] = []

    def look(message: str) -> None:  # as if it were killed at this moment
        del message
        assert not into.exists()
        for draft in tmp_path.glob(".out.*.tmp"):
            kept.append(tmp_path / f"killed-{len(kept)}")
            shutil.copytree(draft, kept[-1])

    export_model(Model(id=str(tiny_export_model)), into, to="merged", prompts=[[{"role": "user", "content": "a"}]],
                 max_new_tokens=2, on_message=look)  # fmt: skip
    assert any((folder / "model.safetensors").exists() for folder in kept)
    for folder in kept:
        with pytest.raises((CorruptArtifactError, ModelError)):
            exported_model(folder)
    assert exported_model(into).id == str(into)
    assert sorted(read_export(into)["files"]) == sorted(
        path.name for path in into.iterdir() if path.name != "manifest.json"
    )

    (into / "manifest.json").write_text('{"kind": "exp')
    with pytest.raises(CorruptArtifactError):
        exported_model(into)


def test_a_full_disk_leaves_nothing(tiny_export_model: Path, tmp_path: Path) -> None:
    def fill(message: str) -> None:
        del message
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        export_model(Model(id=str(tiny_export_model)), tmp_path / "out", to="merged", on_message=fill)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("parity", [None, 5, {}, {"gates": 5}, {"gates": [5]}, {"gates": [{"verdict": "differs"}]}])
def test_a_failed_export_is_refused_whatever_its_manifest_says_of_the_gates(parity: object, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(
        json.dumps({"kind": "export", "state": "failed", "files": {}, "parity": parity})
    )
    with pytest.raises(ModelError, match="isn't the model that was evaluated"):
        exported_model(tmp_path)


def test_a_failed_export_without_its_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "EXPORT-FAILED.txt").write_text("greedy: no")
    with pytest.raises(CorruptArtifactError):
        exported_model(tmp_path)
