"""What a target gave for one example: its answer or an error, and what that took."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

__all__ = ["Answer"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """The answer to one conversation, or the error that came in its place."""

    text: str
    """Empty if there was an error."""
    error: str | None = None
    """Why there is no answer. It counts as the worst score, and the next evaluation asks again."""
    is_cut: bool | None = None
    """Whether it ended at the limit of its tokens; None: not known."""
    input_tokens: int | None = None
    """Tokens of the prompt; None: not counted."""
    output_tokens: int | None = None
    """Tokens of the answer, reasoning included; None: not counted."""
    seconds: float | None = None
    """Wall-clock time of the request, or its share of the time of its batch; None: not measured."""
    usd: Decimal | None = None
    """What it cost, in US dollars; None: not known."""
