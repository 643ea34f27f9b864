"""`chrf`: chrF (Popović 2015), the F score of character n-grams, and chrF++; `corpus_chrf` sums up the counts."""

from __future__ import annotations

from collections import Counter
from typing import Any, Literal, cast

from ftsdk.errors import MissingExtraError
from ftsdk.evals.examples import Example
from ftsdk.evals.scorers.scorer import Score, scorer

__all__ = ["BETA", "ORDER", "chrf", "f_of_averages", "orders"]

ORDER = 6
"""The longest n-gram, in characters."""
BETA = 2
"""Recall counts so many times as much as precision."""


@scorer
def chrf(example: Example, answer: str, *, word_order: Literal[0, 1, 2] = 0) -> Score:
    """Score chrF2 between 0 and 1, with the values of sacrebleu, whose n-grams it counts. Needs the extra `evals`.

    It needs no tokenizer, so it suits every language. The metric `corpus_chrf` sums up the counts in `parts`.

    Args:
        example: The prompt with its reference.
        answer: What the model answered.
        word_order: The longest n-gram of words that counts beside those of characters: 2 is chrF++, 0 plain chrF.
    """
    parts: dict[str, float] = {}
    averages: list[tuple[float, float]] = []
    pairs = zip(_ngrams(answer, word_order), _ngrams(example.expected, word_order), strict=True)
    for order, (found, expected) in zip(orders(word_order), pairs, strict=True):
        # As sacrebleu counts: n-grams of an order that the reference doesn't have are no mistakes.
        n_found, n_expected = found.total() if expected else 0, expected.total()
        n_common = (found & expected).total()
        parts |= {f"answer_{order}": n_found, f"reference_{order}": n_expected, f"common_{order}": n_common}
        if n_found and n_expected:
            averages.append((n_common / n_found, n_common / n_expected))
    count = max(len(averages), 1)
    precision, recall = sum(one for one, _ in averages) / count, sum(other for _, other in averages) / count
    return Score(f_of_averages(precision, recall), f"precision {precision:.3f}, recall {recall:.3f}", parts=parts)


def orders(word_order: int) -> list[str]:
    """Return the names of the orders in `parts`: those of characters, then those of words."""
    return [*(f"{order}" for order in range(1, ORDER + 1)), *(f"word_{order}" for order in range(1, word_order + 1))]


def _ngrams(text: str, word_order: int) -> list[Counter[str]]:
    """Return the n-grams of a text, order by order, as sacrebleu takes them."""
    try:
        from sacrebleu.metrics.chrf import CHRF
        from sacrebleu.metrics.helpers import extract_all_char_ngrams, extract_word_ngrams
    except ImportError as error:
        raise MissingExtraError("evals", needed_for="the scorer 'chrf'", missing=error.name) from error
    text = text.rstrip()
    found = cast("list[Counter[str]]", extract_all_char_ngrams(text, ORDER))
    if word_order:
        words = cast("Any", CHRF)()._remove_punctuation(text)
        found += [cast("Counter[str]", extract_word_ngrams(words, order)) for order in range(1, word_order + 1)]
    return found


def f_of_averages(precision: float, recall: float) -> float:
    """Return the F score of averages over the orders."""
    if not precision + recall:
        return 0.0
    return (1 + BETA**2) * precision * recall / (BETA**2 * precision + recall)
