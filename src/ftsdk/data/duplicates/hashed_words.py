"""The words of texts as hashes, cut once: what is compared in several ways is cut out of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np

from ftsdk.data.duplicates.shingles import (
    Hashes,
    Positions,
    Shingles,
    Texts,
    batches,
    hashed_words,
    ngrams,
    read_texts,
    text_sizes,
)
from ftsdk.data.in_threads import in_threads
from ftsdk.data.mapped_arrays import ArrayWriter
from ftsdk.data.text_column import TextColumn, text_buffers

__all__ = ["HashedWords", "JoinedWords", "WordNgrams", "Words"]

_BYTES_OF_WORD = 6
"""Of a word and the blank behind it, about."""


class Words(Protocol):
    """The words of texts, as hashes."""

    @property
    def counts(self) -> Positions:
        """Words of each text."""
        ...

    def at(self, rows: Positions) -> tuple[Hashes, Positions]:
        """Return the words of some texts, and where those of each begin and the last ones end."""
        ...


class HashedWords:
    """The words of texts, 8 bytes each. Beyond a limit they are in a file that is mapped into memory."""

    def __init__(self, texts: Texts) -> None:
        """Cut texts into words.

        Raises:
            OSError: The disk is full.
        """
        words = ArrayWriter()
        counts = [np.empty(0, dtype=np.int64)]
        for hashes, offsets in in_threads(hashed_words, _arrays(texts)):
            words.add(hashes)
            counts.append(np.diff(offsets))
        self._hashes = words.finish()
        self._offsets = np.concatenate(([0], np.cumsum(np.concatenate(counts))))

    @property
    def counts(self) -> Positions:
        """Words of each text."""
        return np.diff(self._offsets)

    def at(self, rows: Positions) -> tuple[Hashes, Positions]:
        """Return the words of some texts, and where those of each begin and the last ones end."""
        if not len(rows):
            return self._hashes[:0], np.zeros(1, dtype=np.int64)
        first, last = int(rows[0]), int(rows[-1])
        if last - first == len(rows) - 1 and bool((np.diff(rows) == 1).all()):
            offsets = self._offsets[first : last + 2]
            return self._hashes[offsets[0] : offsets[-1]], offsets - offsets[0]
        counts = self._offsets[rows + 1] - self._offsets[rows]
        ends = np.cumsum(counts)
        places = np.repeat(self._offsets[rows] - (ends - counts), counts) + np.arange(ends[-1])
        return self._hashes[places], np.concatenate(([0], ends))


class JoinedWords:
    """The words of rows that are two texts each, one after the other."""

    def __init__(self, one: Words, other: Words) -> None:
        """Join the words of as many texts each."""
        self._one = one
        self._other = other

    @property
    def counts(self) -> Positions:
        """Words of each row."""
        return self._one.counts + self._other.counts

    def at(self, rows: Positions) -> tuple[Hashes, Positions]:
        """Return the words of some rows, and where those of each begin and the last ones end."""
        (first, first_offsets), (second, second_offsets) = self._one.at(rows), self._other.at(rows)
        runs = np.stack((np.diff(first_offsets), np.diff(second_offsets)), axis=1).ravel()
        is_second = np.repeat(np.tile([False, True], len(rows)), runs)
        words = np.empty(len(is_second), dtype=np.uint64)
        words[~is_second] = first
        words[is_second] = second
        return words, first_offsets + second_offsets


class WordNgrams:
    """N-grams of hashed words."""

    def __init__(self, words: Words, n: int) -> None:
        """Take runs of `n` words."""
        self._words = words
        self._n = n
        self.sizes = words.counts * _BYTES_OF_WORD

    def at(self, rows: Positions) -> Shingles:
        """Return the n-grams of some texts."""
        return ngrams(*self._words.at(rows), self._n)


def _arrays(texts: Texts) -> Iterator[Any]:
    """Yield texts as pyarrow arrays that need little memory each."""
    if not isinstance(texts, TextColumn):
        for start, stop in batches(text_sizes(texts)):
            yield read_texts(texts, np.arange(start, stop))
        return
    for array in texts.arrays():
        for start, stop in batches(np.diff(text_buffers(array)[0])):
            yield array.slice(start, stop - start)
