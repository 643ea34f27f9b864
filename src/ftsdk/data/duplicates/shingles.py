"""Texts as hashed n-grams of words or characters, in flat arrays: what similarity is measured on."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from ftsdk.data.duplicates.word_hashes import word_bounds, word_hashes
from ftsdk.data.text_column import TextColumn, text_array, text_buffers

__all__ = [
    "CharacterShingles",
    "CutTexts",
    "Hashes",
    "Positions",
    "Shingled",
    "Shingler",
    "Shingles",
    "SomeShingled",
    "Texts",
    "WordShingles",
    "batches",
    "distinct_owners",
    "hashed_words",
    "ngrams",
    "read_texts",
    "text_sizes",
    "without",
]

Hashes = NDArray[np.uint64]
Positions = NDArray[np.int64]
Texts = Sequence[str] | Any
"""Texts as a sequence, a `TextColumn` or a pyarrow array; of the last two no Python strings are made."""

BATCH_ROWS = 512
"""The arrays of so many texts stay in the processor's second cache."""
BATCH_CHARACTERS = 8_000_000
_LAST_BITS = (1 << 18) - 1
_FEW = 8
"""So many comparisons with all n-grams take less time than a table."""

# Scripts that put no blanks between words: each character counts as a word.
_UNSPACED = r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])"


class Shingles(NamedTuple):
    """The n-grams of several texts, one after the other; a text may have one several times."""

    hashes: Hashes
    offsets: Positions
    """Where each text begins in `hashes`, and where the last one ends."""

    @property
    def counts(self) -> Positions:
        """N-grams of each text."""
        return np.diff(self.offsets)


class Shingler(Protocol):
    """A way of cutting texts into n-grams."""

    def __call__(self, texts: Any) -> Shingles:
        """Return the n-grams of a pyarrow array of texts."""
        ...


class WordShingles(NamedTuple):
    """N-grams of words; case doesn't count, and blanks only separate."""

    n: int = 3

    def __call__(self, texts: Any) -> Shingles:
        """Return the n-grams of a pyarrow array of texts; a text of fewer than `n` words has none."""
        return ngrams(*hashed_words(texts), self.n)


class CharacterShingles(NamedTuple):
    """N-grams of characters, for texts too short for n-grams of words; case and runs of blanks don't count."""

    n: int = 4

    def __call__(self, texts: Any) -> Shingles:
        """Return the n-grams of a pyarrow array of texts; a text of fewer than `n` characters has none."""
        plain = [" ".join(unicodedata.normalize("NFC", text).lower().split()) for text in texts.to_pylist()]
        codes = np.frombuffer("".join(plain).encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.uint64)
        offsets = np.concatenate(([0], np.cumsum(np.fromiter(map(len, plain), dtype=np.int64, count=len(plain)))))
        return ngrams(_mixed(codes), offsets, self.n)


class Shingled(Protocol):
    """Texts that are read as n-grams."""

    @property
    def sizes(self) -> Positions:
        """The length of each text, about."""
        ...

    def at(self, rows: Positions) -> Shingles:
        """Return the n-grams of some texts."""
        ...


class CutTexts:
    """Texts that are cut into n-grams whenever they are read."""

    def __init__(self, texts: Texts, shingler: Shingler, sizes: Positions | None = None) -> None:
        """Read texts in batches.

        Args:
            texts: The texts.
            shingler: Cuts them.
            sizes: Their `text_sizes`, where they are known.
        """
        self._texts = texts
        self._shingler = shingler
        self.sizes = text_sizes(texts) if sizes is None else sizes

    def at(self, rows: Positions) -> Shingles:
        """Return the n-grams of some texts."""
        return self._shingler(read_texts(self._texts, rows))


class SomeShingled:
    """Some of the texts that are read as n-grams."""

    def __init__(self, texts: Shingled, rows: Positions) -> None:
        """Choose rows."""
        self._texts = texts
        self._rows = rows
        self.sizes = texts.sizes[rows]

    def at(self, rows: Positions) -> Shingles:
        """Return the n-grams of some of these."""
        return self._texts.at(self._rows[rows])


def hashed_words(texts: Any) -> tuple[Hashes, Positions]:
    """Return the words of a pyarrow array of texts as hashes, and where those of each begin and the last ones end."""
    return _ascii_words(texts) if _is_plain_ascii(texts) else _unicode_words(texts)


def _compute() -> Any:
    """Return Arrow's functions, which are made at run time; loaded on first use."""
    import pyarrow.compute

    return pyarrow.compute


def _ascii_words(texts: Any) -> tuple[Hashes, Positions]:
    """Return the hash of each word, and where those of each text begin."""
    import pyarrow as pa

    pc = _compute()
    parts = [pc.ascii_lower(texts), *(pa.scalar(part, pa.large_string()) for part in ("", " "))]
    offsets, content = text_buffers(pc.binary_join_element_wise(*parts))
    starts, ends = word_bounds(content)
    return word_hashes(content, starts, ends), np.searchsorted(starts, offsets).astype(np.int64)


