"""Hashes of words: the BLAKE2b of each word, however many were seen before."""

from __future__ import annotations

import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsdk.data.duplicates import word_hashes as module
from ftsdk.data.duplicates.shingles import WordShingles
from ftsdk.data.duplicates.word_hashes import word_bounds, word_hashes

ASCII = st.text(st.characters(max_codepoint=127).filter(lambda c: c not in "\x1c\x1d\x1e\x1f"), max_size=60)


def hashes(text: bytes) -> list[int]:
    content = numpy.frombuffer(text + b" ", dtype=numpy.uint8)
    return word_hashes(content, *word_bounds(content)).tolist()


def digest(word: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(word, digest_size=8).digest(), "little")


@settings(deadline=None, max_examples=100)
@given(ASCII)
def test_each_word_has_its_own_hash(text: str) -> None:
    expected = [digest(word) for word in text.encode().split()]
    assert hashes(text.encode()) == hashes(text.encode()) == expected


def test_words_of_any_length_are_hashed_by_all_their_bytes() -> None:
    words = [b"a" * count + end for count in range(1, 40) for end in (b"", b"b", b"\0", b"\0\0")]
    assert hashes(b" ".join(words)) == [*map(digest, words)]


def test_words_beyond_the_table_are_hashed_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    full = numpy.full(1 << 18, 1, dtype=numpy.uint64)  # no slot is free
    monkeypatch.setattr(module, "_keys", full)
    words = [b"word%d" % number for number in range(100)]
    assert hashes(b" ".join(words)) == [*map(digest, words)]


@settings(deadline=None, max_examples=50)
@given(st.lists(ASCII, min_size=1, max_size=5))
def test_ascii_and_unicode_words_are_cut_alike(texts: list[str]) -> None:
    shingles = WordShingles(2)
    found = shingles(pyarrow.array(texts, pyarrow.large_string()))
    other = shingles(pyarrow.array([*texts, "ä"], pyarrow.large_string()))
    assert found.hashes.tolist() == other.hashes.tolist()
    assert found.offsets.tolist() == other.offsets.tolist()[:-1]


def test_threads_that_fill_the_table_at_once_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_keys", "_hashes"):
        monkeypatch.setattr(module, name, numpy.zeros(1 << 18, dtype=numpy.uint64))
    texts = [b" ".join(b"w%d" % (n * 7919 % 60_000) for n in range(at, at + 3_000)) for at in range(0, 60_000, 1_500)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(hashes, texts))
    finally:
        sys.setswitchinterval(interval)
    assert found == [[digest(word) for word in text.split()] for text in texts]
