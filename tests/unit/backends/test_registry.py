from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from ftsdk.backends.registry import backend_names, get_backend
from ftsdk.errors import MissingExtraError, SpecError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def without_trl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed ftsdk whose local backend needs what isn't there."""
    info = tmp_path / "ftsdk-99.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ftsdk\nVersion: 99.0\n")
    (info / "entry_points.txt").write_text("[ftsdk.backends]\nlocal = needs_what_is_not_there:Local\n")
    (tmp_path / "needs_what_is_not_there.py").write_text("import trl_of_another_planet\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_the_built_in_backend_is_an_entry_point_like_any_other() -> None:
    assert "local" in backend_names()
    assert list(backend_names()) == sorted(backend_names())


def test_an_unknown_name_gets_the_nearest_one() -> None:
    with pytest.raises(SpecError, match=r"unknown backend 'lokal'; did you mean 'local'\?"):
        get_backend("lokal")


def test_a_name_like_no_other_gets_the_list() -> None:
    with pytest.raises(SpecError, match=r"known: .*local"):
        get_backend("zzz")


@pytest.mark.usefixtures("without_trl")
def test_a_missing_package_of_ours_is_told_with_the_extra() -> None:
    with pytest.raises(MissingExtraError, match=r'pip install "ftsdk\[local\]"') as caught:
        get_backend("local")
    assert caught.value.missing == "trl_of_another_planet"
    assert "needs_what_is_not_there" not in sys.modules


def test_options_that_do_not_fit_are_refused() -> None:
    with pytest.raises(SpecError, match=r"backend 'local' can't be built with 'gpu': .*; its options: .*device"):
        get_backend("local", {"gpu": "H100"})
