"""The notebooks of examples/, as data: their cells, and what a test changes before it runs them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["MODEL", "NOTEBOOKS", "read_notebook", "with_model", "without_magics"]

FOLDER = Path(__file__).parents[2] / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
"""The model that a notebook downloads: tests have no network, and put a folder or a file in its place."""


def read_notebook(path: Path) -> dict[str, Any]:
    """Return a notebook as JSON, each cell's source as one text."""
    notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        cell["source"] = "".join(cell["source"])
    return notebook


def with_model(notebook: dict[str, Any], model: str | Path) -> dict[str, Any]:
    """Return a copy of a notebook with another model in place of `MODEL`."""
    cells = [{**cell, "source": cell["source"].replace(f'"{MODEL}"', repr(str(model)))} for cell in notebook["cells"]]
    return {**notebook, "cells": cells}


def without_magics(source: str) -> str:
    """Return a cell's Python, without the lines that only a notebook understands."""
    return "\n".join(line for line in source.splitlines() if not line.lstrip().startswith(("%", "!")))
