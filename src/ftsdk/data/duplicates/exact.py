"""Texts that are the same: equal after Unicode normalisation and, by choice, but for case and runs of blanks."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable

__all__ = ["exact_duplicates", "normalised", "text_key"]


def exact_duplicates(
    texts: Iterable[str], *, ignore_case: bool = False, ignore_blanks: bool = False
) -> tuple[tuple[int, ...], ...]:
    """Return the groups of equal texts, by position, in the order of their first rows; each group has at least two.

    Args:
        texts: The texts of the rows. They are read once and not kept.
        ignore_case: Whether "Billing" equals "billing".
        ignore_blanks: Whether a run of blanks or line breaks equals one blank, and blanks at the ends none.
    """
    first: dict[bytes, int] = {}
    groups: dict[int, list[int]] = {}
    for position, text in enumerate(texts):
        key = text_key(normalised(text, ignore_case=ignore_case, ignore_blanks=ignore_blanks))
        leader = first.setdefault(key, position)
        if leader != position:
            groups.setdefault(leader, [leader]).append(position)
    return tuple(tuple(groups[leader]) for leader in sorted(groups))


def normalised(text: str, *, ignore_case: bool = True, ignore_blanks: bool = True) -> str:
    """Return a text in Unicode's composed form (NFC), folded as asked."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text)
        if ignore_case:  # folding may decompose, as "ΐ" does
            text = unicodedata.normalize("NFC", text.casefold())
    elif ignore_case:
        text = text.lower()
    return " ".join(text.split()) if ignore_blanks else text


def text_key(text: str) -> bytes:
    """Return 16 bytes of BLAKE2b, which two different texts don't share."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
