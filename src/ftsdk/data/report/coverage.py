"""What production asks and the data lacks: queries without a similar prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ftsdk.data.report.excerpts import MOST_EXAMPLES, excerpt
from ftsdk.data.report.finding import Example, Finding, make_finding
from ftsdk.errors import MissingExtraError

__all__ = ["coverage_finding"]

_SIMILAR = 0.35
"""The least cosine of TF-IDF vectors of words, word pairs and groups of 3 and 4 letters. On CLINC150, 3% of the test
messages are below it, and 44% of those that none of its classes covers."""
_MOST_PROMPTS = 100_000
_ROWS = 4_096
_MUCH = 0.05
"""Share of queries from which on the finding is a warning."""


def coverage_finding(prompts: Sequence[str], queries: Sequence[str]) -> Finding | None:
    """Return the queries that have no similar prompt; None if all have one.

    Of more than 100,000 prompts, as many are compared, evenly spread.

    Raises:
        MissingExtraError: scikit-learn isn't installed.
    """
    try:
        import scipy.sparse
        from sklearn.feature_extraction.text import TfidfVectorizer
    except ImportError as error:
        raise MissingExtraError("data", needed_for="comparing queries", missing=error.name) from error
    import numpy as np

    make: Any = TfidfVectorizer  # its stubs know float64 only
    step = max(1, -(-len(prompts) // _MOST_PROMPTS))
    known = list(prompts) if step == 1 else [text for n, text in enumerate(prompts) if n % step == 0]
    kinds: tuple[dict[str, Any], ...] = ({"ngram_range": (1, 2)}, {"analyzer": "char_wb", "ngram_range": (3, 4)})
    similarity = np.zeros(len(queries))
    parts: list[tuple[Any, Any]] = []
    for options in kinds:
        vectorizer = make(sublinear_tf=True, dtype=np.float32, **options)
        try:
            fitted = vectorizer.fit_transform(known)
        except ValueError:  # no words in any prompt
            continue
        parts.append((vectorizer.transform(queries), fitted))
    if parts:
        asked: Any = scipy.sparse.hstack([part[0] for part in parts]).tocsr()
        table: Any = scipy.sparse.hstack([part[1] for part in parts]).tocsr()
        for start in range(0, table.shape[0], _ROWS):
            found = (asked @ table[start : start + _ROWS].T).max(axis=1).toarray().ravel() / len(parts)
            similarity = np.maximum(similarity, found)
    rows = np.flatnonzero(similarity < _SIMILAR).tolist()
    if not rows:
        return None
    strangest = sorted(rows, key=lambda row: similarity[row])[:MOST_EXAMPLES]
    examples = [Example(row=row, line=row + 1, excerpt=excerpt(queries[row]), dataset="queries") for row in strangest]
    detail = f"of {len(queries):,} queries"
    if step > 1:
        detail += f", compared with {len(known):,} of {len(prompts):,} prompts, evenly spread"
    is_much = len(rows) > _MUCH * len(queries)
    return make_finding(
        "coverage", rows, len(queries), examples, detail=detail, severity="warning" if is_much else "note"
    )
