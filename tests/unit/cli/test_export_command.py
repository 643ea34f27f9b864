"""`ftsdk export`: options become those of `Model.export`, and a failed export is an exit status."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ftsdk._entry_points import installed
from ftsdk.cli.app import app
from ftsdk.spec.abilities import GROUP

pytest.importorskip("peft", reason="the extra 'local' isn't installed")
pytestmark = pytest.mark.skipif("export" not in installed(GROUP), reason="this installation is older than its code")


def test_a_model_is_exported_and_reported(tiny_model: Path, tmp_path: Path) -> None:
    into, page = tmp_path / "out", tmp_path / "report.html"

    found = CliRunner().invoke(
        app, ["export", str(tiny_model), "--into", str(into), "--no-prove", "--json", "--html", str(page)]
    )

    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout)["parity"]["state"] == "unproven"
    assert (into / "model.safetensors").is_file()
    assert "only the files were checked" in page.read_text()


def test_the_next_step_is_named(tiny_model: Path, tmp_path: Path) -> None:
    into = tmp_path / "out"
    found = CliRunner().invoke(app, ["export", str(tiny_model), "--into", str(into), "--no-prove"])

    said = "".join(found.stderr.split())
    assert f"{into}/README.mdtellshowtoloadit" in said
    assert "ftsdkserve" not in said  # a merged folder is for transformers and vLLM


def test_what_cannot_be_exported_is_said(tiny_model: Path, tmp_path: Path) -> None:
    found = CliRunner().invoke(app, ["export", str(tiny_model), "--into", str(tmp_path / "out"), "--to", "onnx"])

    assert found.exit_code != 0
    assert "adapter, merged, gguf, ollama" in str(found.exception)
