"""Repeated lines and phrases, by the rules with which DeepMind filtered Gopher's training data."""

from __future__ import annotations

from collections import Counter

from ftsdk.data.byte_scan import Block

__all__ = ["repeats", "rows_that_repeat"]

# Twice the limits of https://arxiv.org/abs/2112.11446, table A1, which are for web pages: of GSM8K's worked solutions,
# which say much the same line by line, those flag one in ten, these one in 300. Largest share of characters in ...
_TOP_NGRAM = {2: 0.40, 3: 0.36, 4: 0.32}
"""... the most frequent n-gram."""
_DUPLICATE_NGRAMS = {5: 0.30, 6: 0.28, 7: 0.26, 8: 0.24, 9: 0.22, 10: 0.20}
"""... n-grams that occur more than once."""
_DUPLICATE_LINES = 0.30
"""Largest share of lines that repeat an earlier one."""
_DUPLICATE_LINE_CHARACTERS = 0.20
_FEWEST_WORDS = 20
"""Below that, a short text that says something twice is no loop."""
_FEWEST_TIMES = 3
_FEWEST_LINES = 5
_SUSPICIOUS = 0.14
"""Share of words whose first eight bytes come up again in a row; no text that breaks a rule has less."""
_WINDOW = 8
_LONGEST = 20_000
"""Words that are looked at; a loop shows long before."""


def repeats(text: str) -> bool:
    """Return whether a text repeats its lines or phrases more than good prose or code does."""
    lines = [line.strip() for line in text.split("\n")]
    lines = [line for line in lines if len(line) > 3]
    if len(lines) >= _FEWEST_LINES:
        again = [line for line, times in Counter(lines).items() for _ in range(times - 1)]
        if len(again) > _DUPLICATE_LINES * len(lines) and sum(map(len, again)) > _DUPLICATE_LINE_CHARACTERS * len(text):
            return True
    words = text.split()[:_LONGEST]
    if len(words) < _FEWEST_WORDS:
        return False
    characters = sum(map(len, words))
    for n, limit in _TOP_NGRAM.items():
        counts = Counter(zip(*(words[i:] for i in range(n)), strict=False))
        ngram, times = max(counts.items(), key=lambda item: item[1] * sum(map(len, item[0])))
        if times >= _FEWEST_TIMES and times * sum(map(len, ngram)) > limit * characters:
            return True
    return any(_duplicate_share(words, n, characters) > limit for n, limit in _DUPLICATE_NGRAMS.items())


def rows_that_repeat(block: Block) -> list[int]:
    """Return the positions within the block of the texts that `repeats`; most are ruled out by numpy."""
    return [row for row in _suspects(block) if repeats(block.texts[row])]


def _duplicate_share(words: list[str], n: int, characters: int) -> float:
    """Return the share of characters in n-grams that were there before, each character counted once."""
    seen: set[tuple[str, ...]] = set()
    repeated = 0
    position = 0
    while position <= len(words) - n:
        ngram = tuple(words[position : position + n])
        if ngram in seen:
            repeated += sum(map(len, ngram))
            position += n
        else:
            seen.add(ngram)
            position += 1
    return repeated / characters


def _suspects(block: Block) -> list[int]:
    """Return the rows in which enough words start with the same eight bytes as an earlier one."""
    import numpy as np

    data = np.frombuffer(block.raw, dtype=np.uint8)
    if len(data) < _WINDOW + 1:
        return []
    starts = np.flatnonzero(data[:-_WINDOW] <= 32) + 1
    if not len(starts):
        return []
    windows = np.ndarray(shape=(len(data) - _WINDOW + 1,), dtype=np.uint64, buffer=block.raw, strides=(1,))
    keys = windows[starts]
    words = np.diff(np.searchsorted(starts, block.starts), append=len(starts))
    bits = np.uint32(32 - max(len(words) - 1, 1).bit_length())
    rows = np.repeat(np.arange(len(words), dtype=np.uint32) << bits, words)
    # A mixed hash below, the row above: sorting brings what is equal within a row together, and little besides.
    mixed = ((keys * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - bits)).astype(np.uint32)
    mixed |= rows
    mixed.sort()
    again = mixed[1:][mixed[1:] == mixed[:-1]] >> bits
    counts = np.bincount(again.astype(np.int64), minlength=len(block.texts))
    return np.flatnonzero((counts > 1) & (counts >= _SUSPICIOUS * words)).tolist()
