"""Installs the plugin as pip would, without pip: modules and a `.dist-info` in a folder on the path."""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(__file__).parent / "ftsdk-pigeon"
MODULES = ("ftsdk_pigeon", "ftsdk_albatross")


@pytest.fixture
def installed_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]
    site = tmp_path / "site-packages"
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [line for group, points in project["entry-points"].items() for line in (f"[{group}]", *(f"{n} = {v}" for n, v in points.items()))]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module in MODULES:
        shutil.copy(SOURCE / f"{module}.py", site)
    monkeypatch.syspath_prepend(site)
    yield site
    for module in MODULES:
        sys.modules.pop(module, None)
