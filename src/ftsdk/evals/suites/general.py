"""`general`: 120 short questions about what any assistant should be able to do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftsdk.evals.eval import Eval
from ftsdk.evals.suites.item_check import item_check
from ftsdk.evals.suites.suite_rows import SuiteRows, chat_row, read_prompts

__all__ = ["TOPICS", "general"]

TOPICS = ("facts", "arithmetic", "instructions", "reading", "common_sense", "code")
"""Twenty questions each."""
_MAX_NEW_TOKENS = 64
_RULES = ("options", "number", "accept", "reject", "pattern")


def general() -> list[Eval]:
    """Return one eval, `general`: is the tuned model as good as before at what it wasn't trained for?

    120 questions in English: facts and common sense by letter, arithmetic, following instructions, reading, and code.
    The report has the score for each topic. Answers are judged by rules, without a model.

    Where a tenth of the verdicts differ between two models, the paired interval reaches about 6 points to each side: a
    loss of a point or two can't be seen.
    """
    rows = [_row(topic, item) for topic in TOPICS for item in read_prompts(f"general_{topic}")]
    return [
        Eval.of(
            SuiteRows("suite general", rows),
            item_check,
            name="general",
            max_new_tokens=_MAX_NEW_TOKENS,
            slices=("topic",),
            columns=("check",),
        )
    ]


def _row(topic: str, item: Mapping[str, Any]) -> dict[str, Any]:
    question = item["question"]
    if "options" in item:
        listed = "\n".join(f"{letter}) {option}" for letter, option in zip("ABCDEFGH", item["options"], strict=False))
        question = f"{question}\n\n{listed}\n\nAnswer with the letter."
    expected = str(item["answer"] if "answer" in item else item["number"])
    return chat_row(question, expected, topic=topic, check={key: item[key] for key in _RULES if key in item})
