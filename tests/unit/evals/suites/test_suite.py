"""Suites by name."""

from __future__ import annotations

import importlib
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftsdk._entry_points import forget_entry_points
from ftsdk.errors import SpecError
from ftsdk.evals import suites
from ftsdk.evals.suites import get_suite, suite_names

PROJECT = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text())["project"]


@pytest.fixture
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    info = tmp_path / "teapot-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: teapot\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ftsdk.suites]\nteapot = teapot:teapot\n")
    (tmp_path / "teapot.py").write_text("def teapot():\n    return []\n")
    monkeypatch.syspath_prepend(tmp_path)
    forget_entry_points()
    yield
    forget_entry_points()


@pytest.mark.usefixtures("_installed")
def test_a_package_offers_a_suite_by_name() -> None:
    assert "teapot" in suite_names()
    assert get_suite("teapot")() == []


def test_an_unknown_suite_is_refused() -> None:
    with pytest.raises(SpecError, match="unknown suite 'genera'"):
        get_suite("genera")


@pytest.mark.parametrize(("name", "target"), PROJECT["entry-points"]["ftsdk.suites"].items())
def test_a_declared_suite_is_exported_under_its_name(name: str, target: str) -> None:
    module, _, function = target.partition(":")

    assert getattr(importlib.import_module(module), function) is getattr(suites, name)
