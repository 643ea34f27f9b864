"""`ftsdk.cost` reads what plans state in typed values; native requests are their backends' own."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import ftsdk.cost

ROOM = Path(ftsdk.cost.__file__).parent


@pytest.mark.parametrize("path", sorted(ROOM.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOM)))
def test_no_module_of_cost_reads_a_native_request(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    read = [node.lineno for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "request"]
    assert read == []
