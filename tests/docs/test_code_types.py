"""The Python of every page passes pyright as a user runs it, in basic mode.

The blocks of a page are one module, since later blocks use the names of earlier ones.
"""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from doc_blocks import BLOCKS, PROJECT, Block

PYTHON = {page: [b for b in blocks if b.language == "python"] for page, blocks in BLOCKS.items()}


def module_of(blocks: list[Block]) -> str:
    """Return the blocks as one module in which each line has the number that it has on the page."""
    lines: list[str] = []
    for block in blocks:
        lines += [""] * (block.line - 1 - len(lines)) + block.code.splitlines()
    return "\n".join(lines) + "\n"


def pyright(folder: Path) -> list[dict[str, Any]]:
    (folder / "pyrightconfig.json").write_text(
        json.dumps({"typeCheckingMode": "basic", "pythonVersion": "3.11", "extraPaths": [str(PROJECT / "src")]}),
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "-p", str(folder), "--outputjson"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.stdout.lstrip().startswith("{"), done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] > 0
    return [found for found in report["generalDiagnostics"] if found["severity"] == "error"]


@pytest.mark.skipif(find_spec("pyright") is None, reason="pyright isn't installed; `nox -s types` has it")
def test_the_python_of_every_page_is_typed(tmp_path: Path) -> None:
    pages = {page.replace("/", "__").replace("-", "_") + ".py": page for page, blocks in PYTHON.items() if blocks}
    for name, page in pages.items():
        (tmp_path / name).write_text(module_of(PYTHON[page]), encoding="utf-8")
    expected = [block for blocks in PYTHON.values() for block in blocks if block.type_error]
    reported: set[Block] = set()
    wrong: list[str] = []
    for found in pyright(tmp_path):
        page, line = pages[Path(found["file"]).name], found["range"]["start"]["line"] + 1
        marked = [b for b in expected if b.page == page and b.line <= line < b.line + len(b.code.splitlines())]
        reported.update(marked)
        if not marked:
            wrong.append(f"{page}:{line}: {found['message']} ({found.get('rule', 'syntax')})")
    assert wrong == [], "\n".join(wrong)
    assert reported == set(expected), "a block is marked as a type error, and pyright reports none"


def test_a_module_keeps_the_line_numbers_of_its_page() -> None:
    blocks = [Block(page="page.md", line=line, language="python", code=f"x{line} = 1\n") for line in (3, 7)]
    assert module_of(blocks).splitlines() == ["", "", "x3 = 1", "", "", "", "x7 = 1"]
