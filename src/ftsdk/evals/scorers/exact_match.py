"""`exact_match`: the answer is the reference, or it isn't."""

from __future__ import annotations

import re

from ftsdk.evals.examples import Example
from ftsdk.evals.scorers.scorer import Score, scorer

__all__ = ["WRONG_FORM", "exact_match"]

_OTHER_CASE = "differs from the reference only in case or surrounding whitespace"
_AMONG_OTHERS = "differs from the reference, but contains it"
WRONG_FORM = frozenset({_OTHER_CASE, _AMONG_OTHERS})
"""Reasons for 0 where the answer may be right, and its form isn't."""
_SHORT = 3
"""Letters up to which a reference is looked for in its own case: `A` isn't found in `a dog`."""


@scorer
def exact_match(example: Example, answer: str, *, ignore_case: bool = False, strip: bool = True) -> Score:
    """Score 1 if the answer equals the reference, else 0.

    Args:
        example: The prompt with its reference.
        answer: What the model answered.
        ignore_case: Accept `Travel` for `travel`.
        strip: Ignore whitespace around both texts.
    """

    def normal(text: str) -> str:
        text = text.strip() if strip else text
        return text.casefold() if ignore_case else text

    if normal(answer) == normal(example.expected):
        return Score(1.0, "equals the reference")
    expected = example.expected.strip()
    if answer.strip().casefold() == expected.casefold():
        return Score(0.0, _OTHER_CASE)
    return Score(0.0, _AMONG_OTHERS if _has_words(answer, expected) else "differs from the reference")


def _has_words(answer: str, expected: str) -> bool:
    """Return whether the reference is in the answer as whole words."""
    if len(expected) > _SHORT:
        answer, expected = answer.casefold(), expected.casefold()
    return bool(expected) and re.search(rf"(?<!\w){re.escape(expected)}(?!\w)", answer) is not None
