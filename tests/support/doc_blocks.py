"""The code blocks of the README and the docs. An HTML comment above a block marks it:

<!-- not run: REASON -->       the block is compiled and type-checked, but not run
<!-- file: NAME -->            the block is written to this file before the page runs
<!-- type error: REASON -->    a type checker reports the block, on purpose
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["BLOCKS", "PAGES", "PROJECT", "Block"]

PROJECT = Path(__file__).parents[2]
PAGES = [PROJECT / "README.md", *sorted((PROJECT / "docs").rglob("*.md"))]

_FENCE = re.compile(r"^```(\w*)\s*$")
_COMMENT = re.compile(r"^<!-- (not run|file|type error): (.+?) -->$")


@dataclass(frozen=True, kw_only=True)
class Block:
    page: str
    line: int
    """Line of the first line of code, from 1."""
    language: str
    code: str
    not_run: str | None = None
    file: str | None = None
    type_error: str | None = None

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def read_blocks(path: Path) -> list[Block]:
    page = path.relative_to(PROJECT).as_posix()
    blocks: list[Block] = []
    marks: dict[str, str] = {}
    language: str | None = None
    start, code = 0, []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        fence = _FENCE.match(line)
        if language is None:
            if fence:
                language, start, code = fence.group(1), number + 1, []
            elif comment := _COMMENT.match(line):
                marks[comment.group(1)] = comment.group(2)
            elif line.strip():
                marks = {}
        elif fence:
            text = "\n".join(code) + "\n"
            blocks.append(
                Block(
                    page=page,
                    line=start,
                    language=language,
                    code=text,
                    not_run=marks.get("not run"),
                    file=marks.get("file"),
                    type_error=marks.get("type error"),
                )
            )
            language, marks = None, {}
        else:
            code.append(line)
    assert language is None, f"{page}: a code block isn't closed"
    return blocks


BLOCKS = {path.relative_to(PROJECT).as_posix(): read_blocks(path) for path in PAGES}
