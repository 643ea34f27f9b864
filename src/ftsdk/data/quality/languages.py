"""The languages of a dataset, by py3langid."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ftsdk.data.quality.language_scores import classified
from ftsdk.errors import MissingExtraError

__all__ = ["Languages", "language_of", "languages"]

_FEWEST_LETTERS = 30
"""Shorter texts are often taken for another language."""
_LONGEST = 600
"""Characters that are read of each text."""
_SURE = 0.95


@dataclass(frozen=True, slots=True)
class Languages:
    """Which languages texts are in."""

    shares: dict[str, float]
    """By ISO 639-1 code, the share of the texts that were looked at and are sure, the largest first."""
    main: str | None
    """The most frequent one; None: no text was long enough."""
    others: dict[int, str]
    """By position, the texts that are surely in another language than the main one."""
    checked: int
    """Texts that were looked at and long enough."""


def languages(texts: Sequence[str], *, sample: int | None = 20_000) -> Languages:
    """Return which languages texts are in; about 10,000 texts/s.

    Args:
        texts: The texts. Those with fewer than 30 letters are left out.
        sample: Look at this many, evenly spread; None: all of them.

    Raises:
        MissingExtraError: py3langid isn't installed.
    """
    identifier = _identifier()
    step = 1 if sample is None or len(texts) <= sample else len(texts) / sample
    positions = range(len(texts)) if step == 1 else (int(n * step) for n in range(sample or 0))
    looked_at = ((position, texts[position][:_LONGEST]) for position in positions)
    long_enough = {position: text for position, text in looked_at if _has_letters(text)}
    judged = classified(identifier, list(long_enough.values()))
    found = {
        position: language
        for position, (language, probability) in zip(long_enough, judged, strict=True)
        if probability >= _SURE
    }
    counts = Counter(found.values()).most_common()
    main = counts[0][0] if counts else None
    return Languages(
        {language: count / len(found) for language, count in counts},
        main,
        {position: language for position, language in found.items() if language != main},
        len(found),
    )


def language_of(text: str) -> str | None:
    """Return the language of one text by its ISO 639-1 code; None if it is too short, or could be another one.

    Raises:
        MissingExtraError: py3langid isn't installed.
    """
    if not _has_letters(text[:_LONGEST]):
        return None
    language, probability = _identifier().classify(text[:_LONGEST])
    return str(language) if probability >= _SURE else None


def _has_letters(text: str) -> bool:
    return sum(map(str.isalpha, text)) >= _FEWEST_LETTERS


@functools.cache
def _identifier() -> Any:
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ImportError as error:
        raise MissingExtraError("data", needed_for="finding languages", missing=error.name) from error
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
