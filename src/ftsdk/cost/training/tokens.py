"""Tokens of rows: exact with the tokenizer, or guessed from their bytes, with an interval.

Pure but for the tokenizer.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ftsdk.data.forest import TrainedRow, computed_tokens
from ftsdk.data.token_guess import GUESSED_FROM, TokenGuesses, guess_rows

__all__ = ["RowTokens", "padded_tokens", "text_sample", "tokens_from_bytes", "tokens_from_guesses", "tokens_through"]

_SAMPLE = 128
"""Rows in which what they share is counted."""
_SIDES = ("chosen", "rejected")


@dataclass(frozen=True, kw_only=True)
class RowTokens:
    """Tokens of each row after truncation, in any order: nothing here depends on it."""

    lengths_N: tuple[int, ...]  # noqa: N815
    """Likely tokens of each row; of a preference row those of its longer sequence."""
    total: float
    """Tokens of all rows; of preference rows both sequences."""
    low_factor: float
    high_factor: float
    is_exact: bool
    source: str
    trained_share: float = 1.0
    """Share of the tokens that the loss counts."""
    sample: tuple[TrainedRow, ...] = ()
    """The sequences of some of the rows at random, to count what they share; in pieces of text if they weren't
    rendered. Empty: they share nothing that is known."""
    sequences_per_row: int = 1
    """Sequences that go through the model for one row."""

    def computed_share(self, *, step_rows: int, packed_tokens: int) -> float:
        """Return the share of the tokens that is computed if rows are packed and a shared beginning is computed once.

        Args:
            step_rows: Rows of an optimizer step on one device.
            packed_tokens: Most tokens at once.
        """
        together = self.sequences_per_row
        each = step_rows * together
        steps = [self.sample[start : start + each] for start in range(0, len(self.sample), each)]
        # A last one with fewer rows shares less; it counts only if it is the only one.
        steps = [step for step in steps if len(step) == each] or steps
        read = sum(row.length for step in steps for row in step)
        return sum(computed_tokens(step, packed_tokens, together=together) for step in steps) / read if read else 1.0

    @property
    def shared_by_all(self) -> int:
        """Tokens at the beginning of all sequences that were looked at."""
        if not self.sample:
            return 0
        first, last = min(row.tokens for row in self.sample), max(row.tokens for row in self.sample)
        pairs = enumerate(zip(first, last, strict=False))
        return next((n for n, (one, other) in pairs if one != other), min(len(first), len(last)))

    @property
    def mean(self) -> float:
        """Tokens of the mean row; of preference rows those of the mean longer sequence."""
        return sum(self.lengths_N) / len(self.lengths_N)

    @property
    def mean_sequence(self) -> float:
        """Tokens of the mean sequence."""
        return self.total / len(self.lengths_N) / self.sequences_per_row

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence."""
        return max(self.lengths_N)


def tokens_from_bytes(rows: Sequence[Mapping[str, Any]], *, max_length: int | None = None) -> RowTokens:
    """Guess the tokens of rows from their text.

    Args:
        rows: Canonical rows, chat or preference.
        max_length: Tokens that a sequence is cut to.
    """
    return tokens_from_guesses(guess_rows(rows), max_length=max_length)


def tokens_from_guesses(
    guesses: TokenGuesses, *, max_length: int | None = None, sample: Sequence[TrainedRow] = ()
) -> RowTokens:
    """Sum up the guesses of rows.

    Args:
        guesses: The guess of each row.
        max_length: Tokens that a sequence is cut to.
        sample: Some of the rows at random; see `text_sample`.
    """
    import numpy

    kept = numpy.minimum(guesses.sequences, math.inf if max_length is None else max_length)
    lengths = numpy.maximum(1, numpy.rint(kept[:, :, 1].max(axis=1))).astype(int).tolist()
    # Exactly, so that the order of rows makes no difference in the last digit.
    totals = [math.fsum(kept[:, :, n].ravel().tolist()) for n in range(3)]
    return RowTokens(
        lengths_N=tuple(lengths),
        total=totals[1],
        low_factor=totals[0] / totals[1],
        high_factor=totals[2] / totals[1],
        is_exact=False,
        trained_share=min(1.0, math.fsum(guesses.answers.tolist()) / totals[1]) if totals[1] else 1.0,
        source=GUESSED_FROM,
        sample=tuple(sample),
        sequences_per_row=kept.shape[1],
    )


def text_sample(rows: Sequence[Mapping[str, Any]]) -> tuple[TrainedRow, ...]:
    """Return the sequences of some of the rows at random, with pieces of four bytes in place of tokens.

    Args:
        rows: Canonical rows.
    """
    found: list[TrainedRow] = []
    for n in _some(len(rows)):
        row: Any = rows[n]
        sequences = [row["messages"]] if "messages" in row else [row["prompt"] + row[side] for side in _SIDES]
        for messages in sequences:
            text = "\n".join(f"{message['role']}\n{message.get('content') or ''}" for message in messages).encode()
            pieces = tuple(int.from_bytes(text[start : start + 4]) for start in range(0, len(text), 4))
            found.append(TrainedRow(tokens=pieces, targets=(), length=len(pieces)))
    return tuple(found)


def _some(count: int) -> list[int]:
    """Return up to `_SAMPLE` of so many rows, at random, but always the same ones."""
    return random.Random(0).sample(range(count), min(count, _SAMPLE))


