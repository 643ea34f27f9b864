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

_MOST_READ = 2000


@scorer
def item_check(example: Example, answer: str) -> Score:
    """Score 1 if the answer passes the rule in the column `check` of its row, else 0.

    The rules: `{"number": 7}`; `{"accept": [...]}`, texts of which one must be named as a whole word, and `"reject"`,
    texts of which none may be; `{"pattern": "..."}`, a regular expression for the whole answer.

    Args:
        example: With the column `check`.
        answer: What the model answered; what is beyond 2,000 characters isn't read.
    """
    check = example.columns.get("check")
    if not isinstance(check, Mapping):
        raise SpecError("item_check reads the column 'check' of each row; pass columns=('check',) to Eval.of")
    rule = cast("Mapping[str, Any]", check)
    text = answer[:_MOST_READ].replace("’", "'").strip()
    if "number" in rule:
        return numeric(example._replace(expected=str(rule["number"])), text)
    if "accept" in rule:
        return _named(text, rule["accept"], rule.get("reject", ()))
    if "pattern" in rule:
        is_right = re.fullmatch(rule["pattern"], text) is not None
        return Score(float(is_right), "follows the instruction" if is_right else "doesn't follow the instruction")
    raise SpecError(f"item_check knows the rules number, accept and pattern; got {sorted(rule)}")


def _named(answer: str, accepted: Sequence[str], rejected: Sequence[str]) -> Score:
    found = named_choices(answer, (*accepted, *rejected), ignore_case=True, where="anywhere")
    wrong = [name for name in found if name in rejected]
    if wrong:
        return Score(0.0, f"names {wrong[0]!r}")
    return Score(float(bool(found)), f"names {found[0]!r}" if found else f"doesn't name {accepted[0]!r}")
