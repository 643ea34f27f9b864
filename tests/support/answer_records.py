"""Records of answers, as a router writes them."""

from __future__ import annotations

from typing import Any

from ftsdk.deploy.router.records import AnswerRecord

__all__ = ["answer_record"]


def answer_record(name: str, **changes: Any) -> AnswerRecord:
    """A request that the tuned model answered, and that nobody has judged."""
    fields: dict[str, Any] = {
        "id": name,
        "at": 1_764_000_000.0,
        "route": "mails",
        "arm": "v3",
        "role": "tuned",
        "version": "v3",
        "rollout": "r-1",
        "provider": "openai",
        "request_model": "mails",
        "response_model": "mails-v3",
        "streamed": False,
        "outcome": "answered",
        "error": None,
        "fallback_reason": None,
        "finish_reason": "stop",
        "input_tokens": 100,
        "output_tokens": 2,
        "duration_s": 0.2,
        "first_token_s": None,
        "cost_usd": 0.001,
        "accepted": None,
        "accepted_by": None,
        "slice": None,
        "attempts": (),
    }
    return AnswerRecord(**{**fields, **changes})
