"""`contains`: the answer has the reference, or given texts, somewhere in it."""

from __future__ import annotations

from typing import Literal

from ftsdk.errors import SpecError
from ftsdk.evals.examples import Example
from ftsdk.evals.scorers.scorer import Score, scorer

__all__ = ["contains"]


@scorer
def contains(
    example: Example,
    answer: str,
    *,
    texts: tuple[str, ...] = (),
    need: Literal["all", "any"] = "all",
    ignore_case: bool = False,
) -> Score:
    """Score 1 if the answer contains the reference, or the given texts, else 0.

    Args:
        example: The prompt with its reference.
        answer: What the model answered.
        texts: What to look for in every answer; by default the reference of the example, without whitespace around it.
        need: Whether `"all"` texts must be there, or `"any"` of them.
        ignore_case: Accept `Travel` for `travel`.
    """
    wanted = texts or (example.expected.strip(),)
    if not all(wanted):
        raise SpecError("every answer contains an empty text; contains needs references, or texts, with characters")

    def normal(text: str) -> str:
        return text.casefold() if ignore_case else text

    missing = [text for text in wanted if normal(text) not in normal(answer)]
    is_right = not missing if need == "all" else len(missing) < len(wanted)
    reason = "contains it" if not missing else f"{len(missing)} of {len(wanted)} missing: {missing[0][:60]!r}"
    return Score(float(is_right), reason)
