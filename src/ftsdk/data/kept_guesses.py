"""Guesses of tokens, kept beside the stored rows: a later process needn't read all texts for them."""

from __future__ import annotations

import functools
import hashlib

from ftsdk.data.kept_results import KEPT_FROM, keep_result, kept_result
from ftsdk.data.row_sequence import RowSequence
from ftsdk.data.token_guess import TokenGuesses, guess_rows

__all__ = ["guesses_of_rows"]

_FOLDER = "guesses"
_TRIED = "Straße 12, £3.50: {'a': [1]}\nКак дела? 你好 👋"


def guesses_of_rows(rows: RowSequence, fingerprint: str | None) -> TokenGuesses:
    """Estimate the tokens of canonical rows, or return what was estimated before for as many with this fingerprint.

    Args:
        rows: The rows, all of one format.
        fingerprint: Theirs; None: not known, and nothing is kept.
    """
    if fingerprint is None or len(rows) < KEPT_FROM:
        return guess_rows(rows)
    body = kept_result(_FOLDER, f"{fingerprint}.f64", _rule())
    known = None if body is None else _read(body, len(rows))
    if known is None:
        known = guess_rows(rows)
        keep_result(_FOLDER, f"{fingerprint}.f64", _rule(), known.sequences.tobytes() + known.answers.tobytes())
    return known


def _read(body: bytes, rows: int) -> TokenGuesses | None:
    import numpy

    for sequences in (1, 2):
        if len(body) == rows * (3 * sequences + 1) * 8:
            numbers = numpy.frombuffer(body, dtype=numpy.float64)
            return TokenGuesses(numbers[:-rows].reshape(rows, sequences, 3), numbers[-rows:])
    return None


@functools.cache
def _rule() -> str:
    """Return what changes with the rule of guessing: the hash of its guesses of some rows."""
    said = [
        {"role": role, "content": f"{role} {_TRIED * times}"} for times, role in enumerate(("user", "assistant"), 1)
    ]
    rows = ({"messages": said}, {"prompt": said[:1], "chosen": said[1:], "rejected": said[1:]})
    found = [guess_rows([row]) for row in rows]
    return hashlib.sha256(b"".join(one.sequences.tobytes() + one.answers.tobytes() for one in found)).hexdigest()
