"""Replace what was found by placeholders, and put it back."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ftsdk.data.privacy.find import ALL_KINDS, Finding, find
from ftsdk.data.privacy.kind import Kind

__all__ = ["Scrubbed", "restore", "scrub"]

_PLACEHOLDER = re.compile(r"\[[A-Z][A-Z0-9_]{0,60}_[0-9]{1,9}\]")


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """Texts without what was found in them."""

    texts: list[str]
    """The texts in their order; one without findings is the very same object."""
    changed: list[int]
    """Positions of the texts that were changed, ascending."""
    counts: dict[str, int]
    """How many values of each kind were replaced."""
    keys: dict[int, dict[str, str]]
    """By row, what each placeholder stands for. Personal data itself: keep it apart from the texts, or drop it."""


def scrub(
    texts: Sequence[str],
    kinds: Iterable[Kind] = ALL_KINDS,
    *,
    rows: Sequence[int] | None = None,
    found: Mapping[int, Sequence[Finding]] | None = None,
) -> Scrubbed:
    """Replace values by placeholders: `call 555-123-4567` becomes `call [PHONE_1]`.

    Within a row, the same value has the same placeholder, in all its texts. A placeholder that already occurs in a row
    isn't used again for something else, so `restore` returns the texts as they were.

    Args:
        texts: The texts.
        kinds: What to replace.
        rows: The row that each text belongs to, such as the messages of a conversation; None: each is one of its own.
        found: What to replace, where it is known already, as from `find` or `named_entities`; `kinds` then serve for
            the names of placeholders only.

    Raises:
        ValueError: `rows` isn't as long as `texts`.
    """
    if rows is not None and len(rows) != len(texts):
        raise ValueError(f"rows has {len(rows):,} entries for {len(texts):,} texts; pass one row number per text")
    kinds = tuple(kinds)
    names = {kind.name: kind.placeholder for kind in kinds}
    found = find(texts, kinds) if found is None else found
    row_of = range(len(texts)) if rows is None else rows
    affected = {row_of[position] for position in found}
    taken: dict[int, set[str]] = {row: set() for row in affected}
    if rows is None:
        for position in found:
            taken[position].update(_PLACEHOLDER.findall(texts[position]))
    else:
        for position, row in enumerate(rows):
            if row in affected:
                taken[row].update(_PLACEHOLDER.findall(texts[position]))
    placeholders: dict[int, dict[tuple[str, str], str]] = {}
    numbers: Counter[tuple[int, str]] = Counter()
    counts: Counter[str] = Counter()
    clean = list(texts)
    for position in sorted(found):
        text, row = texts[position], row_of[position]
        known = placeholders.setdefault(row, {})
        parts: list[str] = []
        last = 0
        for start, end, kind in found[position]:
            value = text[start:end]
            if (kind, value) not in known:
                name = names.get(kind, kind.upper())
                known[kind, value] = _unused(name, numbers, row, taken[row])
            parts += [text[last:start], known[kind, value]]
            last = end
            counts[kind] += 1
        clean[position] = "".join([*parts, text[last:]])
    keys = {row: {mark: value for (_, value), mark in known.items()} for row, known in placeholders.items()}
    return Scrubbed(clean, sorted(found), dict(counts), keys)


def restore(
    texts: Sequence[str], keys: Mapping[int, Mapping[str, str]], *, rows: Sequence[int] | None = None
) -> list[str]:
    """Put the values back that `scrub` replaced, also into other texts with the same placeholders, such as answers.

    Args:
        texts: Texts with placeholders.
        keys: `Scrubbed.keys`.
        rows: The row that each text belongs to; None: each is one of its own.
    """
    row_of = range(len(texts)) if rows is None else rows
    return [
        _PLACEHOLDER.sub(lambda match, key=key: key.get(match[0], match[0]), text) if key else text
        for text, key in zip(texts, (keys.get(row, {}) for row in row_of), strict=True)
    ]


def _unused(name: str, numbers: Counter[tuple[int, str]], row: int, taken: set[str]) -> str:
    while True:
        numbers[row, name] += 1
        placeholder = f"[{name}_{numbers[row, name]}]"
        if placeholder not in taken:
            return placeholder