def _unicode_words(texts: Any) -> tuple[Hashes, Positions]:
    pc = _compute()
    texts = pc.utf8_normalize(texts, form="NFC")
    if pc.any(pc.match_substring_regex(texts, _UNSPACED), min_count=0).as_py():
        texts = pc.replace_substring_regex(texts, _UNSPACED, r" \1 ")
    words = pc.utf8_split_whitespace(pc.utf8_trim_whitespace(pc.utf8_lower(texts)))
    bounds, content = text_buffers(words.flatten())
    offsets = words.offsets.to_numpy().astype(np.int64)
    # Arrow splits a text without words into one empty word.
    starts, ends = bounds[:-1], bounds[1:]
    is_word = ends > starts
    before = np.concatenate(([0], np.cumsum(is_word)))
    return word_hashes(content, starts[is_word], ends[is_word]), before[offsets - offsets[0]]


def _is_plain_ascii(texts: Any) -> bool:
    """Return whether texts are ASCII without the four control characters that Unicode takes for blanks."""
    _, content = text_buffers(texts)
    return bool((content < 0x80).all() and not (content - np.uint8(0x1C) < 4).any())


def _mixed(values: Hashes) -> Hashes:
    """Scatter values over all 64 bits (the finaliser of SplitMix64)."""
    values = values ^ (values >> np.uint64(30))
    values *= np.uint64(0xBF58476D1CE4E5B9)
    values ^= values >> np.uint64(27)
    values *= np.uint64(0x94D049BB133111EB)
    values ^= values >> np.uint64(31)
    return values


def ngrams(units: Hashes, offsets: Positions, n: int) -> Shingles:
    """Return the n-grams of texts whose units (words, characters) are given as hashes."""
    starts = max(len(units) - n + 1, 0)
    hashes = units[:starts].copy()
    for shift in range(1, n):
        hashes *= np.uint64(0x9E3779B97F4A7C15)
        hashes ^= hashes >> np.uint64(32)
        hashes += units[shift : shift + starts]
    is_whole = np.ones(starts, dtype=np.bool_)
    # An n-gram that starts at one of the last n - 1 units of a text would run into the next one.
    for shift in range(1, n):
        ends = offsets[1:] - shift
        is_whole[ends[(ends >= 0) & (ends < starts)]] = False
    counts = np.maximum(np.diff(offsets) - n + 1, 0)
    return Shingles(_mixed(hashes[is_whole]), np.concatenate(([0], np.cumsum(counts))))


def without(shingles: Shingles, common: Hashes) -> Shingles:
    """Return the n-grams that aren't among `common`, which is sorted."""
    if not len(common):
        return shingles
    is_kept = np.ones(len(shingles.hashes), dtype=np.bool_)
    if len(common) <= _FEW:
        for one in common:
            is_kept &= shingles.hashes != one
    else:
        # Few n-grams share their last bits with a common one, and only these are looked up.
        table = np.zeros(_LAST_BITS + 1, dtype=np.bool_)
        table[common & np.uint64(_LAST_BITS)] = True
        maybe = np.flatnonzero(table[shingles.hashes & np.uint64(_LAST_BITS)])
        found = np.minimum(np.searchsorted(common, shingles.hashes[maybe]), len(common) - 1)
        is_kept[maybe] = common[found] != shingles.hashes[maybe]
    kept = np.concatenate(([0], np.cumsum(is_kept)))
    return Shingles(shingles.hashes[is_kept], kept[shingles.offsets])


def distinct_owners(hashes: Hashes, owners: NDArray[Any]) -> tuple[Hashes, NDArray[Any]]:
    """Return each n-gram with each of its owners once, ascending."""
    order = np.lexsort((owners, hashes))
    hashes, owners = hashes[order], owners[order]
    is_new = np.ones(len(hashes), dtype=np.bool_)
    is_new[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    return hashes[is_new], owners[is_new]


def text_sizes(texts: Texts) -> Positions:
    """Return the length of each text; of pyarrow's in bytes."""
    import pyarrow as pa

    pc = _compute()
    if isinstance(texts, TextColumn):
        return texts.sizes()
    if isinstance(texts, (pa.Array, pa.ChunkedArray)):
        return pc.fill_null(pc.binary_length(texts), 0).to_numpy().astype(np.int64)
    return np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))


def batches(sizes: Positions) -> Iterator[tuple[int, int]]:
    """Cut rows into runs that need little memory each, whatever their texts' lengths."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        before = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, before + BATCH_CHARACTERS, side="right"))
        stop = max(start + 1, min(stop, start + BATCH_ROWS, len(sizes)))
        yield start, stop
        start = stop


def read_texts(texts: Texts, positions: Positions) -> Any:
    """Return some of the texts as a pyarrow array; what isn't valid Unicode becomes "?"."""
    import pyarrow as pa

    pc = _compute()
    if isinstance(texts, TextColumn):
        return texts.take(positions)
    if isinstance(texts, (pa.Array, pa.ChunkedArray)):
        taken = pc.fill_null(cast("Any", texts).take(pa.array(positions)), "")
        taken = taken.combine_chunks() if isinstance(taken, pa.ChunkedArray) else taken
        return taken.cast(pa.large_string())
    return text_array([str(texts[position]) for position in positions.tolist()])
