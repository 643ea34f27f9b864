"""`regex`: the answer matches a pattern, or what the pattern finds in it equals the reference."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from ftsdk.evals.examples import Example
from ftsdk.evals.scorers.scorer import Score, scorer
from ftsdk.evals.scorers.timed_patterns import check_pattern, compiled

__all__ = ["regex"]


@scorer
def regex(
    example: Example,
    answer: str,
    *,
    pattern: Annotated[str, AfterValidator(check_pattern)],
    compare: bool = False,
    which: Literal["first", "last"] = "first",
    whole: bool = False,
    ignore_case: bool = False,
    timeout_s: Annotated[float, Field(gt=0, le=3600)] = 1.0,
) -> Score:
    """Score 1 if the pattern matches somewhere in the answer; with `compare`, if what it finds equals the reference.

    Needs the extra `evals`: the package `regex` reads patterns of Python's `re`, and can stop one that backtracks for
    ever. Such an answer scores 0.

    Args:
        example: The prompt with its reference.
        answer: What the model answered.
        pattern: A regular expression; flags such as `(?s)` may stand at its start.
        compare: Compare the first group of the match, or the whole match if there is none, with the reference,
            whitespace around both aside.
        which: The match to compare, where there are several.
        whole: The pattern must match the whole answer, whitespace around it aside.
        ignore_case: Upper and lower case are the same, in the comparison too.
        timeout_s: Longest time for one answer, in seconds.
    """
    try:
        rule = compiled(pattern, ignore_case=ignore_case)
        match = _match(rule, answer.strip() if whole else answer, which, whole, timeout_s)
    except TimeoutError:
        return Score(0.0, f"the pattern took longer than {timeout_s:g} s on this answer")
    if match is None:
        return Score(0.0, "the pattern doesn't match")
    if not compare:
        return Score(1.0, "the pattern matches")
    found = str((match.group(1) if match.re.groups else match.group()) or "").strip()
    expected = example.expected.strip()
    is_equal = found.casefold() == expected.casefold() if ignore_case else found == expected
    relation = "equals" if is_equal else "differs from"
    return Score(float(is_equal), f"finds {found[:80]!r}, which {relation} the reference")


def _match(pattern: Any, text: str, which: str, whole: bool, timeout_s: float) -> Any:
    if whole:
        return pattern.fullmatch(text, timeout=timeout_s)
    if which == "first":
        return pattern.search(text, timeout=timeout_s)
    last = None
    for match in pattern.finditer(text, timeout=timeout_s):
        last = match
    return last
