"""`rouge`: how much of the reference's wording the answer has, as an F score (Lin 2004)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Literal

from ftsdk.errors import MissingExtraError
from ftsdk.evals.examples import Example
from ftsdk.evals.scorers.scorer import Score, scorer

__all__ = ["rouge"]

Variant = Literal["rouge1", "rouge2", "rougeL"]
_LONGEST = 100_000
"""Characters of a text that are compared: the longest common subsequence takes quadratic time."""
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|[^\W_]+")


@scorer
def rouge(example: Example, answer: str, *, variant: Variant = "rougeL", stemmer: bool = False) -> Score:
    """Score the F of ROUGE, between 0 and 1. Needs the extra `evals` (rouge-score).

    Words are runs of letters and digits of any script, in lower case; each Chinese or Japanese character is one. For
    English the values are those of rouge-score. Only the first 100,000 characters of each text are compared.

    Args:
        example: The prompt with its reference.
        answer: What the model answered.
        variant: Single words (`"rouge1"`), pairs of them, or the longest common subsequence (`"rougeL"`).
        stemmer: Compare the stems of English words (Porter); other scripts are left out then.
    """
    found = _scorer(variant, stemmer).score(example.expected[:_LONGEST], answer[:_LONGEST])[variant]
    parts = {"precision": float(found.precision), "recall": float(found.recall)}
    is_cut = max(len(answer), len(example.expected)) > _LONGEST
    reason = f"precision {found.precision:.3f}, recall {found.recall:.3f}{', of the beginning' if is_cut else ''}"
    return Score(float(found.fmeasure), reason, parts=parts)


class _Words:
    def tokenize(self, text: str) -> list[str]:
        """Return the words of a text."""
        return _WORD.findall(text.lower())


@lru_cache(maxsize=8)
def _scorer(variant: Variant, stemmer: bool) -> Any:
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise MissingExtraError("evals", needed_for="the scorer 'rouge'", missing=error.name) from error
    return RougeScorer([variant], use_stemmer=True) if stemmer else RougeScorer([variant], tokenizer=_Words())
