"""Search texts for personal data and credentials."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import repeat
from typing import NamedTuple

from ftsdk.data.byte_scan import Block, map_blocks
from ftsdk.data.privacy.credentials import CREDENTIALS
from ftsdk.data.privacy.gates import rows_by_gate
from ftsdk.data.privacy.kind import Kind
from ftsdk.data.privacy.pii import PII

__all__ = ["ALL_KINDS", "Finding", "find", "find_in_block"]

ALL_KINDS: tuple[Kind, ...] = (*CREDENTIALS, *PII)

_ROUNDS = 50
"""A value beside another one may count only once that one is gone, as with a list of numbers. Texts have two rounds at
most; hostile ones end here."""


class Finding(NamedTuple):
    """A value in a text."""

    start: int
    """Characters before it."""
    end: int
    kind: str
    """Name of its kind."""


def find(texts: Sequence[str], kinds: Iterable[Kind] = ALL_KINDS) -> dict[int, tuple[Finding, ...]]:
    """Return what was found, by the position of the text; texts without findings are left out.

    The findings of a text are in order and don't overlap. Where two overlap, the one that starts first counts, of
    those the longer one.

    Args:
        texts: The texts; the time is linear in their length.
        kinds: What to look for, in order of preference; all credentials and all personal data if not given.
    """
    kinds = tuple(kinds)
    found: dict[int, tuple[Finding, ...]] = {}
    for part in map_blocks(texts, lambda block: find_in_block(block, kinds)):
        found.update(part)
    return found


def find_in_block(block: Block, kinds: Iterable[Kind] = ALL_KINDS) -> dict[int, tuple[Finding, ...]]:
    """Return the same for the texts of a block, by their positions among all texts."""
    rows = rows_by_gate(block)
    tried: dict[int, list[Kind]] = {}
    for kind in kinds:
        for row in rows[kind.gate]:
            if not kind.needs or _has_one(block.texts[row], kind.needs):
                tried.setdefault(row, []).append(kind)
    found = {block.first + row: _find_one(block.texts[row], tried[row]) for row in sorted(tried)}
    return {position: findings for position, findings in found.items() if findings}


def _has_one(text: str, parts: Sequence[str]) -> bool:
    for part in parts:  # noqa: SIM110  (`any` takes three times as long)
        if part in text:
            return True
    return False


def _find_one(text: str, kinds: Sequence[Kind]) -> tuple[Finding, ...]:
    """Return what is in one text, searched until nothing new comes up, as if what was found had been replaced."""
    found: list[Finding] = []
    for _ in range(_ROUNDS):
        new = _one_round(text, kinds)
        if not new:
            break
        found += new
        parts: list[str] = []
        last = 0
        for start, end, _kind in new:
            # To its neighbours it looks like a placeholder: brackets, and nothing between them that matches.
            parts += [text[last:start], "[", "_" * (end - start - 2), "]"]
            last = end
        text = "".join([*parts, text[last:]])
    return tuple(sorted(found))


def _one_round(text: str, kinds: Sequence[Kind]) -> list[Finding]:
    candidates: list[tuple[int, int, int, str]] = []
    starts: dict[re.Pattern[str], list[int]] = {}
    for rank, kind in enumerate(kinds):
        if kind.anchor is None:
            matches = kind.pattern.finditer(text)
        else:
            if kind.anchor not in starts:
                starts[kind.anchor] = [match.start() for match in kind.anchor.finditer(text)]
            matches = map(kind.pattern.match, repeat(text), starts[kind.anchor])
        group = "value" if "value" in kind.pattern.groupindex else 0
        for match in matches:
            if match is None:
                continue
            start, end = match.span(group)
            if start < 0:  # an alternative that needs nothing around it
                start, end = match.span()
            end = kind.check(text, start, end)
            if end > start:
                candidates.append((start, -end, rank, kind.name))
    found: list[Finding] = []
    for start, negative_end, _, name in sorted(candidates):
        if not found or start >= found[-1].end:
            found.append(Finding(start, -negative_end, name))
    return found
