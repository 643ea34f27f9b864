"""`item_check`: answers to questions of several kinds, each judged by the rule of its row."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from ftsdk.errors import SpecError
from ftsdk.evals.examples import Example
from ftsdk.evals.scorers.choice import named_choices
from ftsdk.evals.scorers.numeric import numeric
from ftsdk.evals.scorers.scorer import Score, scorer

__all__ = ["item_check"]

_LETTERS = "ABCDEFGH"
_AT_START = re.compile(r"[\s\"'`*(\[]*([A-H])(?=[\s\"'`*)\].:,]*(?:$|[).:\n*]))")
"""A letter that stands alone: `B`, `(B)`, `**B**`, `B) Lisbon`, `B. Lisbon`; `A dog` is an article."""
_AFTER_WORD = re.compile(r"\b(?i:answer|option|choice|letter)\b(?i:\s+is)?[\s:\"'`*(\[]*([A-H])\b(?!\s+[a-z])")
_MOST_READ = 2000


@scorer
def item_check(example: Example, answer: str) -> Score:
    """Score 1 if the answer passes the rule in the column `check` of its row, else 0.

    The rules: `{"options": [...]}`, and the reference is the letter of one; `{"number": 7}`; `{"accept": [...]}`, texts
    of which one must be named as a whole word, and `"reject"`, texts of which none may be; `{"pattern": "..."}`, a
    regular expression for the whole answer.

    Args:
        example: With the column `check`.
        answer: What the model answered; what is beyond 2,000 characters isn't read.
    """
    check = example.columns.get("check")
    if not isinstance(check, Mapping):
        raise SpecError("item_check reads the column 'check' of each row; pass columns=('check',) to Eval.of")
    rule = cast("Mapping[str, Any]", check)
    text = answer[:_MOST_READ].strip()
    if "options" in rule:
        return _letter(text, rule["options"], example.expected)
    if "number" in rule:
        return numeric(example._replace(expected=str(rule["number"])), text)
    if "accept" in rule:
        return _named(text, rule["accept"], rule.get("reject", ()))
    if "pattern" in rule:
        is_right = re.fullmatch(rule["pattern"], text) is not None
        return Score(float(is_right), "follows the instruction" if is_right else "doesn't follow the instruction")
    raise SpecError(f"item_check knows the rules options, number, accept and pattern; got {sorted(rule)}")


def _letter(answer: str, options: Sequence[str], expected: str) -> Score:
    known = _LETTERS[: len(options)]
    found = _AT_START.match(answer) or _AFTER_WORD.search(answer)
    letter = found[1] if found is not None and found[1] in known else None
    if letter is None:
        named = named_choices(answer, tuple(options), ignore_case=True, where="anywhere")
        letter = known[options.index(named[0])] if len(named) == 1 else None
    if letter is None:
        return Score(0.0, "names no option, or several", None, expected)
    return Score(float(letter == expected), f"names {letter}", letter, expected)


def _named(answer: str, accepted: Sequence[str], rejected: Sequence[str]) -> Score:
    found = named_choices(answer, (*accepted, *rejected), ignore_case=True, where="anywhere")
    wrong = [name for name in found if name in rejected]
    if wrong:
        return Score(0.0, f"names {wrong[0]!r}")
    return Score(float(bool(found)), f"names {found[0]!r}" if found else f"doesn't name {accepted[0]!r}")
