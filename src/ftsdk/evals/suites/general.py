"""`general`: 152 short questions about what any assistant should be able to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftsdk.evals.eval import Eval
from ftsdk.evals.suites.item_check import item_check
from ftsdk.evals.suites.suite_rows import SuiteRows, chat_row, read_prompts

__all__ = ["TOPICS", "general"]

TOPICS = ("facts", "arithmetic", "instructions", "reading", "language", "common_sense", "code")
"""Twenty to twenty-four questions each."""
_MAX_NEW_TOKENS = 64
_RULES = ("number", "accept", "reject", "pattern")


def general() -> list[Eval]:
    """Return one eval, `general`: is the tuned model as good as before at what it wasn't trained for?

    152 questions in English: facts, arithmetic, following instructions, reading, language, common sense and code. The
    report has the score for each topic. Answers are judged by rules, without a model. Nothing is asked by letter: small
    models answer A to whatever is, so that they could lose what they know without a change of the score.

    A loss of 10 points is seen where at most a sixth of the verdicts differ between the two models; a loss of a point
    or two can't be.
    """
    rows = [_row(topic, item) for topic in TOPICS for item in read_prompts(f"general_{topic}")]
    return [
        Eval.of(
            SuiteRows("suite general", rows, recipe={"suite": "general"}),
            item_check,
            name="general",
            max_new_tokens=_MAX_NEW_TOKENS,
            slices=("topic",),
            columns=("check",),
        )
    ]


def _row(topic: str, item: Mapping[str, Any]) -> dict[str, Any]:
    expected = str(item["answer"] if "answer" in item else item["number"])
    return chat_row(item["question"], expected, topic=topic, check={key: item[key] for key in _RULES if key in item})
