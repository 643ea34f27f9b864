"""Estimates of how many tokens a text has, from its bytes, for when no tokenizer is at hand."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ftsdk.spec import Range

__all__ = ["GUESSED_FROM", "RowGuess", "guess_row", "guess_tokens", "total_and_longest"]

GUESSED_FROM = "guessed from the text's letters, digits, signs and scripts"

_DIGITS = b"0123456789"
_SIGNS = bytes(code for code in range(128) if not chr(code).isalnum() and not chr(code).isspace())
_ASCII = bytes(range(128))

# Bytes a token, for few, likely and many tokens. Counted with SmolLM2's tokenizer of 49,152 words (many tokens) on 528
# support mails (3.9 bytes of text a token), 2,000 rows of CLINC150 (4.2), 2,000 of GSM8K (2.8), JSON (1.5), Python
# (3.5), German (2.8), Russian (2.4), Hindi (2.3), Chinese (1.9) and emoji (1.6), 2026-11-24. Tokenizers of 128,000
# words and more take fewer: digits by threes, most signs in pairs.
_LETTERS = (4.9, 4.2, 3.3)
_OTHER_LANGUAGE = 2.6
"""Letters a token, at worst, of text with accents, which isn't English."""
_OF_DIGITS = (3.0, 1.5, 1.0)
_OF_SIGNS = (2.5, 1.5, 1.1)
_OF_SCRIPTS = (4.5, 2.6, 1.35)
"""Bytes beyond ASCII."""
_PER_MESSAGE = (3, 5, 6)
_PER_ROW = (0, 8, 24)
"""Of the template: 25 to 32 a row with SmolLM2, of which its own system prompt is 20; others have none."""


_Interval = tuple[float, float, float]
"""Low, likely, high: plain, since one is made for every message of a plan."""


def guess_tokens(text: str) -> _Interval:
    """Guess the tokens of a text.

    Returns:
        Low, likely and high: with 80 % confidence between the outer two.
    """
    data = text.encode("utf-8", "replace")
    digits = len(data) - len(data.translate(None, _DIGITS))
    signs = len(data) - len(data.translate(None, _SIGNS))
    scripts = 0 if text.isascii() else len(data.translate(None, _ASCII))
    letters = len(data) - digits - signs - scripts
    # Written out: this is called for every message of a plan.
    few = letters / _LETTERS[0] + digits / _OF_DIGITS[0] + signs / _OF_SIGNS[0] + scripts / _OF_SCRIPTS[0]
    likely = letters / _LETTERS[1] + digits / _OF_DIGITS[1] + signs / _OF_SIGNS[1] + scripts / _OF_SCRIPTS[1]
    many = letters / _LETTERS[2] + digits / _OF_DIGITS[2] + signs / _OF_SIGNS[2] + scripts / _OF_SCRIPTS[2]
    if scripts > 0.005 * letters:
        many += letters / _OTHER_LANGUAGE - letters / _LETTERS[2]
    return few, likely, many


class RowGuess(NamedTuple):
    """A row in tokens."""

    sequences: tuple[_Interval, ...]
    """Low, likely and high of each sequence that the row becomes, template included; a preference row is two."""
    answers: float
    """Likely tokens of its answers."""


def guess_row(row: Mapping[str, Any]) -> RowGuess:
    """Estimate the tokens of a canonical row."""
    if "messages" in row:
        said = [(message["role"], guess_tokens(_text(message))) for message in row["messages"]]
        answers = math.fsum(likely for role, (_, likely, _) in said if role == "assistant")
        return RowGuess((_sequence([guess for _, guess in said]),), answers)
    prompt, chosen, rejected = (
        [guess_tokens(_text(message)) for message in row[side]] for side in ("prompt", "chosen", "rejected")
    )
    answers = math.fsum(likely for _, likely, _ in (*chosen, *rejected))
    return RowGuess((_sequence([*prompt, *chosen]), _sequence([*prompt, *rejected])), answers)


def total_and_longest(rows: Sequence[RowGuess]) -> tuple[Range, Range]:
    """Return the tokens of all sequences together, and those of the longest one."""
    guesses = [guess for row in rows for guess in row.sequences]
    longest = max(guesses, key=lambda guess: guess[2], default=(0.0, 0.0, 0.0))
    # Exactly, so that the order of rows makes no difference in the last digit.
    low, likely, high = (math.fsum(guess[n] for guess in guesses) for n in range(3))
    return _rounded((low, likely, high)), _rounded(longest)


def _sequence(messages: Sequence[_Interval]) -> _Interval:
    few, likely, many = map(float, _PER_ROW)
    for low, middle, high in messages:
        few, likely, many = (
            few + low + _PER_MESSAGE[0],
            likely + middle + _PER_MESSAGE[1],
            many + high + _PER_MESSAGE[2],
        )
    return few, likely, many


def _rounded(guess: _Interval) -> Range:
    low, likely, high = guess
    return Range(low=round(low), likely=round(likely), high=round(high))


def _text(message: Mapping[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else str(content or "")
