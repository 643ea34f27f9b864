"""Rules that one text breaks by itself."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from ftsdk.data.byte_scan import Block, byte_classes, map_blocks
from ftsdk.data.quality.encoding import is_repairable
from ftsdk.data.quality.repetition import rows_that_repeat

__all__ = ["TEXT_RULES", "check_block", "check_texts"]

_MARK, _FENCE, _HIGH = 1, 2, 4
_CLASSES = bytearray(byte_classes({_MARK: "{<[#", _FENCE: "`~"}))
_CLASSES[128:] = bytes([_HIGH]) * 128

_MARKERS = re.compile(
    r"""(?x)
    <\|(?:im_start|im_end|im_sep|endoftext|eot_id|begin_of_text|end_of_text|start_header_id|end_header_id|system|user
        |assistant|end|eom_id|python_tag|channel|message|start|return|call)\|>
    | <(?:start_of_turn|end_of_turn|bos|eos)> | \A\s?<s> | </s>\s?\Z | <</?SYS>> | \[/?INST\]
    | ^\#{2,3}[ ](?:Instruction|Response|Input|Human|Assistant|User|System)(?::|[ \t]*$)
    | (?i:\bas\ an?\ (?:ai|artificial\ intelligence|large)\ (?:language\ )?(?:model|assistant)\b)
    | (?i:<insert\ [^<>\n]{1,40}>|\[insert\ [^\[\]\n]{1,40}\])
    """,
    re.MULTILINE,
)
"""What chat templates put around messages, and what other models say about themselves."""
_FIELDS = re.compile(
    r"""(?x)
    (?<![{$\\\w])\{\{\s{0,9}[A-Za-z_][\w.\[\]|' ]{0,60}\}\}(?!\})                # {{ name }}
    | (?<![{}$\\\w.(=^'"/])\{[A-Za-z_]\w{2,40}\}(?![}\w'"({])                      # {column}
    | \{%-?\s{0,9}(?:if|for|set|endif|endfor|else|elif|include|block)\b           # {% if %}
    """
)
"""Fields of templates that were never filled."""
_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]{1,200}`|\b[fF][\"'][^\"'\n]{0,400}[\"']|\$[^$\n]{1,400}\$", re.DOTALL)
"""Code and formulas, where braces belong."""
_FENCE_LINE = re.compile(r"^[ \t]{0,9}(?:>[ \t]?)?(`{3,}|~{3,})([^`\n]*)$", re.MULTILINE)


def has_leftover(text: str) -> bool:
    """Return whether a text has an unfilled field, a chat marker or a stock phrase of another model."""
    if _MARKERS.search(text):
        return True
    return _FIELDS.search(text) is not None and _FIELDS.search(_CODE.sub(" ", text)) is not None


def has_open_fence(text: str) -> bool:
    """Return whether a code fence is opened and not closed, as CommonMark counts them."""
    open_fence: str | None = None
    for match in _FENCE_LINE.finditer(text):
        fence, info = match[1], match[2].strip()
        if open_fence is None:
            open_fence = fence
        elif fence[0] == open_fence[0] and len(fence) >= len(open_fence) and not info:
            open_fence = None
    return open_fence is not None


TEXT_RULES = (
    "empty",
    "template_leftover",
    "unclosed_fence",
    "broken_encoding",
    "lost_characters",
    "repetition",
)
"""Names of the rules that `check_texts` knows."""


def check_texts(texts: Sequence[str], rules: Iterable[str] = TEXT_RULES) -> dict[str, list[int]]:
    """Return for each rule the positions of the texts that break it, ascending.

    Args:
        texts: The texts.
        rules: Names out of `TEXT_RULES`.

    Raises:
        KeyError: A name is none of these.
    """
    chosen = list(rules)
    found: dict[str, list[int]] = {name: [] for name in chosen}
    for part in map_blocks(texts, lambda block: check_block(block, chosen)):
        for name, positions in part.items():
            found[name] += positions
    return found


def check_block(block: Block, rules: Iterable[str] = TEXT_RULES) -> dict[str, list[int]]:
    """Return the same for the texts of a block, by their positions among all texts."""
    scan = _Scan(block)
    return {name: [block.first + row for row in _FINDERS[name](scan)] for name in rules}


class _Scan:
    """A block, and in which rows the rare bytes are."""

    def __init__(self, block: Block) -> None:
        import numpy as np

        self.block = block
        classes = np.frombuffer(block.raw.translate(bytes(_CLASSES)), dtype=np.uint8)
        self._at = np.flatnonzero(classes != 0)
        self._classes = classes[self._at]

    def rows_with(self, mask: int) -> list[int]:
        return self.block.rows_at(self._at[(self._classes & mask) != 0])

    def rows_with_stock_phrase(self) -> list[int]:
        """Return the rows in which a model may speak of itself."""
        import numpy as np

        # Two letters that are rare next to each other; bytes.find takes several times as long for them.
        content = np.frombuffer(self.block.raw, dtype=np.uint8)
        initials = np.flatnonzero((content[:-1] == ord("A")) & (content[1:] == ord("I")))
        return [*self.block.rows_at(initials), *self.block.rows_at_any(b"guage mod")]


def _filtered(rows: Callable[[_Scan], Iterable[int]], test: Callable[[str], bool]) -> Callable[[_Scan], list[int]]:
    return lambda scan: [row for row in rows(scan) if test(scan.block.texts[row])]


def _leftover_rows(scan: _Scan) -> list[int]:
    return sorted({*scan.rows_with(_MARK), *scan.rows_with_stock_phrase()})


_FINDERS: dict[str, Callable[[_Scan], list[int]]] = {
    "empty": lambda scan: [row for row, text in enumerate(scan.block.texts) if not text or text.isspace()],
    "template_leftover": _filtered(_leftover_rows, has_leftover),
    "unclosed_fence": _filtered(lambda scan: scan.rows_with(_FENCE), has_open_fence),
    "broken_encoding": _filtered(lambda scan: scan.rows_with(_HIGH), is_repairable),
    "lost_characters": _filtered(lambda scan: scan.rows_with(_HIGH), lambda text: "\ufffd" in text),
    "repetition": lambda scan: rows_that_repeat(scan.block),
}
