"""The words of texts, cut once for all that is compared."""

from __future__ import annotations

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsdk.data import mapped_arrays
from ftsdk.data.duplicates.hashed_words import HashedWords, JoinedWords, WordNgrams
from ftsdk.data.duplicates.shingles import CutTexts, WordShingles
from ftsdk.data.limits import DataLimits
from ftsdk.data.text_column import TextColumn

CHOICE = ["one", "TWO", "thr\u0301ee", "\u0301", "四五", "\x1c", "six\u00a0seven", "x" * 20]
WORDS = st.lists(st.sampled_from(CHOICE), max_size=9)
TEXTS = st.lists(WORDS.map(" ".join), min_size=1, max_size=6)


@settings(deadline=None, max_examples=60)
@given(TEXTS, st.data())
def test_ngrams_of_words_are_those_of_the_texts(texts: list[str], draw: st.DataObject) -> None:
    rows = numpy.array(draw.draw(st.lists(st.integers(0, len(texts) - 1), max_size=8)), dtype=numpy.int64)
    for given_as in (texts, TextColumn(texts)):
        found = WordNgrams(HashedWords(given_as), 2).at(rows)
        expected = CutTexts(texts, WordShingles(2)).at(rows)
        assert found.hashes.tolist() == expected.hashes.tolist()
        assert found.offsets.tolist() == expected.offsets.tolist()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(WORDS.map(" ".join), WORDS.map(" ".join)), min_size=1, max_size=6))
def test_words_of_two_texts_are_those_of_both_in_lines(pairs: list[tuple[str, str]]) -> None:
    joined = JoinedWords(*(HashedWords([pair[side] for pair in pairs]) for side in range(2)))
    whole = HashedWords([f"{one}\n{other}" for one, other in pairs])
    rows = numpy.arange(len(pairs))
    assert joined.counts.tolist() == whole.counts.tolist()
    for found, expected in zip(joined.at(rows), whole.at(rows), strict=True):
        assert found.tolist() == expected.tolist()


def test_words_beyond_the_limit_of_memory_are_mapped(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"word {n} of many" for n in range(3_000)]
    in_memory = HashedWords(texts)
    monkeypatch.setattr(mapped_arrays, "LIMITS", DataLimits(memory_bytes=1_000))
    mapped = HashedWords(texts)
    for rows in (numpy.arange(3_000), numpy.array([2_999, 0, 7])):
        for found, expected in zip(mapped.at(rows), in_memory.at(rows), strict=True):
            assert found.tolist() == expected.tolist()
    assert mapped.at(numpy.arange(5))[0].flags.writeable is False
