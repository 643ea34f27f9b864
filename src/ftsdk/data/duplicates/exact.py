"""Texts that are the same: equal after Unicode normalisation and, by choice, but for case and runs of blanks."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

from ftsdk.data.folded_hashes import folded_hashes
from ftsdk.data.text_column import TextColumn, text_buffers

__all__ = ["column_hashes", "exact_duplicates", "maybe_repeated", "normalised", "text_key", "texts_at"]

_ROWS = 1024


def exact_duplicates(
    texts: Iterable[str], *, ignore_case: bool = False, ignore_blanks: bool = False, among: Any = None
) -> tuple[tuple[int, ...], ...]:
    """Return the groups of equal texts, by position, in the order of their first rows; each group has at least two.

    Args:
        texts: The texts of the rows. They are read once and not kept.
        ignore_case: Whether "Billing" equals "billing".
        ignore_blanks: Whether a run of blanks or line breaks equals one blank, and blanks at the ends none.
        among: What `maybe_repeated` returned for these texts, where it is known.
    """
    first: dict[bytes, int] = {}
    groups: dict[int, list[int]] = {}
    if ignore_case and ignore_blanks and isinstance(texts, TextColumn):
        numbered = texts_at(texts, maybe_repeated(texts) if among is None else among)
    else:
        numbered = enumerate(texts)
    for position, text in numbered:
        key = text_key(normalised(text, ignore_case=ignore_case, ignore_blanks=ignore_blanks))
        leader = first.setdefault(key, position)
        if leader != position:
            groups.setdefault(leader, [leader]).append(position)
    return tuple(tuple(groups[leader]) for leader in sorted(groups))


def maybe_repeated(texts: TextColumn) -> Any:
    """Return where the texts are that may occur twice, case and blanks aside, and perhaps others: a NumPy array."""
    import numpy

    hashes, is_ascii = column_hashes(texts)
    _, number, counts = numpy.unique(hashes, return_inverse=True, return_counts=True)
    return numpy.flatnonzero((counts[number] > 1) | ~is_ascii)


def texts_at(texts: TextColumn, positions: Any) -> Iterator[tuple[int, str]]:
    """Yield texts with their positions, a NumPy array."""
    for start in range(0, len(positions), _ROWS):
        rows = positions[start : start + _ROWS]
        yield from zip(rows.tolist(), texts.take(rows).to_pylist(), strict=True)


def column_hashes(texts: TextColumn) -> tuple[Any, Any]:
    """Return a `folded_hash` of each text, which means nothing unless it is ASCII, and whether it is."""
    import numpy
    import pyarrow as pa
    import pyarrow.compute as compute

    end = b"\xff"  # UTF-8 has no such byte
    hashes, is_ascii = [numpy.empty(0, dtype=numpy.uint64)], [numpy.empty(0, dtype=bool)]
    for array in texts.arrays():
        parts = [array.cast(pa.large_binary()), *(pa.scalar(part, pa.large_binary()) for part in (end, b""))]
        joined = text_buffers(compute.call_function("binary_join_element_wise", parts))[1]
        hashes.append(folded_hashes(joined.tobytes(), end))
        is_ascii.append(compute.call_function("string_is_ascii", [array]).to_numpy(zero_copy_only=False))
    return numpy.concatenate(hashes), numpy.concatenate(is_ascii)


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