def tokens_through(
    rows: Sequence[Mapping[str, Any]],
    tokenizer: Any,
    *,
    train_on: Any = "assistant",
    max_length: int | None = None,
    eos_token_ids: Sequence[int] | None = None,
    max_truncated: float | None = None,
    embedding_rows: int | None = None,
) -> RowTokens:
    """Count the tokens of rows with the tokenizer and its template, as training will.

    Args:
        rows: Canonical rows, chat or preference.
        tokenizer: A Hugging Face fast tokenizer.
        train_on: As for `SFT`.
        max_length: Tokens that a sequence is cut to.
        eos_token_ids: Tokens that end an answer; None: the tokenizer's own.
        max_truncated: Share of the rows that may lose trained tokens; None: any, but not all of them.
        embedding_rows: How many token ids the model has; None: unknown.

    Raises:
        ModelError: The template refuses a row, or a token has no row in the embedding.
        DatasetError: Training would refuse the rows: too many lose trained tokens.
    """
    from ftsdk.data import render_dataset

    rendered = render_dataset(
        rows,
        tokenizer,
        train_on=train_on,
        max_length=max_length,
        eos_token_ids=eos_token_ids,
        embedding_rows=embedding_rows,
    )
    rendered.report.check(1.0 if max_truncated is None else max_truncated)
    found: list[Any] = list(rendered.rows)
    sequences = 2 if found and hasattr(found[0], "chosen_ids") else 1
    if sequences == 2:
        sides = [
            (len(row.prompt_ids) + len(row.chosen_ids), len(row.prompt_ids) + len(row.rejected_ids)) for row in found
        ]
        lengths, total = tuple(max(pair) for pair in sides), float(sum(map(sum, sides)))
        trained = sum(len(row.chosen_ids) + len(row.rejected_ids) for row in found)
        sample = tuple(sequence for n in _some(len(found)) for sequence in _pair(found[n]))
    else:
        lengths = tuple(len(row.input_ids) for row in found)
        total = float(sum(lengths))
        trained = sum(sum(row.trained) for row in found)
        sample = tuple(TrainedRow.of(found[n].input_ids, found[n].trained) for n in _some(len(found)))
    return RowTokens(
        lengths_N=lengths,
        total=total,
        low_factor=1.0,
        high_factor=1.0,
        is_exact=True,
        trained_share=trained / total if total else 1.0,
        source="counted with the model's own tokenizer",
        sample=sample,
        sequences_per_row=sequences,
    )


def _pair(row: Any) -> list[TrainedRow]:
    """Return the two sequences of a rendered pair."""
    prompt = len(row.prompt_ids)
    return [
        TrainedRow.of(row.prompt_ids + answer, [False] * prompt + [True] * len(answer))
        for answer in (row.chosen_ids, row.rejected_ids)
    ]


def padded_tokens(lengths_N: Sequence[int], micro_batch: int, *, sorted_rows: int = 0) -> float:  # noqa: N803
    """Return the tokens of one pass over the rows, in random micro-batches that are padded to their longest row.

    The longest of m random rows is the i-th smallest of N with probability (i/N)^m - ((i-1)/N)^m.

    Args:
        lengths_N: Tokens of each row, shape (N,).
        micro_batch: Rows at a time, m.
        sorted_rows: If more than that, so many random rows are sorted by length before they are parted into
            micro-batches.
    """
    ordered = sorted(lengths_N)
    count = len(ordered)
    m = min(micro_batch, count)
    if m <= 1:
        return float(sum(ordered))
    if sorted_rows > m:
        return _padded_in_order(ordered, m, min(sorted_rows, count))
    expected, before = 0.0, 0.0
    for index, length in enumerate(ordered, start=1):
        after = (index / count) ** m
        expected += length * (after - before)
        before = after
    return expected * count


def _padded_in_order(ordered: Sequence[int], m: int, rows: int) -> float:
    """Pad `rows` random rows in order of length, m at a time from the longest on: each part to its longest row."""
    strata = _strata(ordered)
    share = [0.0, *itertools.accumulate(weight for _, weight in strata)]
    padded, left = 0.0, rows
    while left > 0:
        below = [_at_least(rows, left, min(1.0, part)) for part in share]
        longest = sum(
            length * (after - before) for (length, _), before, after in zip(strata, below, below[1:], strict=False)
        )
        padded += min(m, left) * longest
        left -= m
    # Never less than what is in the rows.
    return max(float(sum(ordered)), padded / rows * len(ordered))


def _strata(ordered: Sequence[int]) -> list[tuple[float, float]]:
    """Return at most 64 groups of rows of similar length: their mean, and their share of all."""
    count = len(ordered)
    edges = sorted({round(k * count / 64) for k in range(65)})
    return [(sum(ordered[a:b]) / (b - a), (b - a) / count) for a, b in itertools.pairwise(edges)]


def _at_least(trials: int, wanted: int, chance: float) -> float:
    """Return the probability of at least so many successes (binomial; normal for many trials)."""
    if chance <= 0 or chance >= 1:
        return chance
    if trials > 64:
        spread = math.sqrt(trials * chance * (1 - chance))
        return 0.5 * math.erfc((wanted - 0.5 - trials * chance) / spread / math.sqrt(2))
    return sum(math.comb(trials, k) * chance**k * (1 - chance) ** (trials - k) for k in range(wanted, trials + 1))
