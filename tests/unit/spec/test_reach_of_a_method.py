"""A method is known to few files: what others need of it are facts that it states about itself."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import ftsdk

SRC = Path(ftsdk.__file__).parent
FOR_ANY_BACKEND = {"_exports.py", "spec/__init__.py", "spec/method.py"}
FOR_TRL = {"backends/trainers/trl/methods/__init__.py"}
FOR_TOGETHER = {
    "backends/together/limits.py",
    "backends/together/request_fields.py",
    "backends/together/translate.py",
    "cost/pricebook/finetune_prices.py",
}


def names(path: Path, method: str) -> bool:
    """Whether code, not prose, names the method by its class or its kind."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name) and node.id == method:
            return True
        if isinstance(node, ast.ImportFrom) and any(alias.name == method for alias in node.names):
            return True
        if isinstance(node, ast.Constant) and node.value == method.lower():
            return True
    return False


@pytest.mark.parametrize("method", ["DPO", "KTO", "ORPO", "SimPO"])
def test_a_method_is_named_in_its_own_files_and_where_services_need_it(method: str) -> None:
    found = {path.relative_to(SRC).as_posix() for path in SRC.rglob("*.py") if names(path, method)}
    found = {name for name in found if not name.startswith(("testing/together/", "data/forms/"))}
    own = {f"backends/trainers/trl/methods/{method.lower()}.py"}
    assert found - FOR_TOGETHER == FOR_ANY_BACKEND | FOR_TRL | own
    assert ("backends/together/translate.py" in found) == (method == "DPO")
