"""Estimates of how many tokens a text has, from its bytes, for when no tokenizer is at hand."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftsdk.models.chat_template import message_text
from ftsdk.spec import Range

__all__ = ["GUESSED_FROM", "TokenGuesses", "guess_rows", "guess_tokens", "guess_turns"]

GUESSED_FROM = "guessed from the text's letters, digits, signs and scripts"

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
_KINDS = bytes(
    3 if code > 127 else 1 if chr(code).isdigit() else 0 if chr(code).isalnum() or chr(code).isspace() else 2
    for code in range(256)
)
"""The kind of each byte: 0 letters and blanks, 1 digits, 2 signs, 3 what is beyond ASCII."""
_ROWS = 1024


@dataclass(frozen=True, slots=True)
class TokenGuesses:
    """The tokens of rows, template included."""

    sequences: Any
    """NumPy array of float64, shape (rows, sequences of a row, 3): low, likely and high. A preference row has two."""
    answers: Any
    """NumPy array of float64, shape (rows,): likely tokens of the answers."""

    def total_and_longest(self) -> tuple[Range, Range]:
        """Return the tokens of all sequences together, and those of the longest one."""
        every = self.sequences.reshape(-1, 3)
        longest = every[every[:, 2].argmax()]
        # Exactly, so that the order of rows makes no difference in the last digit.
        return _rounded([math.fsum(every[:, n].tolist()) for n in range(3)]), _rounded(longest.tolist())


def guess_tokens(text: str) -> tuple[float, float, float]:
    """Guess the tokens of a text.

    Returns:
        Low, likely and high: with 80 % confidence between the outer two.
    """
    low, likely, high = _guess([text])[0].tolist()
    return low, likely, high


def guess_rows(rows: Iterable[Mapping[str, Any]]) -> TokenGuesses:
    """Estimate the tokens of canonical rows, all of one format."""
    import numpy

    remaining = iter(rows)
    sequences: list[Any] = []
    answers: list[Any] = []
    while chunk := list(itertools.islice(remaining, _ROWS)):
        if "messages" in chunk[0]:
            total, answer = _lists([_read(row, "messages") for row in chunk])
            sequences.append(total[:, None])
        else:
            # The prompt is in both sequences, and so is what the template adds to a row.
            prompt, _ = _lists([_read(row, "prompt") for row in chunk])
            sides = [_lists([row[side] for row in chunk]) for side in ("chosen", "rejected")]
            sequences.append(numpy.stack([prompt + total - numpy.asarray(_PER_ROW) for total, _ in sides], axis=1))
            answer = sides[0][0][:, 1] + sides[1][0][:, 1] - 2 * (_PER_ROW[1] + _PER_MESSAGE[1])
        answers.append(answer)
    return TokenGuesses(numpy.concatenate(sequences), numpy.concatenate(answers))


def guess_turns(rows: Iterable[Mapping[str, Any]], *, sequences: int) -> TokenGuesses:
    """Estimate the tokens of conversations whose turns are trained one by one: each with all that comes before it.

    Args:
        rows: Canonical chat rows.
        sequences: How many training sequences they are. Rows with several answers are taken apart, evenly spread, until
            there are so many.
    """
    return guess_rows(_by_turn(list(rows), sequences))


def _by_turn(rows: Sequence[Mapping[str, Any]], sequences: int) -> Iterator[Mapping[str, Any]]:
    turns = [
        [n for n, message in enumerate(row["messages"]) if message["role"] == "assistant" and "weight" not in message]
        for row in rows
    ]
    most = sum(max(1, len(found)) for found in turns)
    share = 1.0 if most == len(rows) else min(1.0, max(0.0, (sequences - len(rows)) / (most - len(rows))))
    several = 0
    for row, found in zip(rows, turns, strict=True):
        several += len(found) > 1
        if len(found) > 1 and int(several * share) > int((several - 1) * share):
            for turn in found:
                # What was answered before is read, not trained.
                before = [
                    {**message, "role": "user"} if message["role"] == "assistant" else message
                    for message in row["messages"][:turn]
                ]
                yield {**row, "messages": [*before, row["messages"][turn]]}
        else:
            yield row


def _read(row: Mapping[str, Any], side: str) -> list[Mapping[str, Any]]:
    """Return the messages of a row, and its tools, which templates show before them."""
    if "tools" not in row:
        return row[side]
    return [{"role": "system", "content": json.dumps(row["tools"], ensure_ascii=False)}, *row[side]]


def _lists(lists: list[list[Mapping[str, Any]]]) -> tuple[Any, Any]:
    """Return the tokens of each list of messages, shape (N, 3), and the likely ones of what the assistant says."""
    import numpy

    said = list(itertools.chain.from_iterable(lists))
    guesses = _guess(list(map(message_text, said))).reshape(-1, 3)
    row = numpy.repeat(numpy.arange(len(lists)), list(map(len, lists)))
    totals = numpy.tile(numpy.asarray(_PER_ROW, dtype=float), (len(lists), 1))
    numpy.add.at(totals, row, guesses + numpy.asarray(_PER_MESSAGE))
    is_answer = numpy.fromiter((message["role"] == "assistant" for message in said), dtype=bool, count=len(said))
    answers = numpy.bincount(row, weights=guesses[:, 1] * is_answer, minlength=len(lists))
    return totals, answers


def _guess(texts: list[str]) -> Any:
    """Return low, likely and high for each text, shape (N, 3)."""
    import numpy

    contents = [text.encode("utf-8", "replace") for text in texts]
    lengths = numpy.fromiter(map(len, contents), dtype=numpy.int64, count=len(contents))
    kinds = numpy.frombuffer(b"".join(contents).translate(_KINDS), dtype=numpy.uint8)
    ends = numpy.cumsum(lengths)
    digits, signs, scripts = (
        numpy.diff(numpy.searchsorted(numpy.flatnonzero(kinds == kind), ends), prepend=0) for kind in (1, 2, 3)
    )
    letters = lengths - digits - signs - scripts
    bytes_a_token = zip(_LETTERS, _OF_DIGITS, _OF_SIGNS, _OF_SCRIPTS, strict=True)
    found = numpy.stack([letters / a + digits / b + signs / c + scripts / d for a, b, c, d in bytes_a_token], axis=1)
    is_foreign = scripts > 0.005 * letters
    found[:, 2] += is_foreign * (letters / _OTHER_LANGUAGE - letters / _LETTERS[2])
    return found


def _rounded(guess: list[float]) -> Range:
    low, likely, high = guess
    return Range(low=round(low), likely=round(likely), high=round(high))
