"""What a model can do by functions of packages that are loaded on first use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ftsdk import FtsdkError, MissingExtraError
from ftsdk.spec.abilities import GROUP, model_ability


def test_a_model_knows_nobody_who_loads_weights() -> None:
    code = "import sys; from ftsdk.spec import Model; Model(id='a/b'); print([n for n in sys.modules if 'evals' in n])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_ability_that_no_package_brings_is_refused_in_words() -> None:
    with pytest.raises(FtsdkError, match=r"'fly' of the group 'ftsdk.model_abilities'.*Install it again"):
        model_ability("fly")


def test_an_ability_of_a_broken_package_names_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "wings-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: wings\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(f"[{GROUP}]\nglide = no_such_package:glide\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingExtraError, match=r"'no_such_package' is missing.*pip install wings"):
        model_ability("glide")
