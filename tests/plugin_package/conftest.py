"""Installs the plugin as pip would, without pip."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from installed_plugin import install

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parent / "ftsdk-pigeon"
MODULES = ("ftsdk_pigeon", "ftsdk_albatross")


@pytest.fixture
def installed_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    site = tmp_path / "site-packages"
    install(SOURCE, MODULES, site=site)
    monkeypatch.syspath_prepend(site)
    yield site
    for module in MODULES:
        sys.modules.pop(module, None)
