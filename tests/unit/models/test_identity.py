"""Names of models: without this machine's paths, and different when the weights are."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from ftsdk.models import base_name, model_identity
from ftsdk.models.identity import file_sha256
from ftsdk.spec import Model


@pytest.mark.parametrize(
    ("identifier", "name"),
    [
        ("HuggingFaceTB/SmolLM2-135M-Instruct", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("/home/somebody/models/mine/", "mine"),
        ("/home/somebody/model.Q4_1.gguf", "model.Q4_1.gguf"),
        ("C:\\models\\mine", "mine"),
    ],
)
def test_a_base_name_says_nothing_of_the_machine(identifier: str, name: str) -> None:
    assert base_name(Model(id=identifier)) == name


def test_the_current_folder_has_the_name_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path / "mine")

    assert base_name(Model(id="./")) == "mine"


def test_the_identity_of_a_folder_changes_with_weights_and_template_only(tmp_path: Path) -> None:
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(b"12")
    model = Model(id=str(tmp_path))
    before = model_identity(model)
    (tmp_path / "README.md").write_text("words")
    assert model_identity(model) == before
    assert model_identity(model.replace(chat_template="{{ messages }}")) != before

    weights.write_bytes(b"123")

    assert model_identity(model) != before


def test_the_identity_of_an_adapter_is_its_content(tmp_path: Path) -> None:
    base, one, other = (tmp_path / name for name in ("base", "one", "other"))
    for folder, content in ((base, b"b"), (one, b"x"), (other, b"x")):
        folder.mkdir()
        (folder / "adapter_model.safetensors").write_bytes(content)
    first = model_identity(Model(id=str(base), adapter=str(one)))
    assert model_identity(Model(id=str(base), adapter=str(other))) == first

    (other / "adapter_model.safetensors").write_bytes(b"y")

    assert model_identity(Model(id=str(base), adapter=str(other))) != first


def test_a_large_file_is_hashed_once_until_it_changes(tmp_path: Path) -> None:
    file, memory = tmp_path / "large.gguf", tmp_path / "memory"
    file.write_bytes(bytes(1_000_000))
    digest = hashlib.sha256(bytes(1_000_000)).hexdigest()
    assert file_sha256(file, cache=memory) == digest
    stamp = file.stat()

    # Same size and time, other bytes: the remembered hash shows that the file wasn't read again.
    file.write_bytes(b"\x01" * 1_000_000)
    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert file_sha256(file, cache=memory) == digest

    os.utime(file, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))
    assert file_sha256(file, cache=memory) == hashlib.sha256(b"\x01" * 1_000_000).hexdigest()


def test_a_damaged_memory_of_hashes_costs_only_a_hash(tmp_path: Path) -> None:
    file = tmp_path / "large.gguf"
    file.write_bytes(bytes(1_000_000))
    (tmp_path / "hashes.json").write_text("[")

    assert file_sha256(file, cache=tmp_path) == hashlib.sha256(bytes(1_000_000)).hexdigest()
