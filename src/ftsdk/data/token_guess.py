"""Estimates of how many tokens a text has, from its bytes, for when no tokenizer is at hand."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from ftsdk.data.batches import Batch
from ftsdk.data.in_threads import in_threads
from ftsdk.data.message_columns import Messages, has_plain_messages, messages_of
from ftsdk.data.message_rows import message_lists
from ftsdk.data.row_sequence import RowSequence
from ftsdk.data.text_column import text_array, text_buffers
from ftsdk.models.chat_template import message_text, trained_turns
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
_FEW = 8 * _ROWS
"""Rows up to which threads take longer to start than they save."""


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
        Low, likely and high: with 80% confidence between the outer two.
    """
    low, likely, high = _guess(text_array([text]))[0].tolist()
    return low, likely, high


def guess_rows(rows: Iterable[Mapping[str, Any]]) -> TokenGuesses:
    """Estimate the tokens of canonical rows, all of one format."""
    import numpy

    is_large = isinstance(rows, RowSequence) and len(rows) > _FEW
    sides = chain.from_iterable(map(_sides, rows.batches())) if isinstance(rows, RowSequence) else _from_python(rows)
    sequences, answers = zip(*(in_threads if is_large else map)(_guess_batch, sides), strict=True)
    return TokenGuesses(numpy.concatenate(sequences), numpy.concatenate(answers))


def _guess_batch(sides: Mapping[str, Messages]) -> tuple[Any, Any]:
    """Return the tokens of the sequences and answers of some rows."""
    import numpy

    if "messages" in sides:
        total, answer = _totals(sides["messages"])
        return total[:, None], answer
    # The prompt is in both sequences, and so is what the template adds to a row.
    prompt, _ = _totals(sides["prompt"])
    both = [_totals(sides[side])[0] for side in ("chosen", "rejected")]
    answer = both[0][:, 1] + both[1][:, 1] - 2 * (_PER_ROW[1] + _PER_MESSAGE[1])
    return numpy.stack([prompt + total - numpy.asarray(_PER_ROW) for total in both], axis=1), answer


def _sides(batch: Batch) -> Iterable[dict[str, Messages]]:
    if not has_plain_messages(batch):
        return _from_python(RowSequence([batch], message_lists))
    return ({side: messages_of(batch.arrow.column(side)) for side in batch.arrow.schema.names},)


def _from_python(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Messages]]:
    import numpy
    import pyarrow

    remaining = iter(rows)
    while chunk := list(islice(remaining, _ROWS)):
        found: dict[str, Messages] = {}
        for side in ("messages",) if "messages" in chunk[0] else ("prompt", "chosen", "rejected"):
            # The tools are in the prompt: they stand in one of the two sides that make a sequence.
            lists = [_read(row, side) if side in ("messages", "prompt") else row[side] for row in chunk]
            said = list(chain.from_iterable(lists))
            found[side] = Messages(
                numpy.fromiter(map(len, lists), dtype=numpy.int64, count=len(chunk)),
                pyarrow.array([message["role"] for message in said], pyarrow.string()),
                text_array(list(map(message_text, said))),
            )
        yield found


def guess_turns(rows: Iterable[Mapping[str, Any]], *, sequences: int) -> TokenGuesses:
    """Estimate the tokens of conversations whose turns are trained one by one: each with all that comes before it.

    Args:
        rows: Canonical chat rows.
        sequences: How many training sequences they are. Rows with several answers are taken apart, evenly spread, until
            there are so many.
    """
    return guess_rows(_by_turn(list(rows), sequences))


def _by_turn(rows: Sequence[Mapping[str, Any]], sequences: int) -> Iterator[Mapping[str, Any]]:
    turns = [trained_turns(row["messages"]) for row in rows]
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


def _totals(lists: Messages) -> tuple[Any, Any]:
    """Return the tokens of each list of messages, shape (N, 3), and the likely ones of what the assistant says."""
    import numpy
    import pyarrow.compute as compute

    guesses = _guess(lists.contents)
    row = numpy.repeat(numpy.arange(len(lists.counts)), lists.counts)
    totals = numpy.tile(numpy.asarray(_PER_ROW, dtype=float), (len(lists.counts), 1))
    numpy.add.at(totals, row, guesses + numpy.asarray(_PER_MESSAGE))
    is_answer = compute.call_function("equal", [lists.roles, "assistant"]).to_numpy(zero_copy_only=False)
    answers = numpy.bincount(row, weights=guesses[:, 1] * is_answer, minlength=len(lists.counts))
    return totals, answers


def _guess(texts: Any) -> Any:
    """Return low, likely and high for each text of a `pyarrow.LargeStringArray`, shape (N, 3)."""
    import numpy

    offsets, content = text_buffers(texts)
    kinds = numpy.frombuffer(content.tobytes().translate(_KINDS), dtype=numpy.uint8)
    digits, signs, scripts = (
        numpy.diff(numpy.searchsorted(numpy.flatnonzero(kinds == kind), offsets)) for kind in (1, 2, 3)
    )
    letters = numpy.diff(offsets) - digits - signs - scripts
    bytes_a_token = zip(_LETTERS, _OF_DIGITS, _OF_SIGNS, _OF_SCRIPTS, strict=True)
    found = numpy.stack([letters / a + digits / b + signs / c + scripts / d for a, b, c, d in bytes_a_token], axis=1)
    is_foreign = scripts > 0.005 * letters
    found[:, 2] += is_foreign * (letters / _OTHER_LANGUAGE - letters / _LETTERS[2])
    return found


def _rounded(guess: list[float]) -> Range:
    low, likely, high = guess
    return Range(low=round(low), likely=round(likely), high=round(high))
