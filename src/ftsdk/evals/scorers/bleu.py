"""`bleu`: BLEU of single answers (Papineni et al. 2002); `corpus_bleu` sums up their counts."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

from ftsdk.errors import MissingExtraError
from ftsdk.evals.examples import Example
from ftsdk.evals.scorers.scorer import Score, scorer

__all__ = ["ORDER", "bleu"]

ORDER = 4
"""The longest n-gram."""


@scorer
def bleu(example: Example, answer: str, *, tokenize: Literal["13a", "intl", "char", "zh", "none"] = "13a") -> Score:
    """Score sentence BLEU between 0 and 1, as sacrebleu computes it. Needs the extra `evals`.

    Sentence BLEU is rough, and its mean isn't the BLEU of papers: that is the metric `corpus_bleu`, which sums up the
    counts in `parts`.

    Args:
        example: The prompt with its reference.
        answer: What the model answered.
        tokenize: sacrebleu's tokenizer: `"13a"` for most languages, `"zh"` or `"char"` where no spaces separate words.
    """
    found = _bleu(tokenize).sentence_score(answer, [example.expected])
    parts = {
        **{f"correct_{order}": float(count) for order, count in enumerate(found.counts, start=1)},
        **{f"total_{order}": float(count) for order, count in enumerate(found.totals, start=1)},
        "answer_length": float(found.sys_len),
        "reference_length": float(found.ref_len),
    }
    value = min(max(found.score / 100, 0.0), 1.0)  # 100.00000000000004 for equal texts
    return Score(value, f"{found.sys_len} tokens against {found.ref_len}", parts=parts)


@lru_cache(maxsize=8)
def _bleu(tokenize: str) -> Any:
    try:
        from sacrebleu.metrics.bleu import BLEU
    except ImportError as error:
        raise MissingExtraError("evals", needed_for="the scorer 'bleu'", missing=error.name) from error
    return BLEU(tokenize=tokenize, effective_order=True, max_ngram_order=ORDER)
