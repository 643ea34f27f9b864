"""An answer for a program, or the error that says why there is none."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ftsdk._rich_text import rich_text
from ftsdk.deploy.router.records import AnswerRecord
from ftsdk.deploy.router.requests import Routed
from ftsdk.errors import BackendError, BudgetExceededError

__all__ = ["RoutedAnswer", "answer_of"]


@dataclass(frozen=True, kw_only=True)
class RoutedAnswer:
    """An answer, and how it came about."""

    text: str
    id: str
    """What `Router.feedback` takes."""
    record: AnswerRecord
    body: Mapping[str, Any]
    """The target's answer, as it came."""

    def __str__(self) -> str:
        return self.text

    __rich__ = rich_text


def answer_of(routed: Routed) -> RoutedAnswer:
    """Return the answer of a request.

    Raises:
        BackendError: There is none.
        BudgetExceededError: For want of money.
    """
    refusal = routed.refusal
    if refusal is not None:
        if refusal.word == "budget":
            raise BudgetExceededError(refusal.message)
        raise BackendError(
            refusal.message,
            retryable=refusal.status in (429, 502, 503, 504),
            retry_after_s=refusal.retry_after_s,
            status_code=refusal.status,
        )
    assert routed.answer is not None
    return RoutedAnswer(
        text=routed.answer.text, id=routed.record.id, record=routed.record, body=json.loads(routed.answer.body)
    )
