"""What a trainer gets: training sequences, and what is counted of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ftsdk.data.render_report import RowFacts

__all__ = ["RenderedPair", "RenderedRow", "facts_of", "trained_tokens"]


@dataclass(frozen=True, slots=True)
class RenderedRow:
    """One training sequence of a conversation: the whole of it, or what leads to one of its turns."""

    input_ids: tuple[int, ...]
    trained: tuple[bool, ...]
    """For each token: does the loss count it as something to predict?"""
    text: str
    """The whole text, before truncation."""
    truncated_tokens: int = 0
    """Tokens cut off at the end."""
    lost_trained_tokens: int = 0
    """How many of these would have been trained."""
    flags: frozenset[str] = frozenset()
    """What is odd: `content_missing`, `tools_missing`, `boundary_mismatch`, `missing_eos`, `double_bos`,
    `special_tokens_in_content`."""
    label: bool | None = None
    """Whether the answer is a good one, of rows that say so."""


@dataclass(frozen=True, slots=True)
class RenderedPair:
    """A preference pair as the trainer gets it. Every token of `chosen_ids` and `rejected_ids` counts."""

    prompt_ids: tuple[int, ...]
    chosen_ids: tuple[int, ...]
    rejected_ids: tuple[int, ...]
    prompt_text: str
    chosen_text: str
    """Prompt and chosen answer, as they were tokenised."""
    rejected_text: str
    length: int
    """Tokens of the longer sequence, before truncation."""
    truncated_tokens: int = 0
    """Tokens cut off at the ends of both sequences together."""
    lost_trained_tokens: int = 0
    flags: frozenset[str] = frozenset()
    """As for `RenderedRow`."""


def trained_tokens(sequence: RenderedRow | RenderedPair) -> int:
    """Return how many tokens are learned; 0: the sequence is dropped."""
    if isinstance(sequence, RenderedRow):
        return sum(sequence.trained)
    chosen, rejected = len(sequence.chosen_ids), len(sequence.rejected_ids)
    # Answers that became the same, or of which one is gone, can't teach which one is better.
    return chosen + rejected if chosen and rejected and sequence.chosen_ids != sequence.rejected_ids else 0


def facts_of(row: Sequence[RenderedRow | RenderedPair]) -> RowFacts:
    """Return what the report counts of the sequences of a row."""
    trained = [trained_tokens(sequence) for sequence in row]
    kept = [_kept(sequence) for sequence in row]
    return RowFacts(
        tokens=max(map(_length, row)),
        kept=sum(count for count, learned in zip(kept, trained, strict=True) if learned),
        trained=sum(trained),
        truncated=sum(sequence.truncated_tokens for sequence in row),
        lost=sum(sequence.lost_trained_tokens for sequence in row),
        flags=frozenset[str]().union(*(sequence.flags for sequence in row)),
        sequences=sum(map(bool, trained)),
    )


def _length(sequence: RenderedRow | RenderedPair) -> int:
    if isinstance(sequence, RenderedRow):
        return len(sequence.input_ids) + sequence.truncated_tokens
    return sequence.length


def _kept(sequence: RenderedRow | RenderedPair) -> int:
    if isinstance(sequence, RenderedRow):
        return len(sequence.input_ids)
    return 2 * len(sequence.prompt_ids) + len(sequence.chosen_ids) + len(sequence.rejected_ids)
