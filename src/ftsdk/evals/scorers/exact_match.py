"""`exact_match`: the answer is the reference, or it isn't."""

from __future__ import annotations

from ftsdk.evals.examples import Example
from ftsdk.evals.scorers.scorer import Score, scorer

__all__ = ["exact_match"]


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
    is_near = answer.strip().casefold() == example.expected.strip().casefold()
    return Score(
        0.0,
        "differs from the reference only in case or surrounding whitespace"
        if is_near
        else "differs from the reference",
    )
