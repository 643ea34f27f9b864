"""A stranger's backend comes in by the same door as the built-in ones."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from ftsdk.backends.registry import backend_names, get_backend
from ftsdk.errors import MissingExtraError, SpecError
from ftsdk.protocol import Backend
from ftsdk.testing import BackendConformance, a_spec

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("installed_plugin")


def test_an_installed_plugin_is_listed_and_nothing_of_it_is_imported() -> None:
    assert {"local", "pigeon", "albatross"} <= set(backend_names())
    assert "ftsdk_pigeon" not in sys.modules
    assert "ftsdk_albatross" not in sys.modules


def test_a_plugin_is_built_by_name_with_its_options(tmp_path: Path) -> None:
    backend = get_backend("pigeon", {"loft": str(tmp_path / "loft")})
    assert isinstance(backend, Backend)
    assert backend.name == "pigeon"
    assert "ftsdk_albatross" not in sys.modules


def test_a_run_of_a_plugin_is_opened_again_from_its_name_and_options(tmp_path: Path) -> None:
    backend = get_backend("pigeon", {"loft": str(tmp_path / "loft")})
    ref = backend.submit(backend.plan(a_spec()), key="first")
    again = get_backend(ref.backend, backend.options)
    assert again.status(ref).state == "queued"


def test_options_that_a_plugin_does_not_know_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"backend 'pigeon' can't be built with .*unexpected keyword argument 'lofft'"):
        get_backend("pigeon", {"lofft": str(tmp_path)})


def test_a_package_that_is_missing_is_told_with_what_to_install() -> None:
    with pytest.raises(MissingExtraError, match="pip install ftsdk-pigeon") as caught:
        get_backend("albatross")
    assert caught.value.missing == "albatross_client_that_nobody_has"
    assert "backend 'albatross'" in str(caught.value)
    assert isinstance(caught.value, ImportError)
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


def test_a_name_that_is_nearly_right_gets_the_right_one() -> None:
    with pytest.raises(SpecError, match=r"unknown backend 'pidgeon'; did you mean 'pigeon'\?"):
        get_backend("pidgeon")


class TestPigeonConforms(BackendConformance):
    """All that an outsider has to write to hold a backend to every promise."""

    def make_backend(self, tmp_path: Path) -> Backend:
        return get_backend("pigeon", {"loft": str(tmp_path / "loft")})
