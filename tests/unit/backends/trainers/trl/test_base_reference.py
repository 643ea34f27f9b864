"""What an adapter names as its base: a hub id, or a folder of the machine that planned the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftsdk.backends.trainers.trl.base_reference import base_reference, write_card
from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.spec import Model


@pytest.mark.parametrize(
    ("model", "base_folder", "named"),
    [
        ("acme/model", None, "acme/model"),
        ("./inputs/model/own", "/home/me/own", "/home/me/own"),
        ("./inputs/model/own.gguf", "/home/me/.ftsdk/models", "/home/me/.ftsdk/models/0a1b"),
        ("./own", None, "/remote/0a1b"),
        ("./own.gguf", None, "/remote/0a1b"),
    ],
)
def test_an_adapter_names_a_base_that_its_user_has(model: str, base_folder: str | None, named: str) -> None:
    request = TrainingRequest.model_construct(model=Model(id=model), base_folder=base_folder)
    assert base_reference(request, Path("/remote/0a1b")) == named


def test_a_card_is_written_only_where_the_base_is_a_path(tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text("of peft")
    write_card(tmp_path, Model(id="acme/model"), "acme/model")
    assert not card.exists()
    write_card(tmp_path, Model(id="./own.gguf"), "/home/me/.ftsdk/models/0a1b")
    assert "/home/me/.ftsdk/models/0a1b" in card.read_text()
    assert "own.gguf, unpacked once" in card.read_text()
