"""What py3langid thinks of many texts, worked out for all of them at once: by itself it reads bytes one by one."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from itertools import islice, pairwise
from typing import Any

__all__ = ["classified"]

_TEXTS = 1_024
_PARTS = ("tk_nextmove", "tk_row", "tk_output", "nb_ptc", "nb_pc", "nb_classes")
"""What is read of an identifier: the automaton that finds features in bytes, and the weights of these."""


def classified(identifier: Any, texts: Sequence[str]) -> Iterator[tuple[str, float]]:
    """Yield the language of each text and its probability, as `identifier.classify` returns them.

    Args:
        identifier: A `py3langid.langid.LanguageIdentifier` with normalised probabilities.
        texts: The texts.
    """
    if not all(hasattr(identifier, name) for name in _PARTS):  # another version
        yield from map(identifier.classify, texts)
        return
    remaining = iter(texts)
    while part := list(islice(remaining, _TEXTS)):
        yield from _classified(identifier, [_encoded(text) for text in part])


def _encoded(text: str) -> bytes:
    plain = text.lower() if text.isupper() else text
    return unicodedata.normalize("NFC", plain).encode("utf-8", "surrogatepass")


def _classified(identifier: Any, texts: list[bytes]) -> Iterator[tuple[str, float]]:
    import numpy as np

    visits = _visits(identifier, texts)
    scores = np.zeros((len(texts), len(identifier.nb_classes)), dtype=np.float32)
    known, numbers = np.unique(np.concatenate(visits), return_inverse=True)
    weights = identifier.nb_ptc[known].astype(np.float32)  # of half precision, with which NumPy is slow
    rows = np.repeat(np.arange(len(texts)), [len(features) for features in visits])
    # What each text visits, ascending, and how often: sorted for all of them at once.
    visited, counts = np.unique(rows * max(len(known), 1) + numbers, return_counts=True)
    seen = np.log1p(counts.astype(np.float32))
    bounds = np.searchsorted(visited, np.arange(len(texts) + 1) * max(len(known), 1)).tolist()
    for row, (start, end) in enumerate(pairwise(bounds)):
        if end > start:
            features = visited[start:end] - row * len(known)
            scores[row] = seen[start:end] @ weights[features] + identifier.nb_pc
    lengths = np.array([max(len(text), 1) for text in texts])
    scores *= (1.0 / np.sqrt(lengths)).astype(np.float32)[:, None]
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    first: dict[str, int] = {}
    for column, name in enumerate(identifier.nb_classes):
        # Some languages have two columns, for two scripts.
        if (known := first.setdefault(name, column)) != column:
            scores[:, known] += scores[:, column]
            scores[:, column] = 0
    best = scores.argmax(axis=1)
    for column, probability in zip(best.tolist(), scores[np.arange(len(texts)), best].tolist(), strict=True):
        yield identifier.nb_classes[column], probability


def _visits(identifier: Any, texts: list[bytes]) -> list[Any]:
    """Return the features that each text visits, a NumPy array each: a byte of all texts is read at a time."""
    import numpy as np

    moves, outputs = np.asarray(identifier.tk_nextmove), np.asarray(identifier.tk_output)
    rows = np.asarray(identifier.tk_row).astype(np.int64) << 8
    longest = max(map(len, texts))
    letters = np.frombuffer(b"".join(text.ljust(longest, b"\0") for text in texts), dtype=np.uint8)
    letters = letters.reshape(len(texts), longest).T.astype(np.int64)
    found = np.empty((longest, len(texts)), dtype=np.int64)
    state = np.zeros(len(texts), dtype=np.int64)
    for place in range(longest):
        state = moves[rows[state] + letters[place]].astype(np.int64)
        found[place] = outputs[state]
    return [one[: len(text)][one[: len(text)] >= 0] for one, text in zip(found.T, texts, strict=True)]
