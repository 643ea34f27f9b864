"""A method is known to few files: what others need of it are facts that it states about itself."""

from __future__ import annotations

import ast
from pathlib import Path

import ftsdk

SRC = Path(ftsdk.__file__).parent
FOR_ANY_BACKEND = {"_exports.py", "spec/__init__.py", "spec/method.py"}
FOR_TRL = {"backends/trainers/trl/methods/__init__.py", "backends/trainers/trl/methods/dpo.py"}
FOR_TOGETHER = {
    "backends/together/limits.py",
    "backends/together/request_fields.py",
    "backends/together/translate.py",
    "cost/pricebook/finetune_prices.py",
}


def names_dpo(path: Path) -> bool:
    """Whether code, not prose, names the method by its class or its kind."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Name) and node.id == "DPO":
            return True
        if isinstance(node, ast.ImportFrom) and any(alias.name == "DPO" for alias in node.names):
            return True
        if isinstance(node, ast.Constant) and node.value == "dpo":
            return True
    return False


def test_a_method_is_named_in_its_own_files_and_where_services_need_it() -> None:
    found = {path.relative_to(SRC).as_posix() for path in SRC.rglob("*.py") if names_dpo(path)}
    found = {name for name in found if not name.startswith("testing/together/")}
    assert found == FOR_ANY_BACKEND | FOR_TRL | FOR_TOGETHER
