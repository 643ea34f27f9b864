"""How many tokens text may have, from its bytes: what is known of rows before a tokenizer is at hand."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ftsdk.spec import TokenGuess

__all__ = ["GUESSED_FROM", "Guess", "answer_guess", "guess_rows", "guess_sequences", "guess_tokens"]

GUESSED_FROM = "guessed from the text's letters, digits, signs and scripts"

_DIGITS = b"0123456789"
_SIGNS = bytes(code for code in range(128) if not chr(code).isalnum() and not chr(code).isspace())
_ASCII = bytes(range(128))

# Bytes a token, for few, likely and many tokens. Counted with SmolLM2's tokenizer of 49,152 words (many tokens) on 528 support mails (3.9 bytes
# of text a token), 2,000 rows of CLINC150 (4.2), 2,000 of GSM8K (2.8), JSON (1.5), Python (3.5), German (2.8), Russian (2.4), Hindi (2.3),
# Chinese (1.9) and emoji (1.6), 2026-11-24. Tokenizers of 128,000 words and more take fewer: digits by threes, most signs in pairs.
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


class Guess(NamedTuple):
    """Tokens, with 80 % confidence between `few` and `many`."""

    few: float
    likely: float
    many: float


def guess_tokens(text: str) -> Guess:
    """Guess the tokens of a text."""
    data = text.encode("utf-8", "replace")
    digits = len(data) - len(data.translate(None, _DIGITS))
    signs = len(data) - len(data.translate(None, _SIGNS))
    scripts = 0 if text.isascii() else len(data.translate(None, _ASCII))
    letters = len(data) - digits - signs - scripts
    few, likely, many = (letters / _LETTERS[n] + digits / _OF_DIGITS[n] + signs / _OF_SIGNS[n] + scripts / _OF_SCRIPTS[n] for n in range(3))
    if scripts > 0.005 * letters:
        many += letters / _OTHER_LANGUAGE - letters / _LETTERS[2]
    return Guess(few, likely, many)


def guess_sequences(row: Mapping[str, Any]) -> list[Guess]:
    """Guess the tokens of each sequence that a canonical row becomes, template included; a preference row is two."""
    if "messages" in row:
        return [_sequence(row["messages"])]
    return [_sequence([*row["prompt"], *row[side]]) for side in ("chosen", "rejected")]


def answer_guess(row: Mapping[str, Any]) -> float:
    """Guess the tokens of a row's answers."""
    if "messages" in row:
        return _added(guess_tokens(_text(m)) for m in row["messages"] if m["role"] == "assistant").likely
    return _added(guess_tokens(_text(m)) for side in ("chosen", "rejected") for m in row[side]).likely


def guess_rows(rows: Sequence[Mapping[str, Any]]) -> tuple[TokenGuess, TokenGuess]:
    """Guess the tokens of all sequences together, and of the longest one."""
    guesses = [guess for row in rows for guess in guess_sequences(row)]
    longest = max(guesses, key=lambda guess: guess.many, default=Guess(0, 0, 0))
    return _rounded(_added(guesses)), _rounded(longest)


def _sequence(messages: Sequence[Mapping[str, Any]]) -> Guess:
    text = _added(guess_tokens(_text(message)) for message in messages)
    return Guess(*(text[n] + len(messages) * _PER_MESSAGE[n] + _PER_ROW[n] for n in range(3)))


def _added(guesses: Iterable[Guess]) -> Guess:
    """Add exactly, so that the order of rows makes no difference in the last digit."""
    every = list(guesses)
    return Guess(*(math.fsum(guess[n] for guess in every) for n in range(3)))


def _rounded(guess: Guess) -> TokenGuess:
    return TokenGuess(few=round(guess.few), likely=round(guess.likely), many=round(guess.many))


def _text(message: Mapping[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else str(content or "")
