"""Rows that ask the same: repeated prompts, and prompts whose answers contradict each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ftsdk.data.duplicates.exact import exact_duplicates, normalised, text_key, texts_at
from ftsdk.data.text_column import TextColumn

__all__ = ["RepeatedPrompt", "conflicting_answers", "prompt_duplicates"]


class RepeatedPrompt(NamedTuple):
    """Rows with the same prompt."""

    positions: tuple[int, ...]
    """The rows, in ascending order."""
    answers: tuple[tuple[int, ...], ...]
    """The same rows, by answer, where case and blanks don't count."""

    @property
    def is_conflicting(self) -> bool:
        """Whether the rows have more than one answer."""
        return len(self.answers) > 1


def prompt_duplicates(
    prompts: Sequence[str],
    answers: Sequence[str],
    *,
    ignore_case: bool = True,
    ignore_blanks: bool = True,
    among: Any = None,
) -> tuple[RepeatedPrompt, ...]:
    """Return the prompts that occur in several rows, in the order of their first rows.

    Args:
        prompts: What comes before the answer of each row.
        answers: The answer of each row.
        ignore_case: Whether prompts that differ by case alone are the same.
        ignore_blanks: Whether prompts that differ by runs of blanks alone are the same.
        among: As for `exact_duplicates`.
    """
    found: list[RepeatedPrompt] = []
    groups = exact_duplicates(prompts, ignore_case=ignore_case, ignore_blanks=ignore_blanks, among=among)
    keys = _answer_keys(answers, [position for group in groups for position in group])
    for group in groups:
        by_answer: dict[bytes, list[int]] = {}
        for position in group:
            by_answer.setdefault(keys[position], []).append(position)
        found.append(RepeatedPrompt(group, tuple(map(tuple, by_answer.values()))))
    return tuple(found)


def _answer_keys(answers: Sequence[str], positions: Sequence[int]) -> dict[int, bytes]:
    """Return by position what equal answers have in common."""
    chosen: Iterable[tuple[int, str]]
    if isinstance(answers, TextColumn):
        import numpy

        chosen = texts_at(answers, numpy.sort(numpy.asarray(positions, dtype=numpy.int64)))
    else:
        chosen = ((position, answers[position]) for position in positions)
    return {position: text_key(normalised(text)) for position, text in chosen}


def conflicting_answers(prompts: Sequence[str], answers: Sequence[str]) -> tuple[RepeatedPrompt, ...]:
    """Return the prompts with more than one answer; "Billing" and "billing " are one answer.

    With class labels, all but one of the answers are wrong. With free text, several good answers are possible.
    """
    return tuple(one for one in prompt_duplicates(prompts, answers) if one.is_conflicting)
