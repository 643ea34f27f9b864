"""`json_valid`: the answer is JSON, and nothing else."""

from __future__ import annotations

from ftsdk.evals.examples import Example
from ftsdk.evals.scorers.json_answers import NotJson, read_json
from ftsdk.evals.scorers.scorer import Score, scorer

__all__ = ["json_valid"]


@scorer
def json_valid(example: Example, answer: str, *, allow_fence: bool = False) -> Score:
    """Score 1 if the answer is JSON (RFC 8259: no `NaN`, no comments, no text around it), else 0.

    Args:
        example: Not looked at.
        answer: What the model answered.
        allow_fence: Accept one fenced code block of Markdown around it.
    """
    del example
    try:
        read_json(answer, allow_fence=allow_fence)
    except NotJson as error:
        return Score(0.0, str(error))
    return Score(1.0, "JSON")
