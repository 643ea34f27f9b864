"""Installs a plugin as pip would, without pip: modules and a `.dist-info` in a folder on the path."""

from __future__ import annotations

import shutil
import tomllib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def install(source: Path, modules: Sequence[str], *, site: Path) -> None:
    """Copy the modules of a project, and write what its entry points are found by.

    Args:
        source: The project's folder.
        modules: The names of its modules.
        site: The folder to install into.
    """
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{n} = {v}" for n, v in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    for module in modules:
        shutil.copy(source / f"{module}.py", site)
