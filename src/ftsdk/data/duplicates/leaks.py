"""What two sets have in common: rows that a model is judged by and has learned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple, get_args

from ftsdk.data.duplicates.exact import normalised, text_key
from ftsdk.data.duplicates.limits import may_be_long

__all__ = ["KINDS", "Asked", "Leak", "LeakKind", "find_leaks"]

LeakKind = Literal["row", "near row", "prompt", "near prompt", "13-gram answer", "8-gram answer"]
"""What two rows share, where case and blanks never count.

"row": prompt and answer. "near row": the answer, and prompts that are near-duplicates. "prompt": the prompt, with
another answer. "near prompt": likewise for near-duplicates. "13-gram answer", "8-gram answer": at least 70 % of the
n-grams of words of the judged row's answer."""

KINDS: tuple[LeakKind, ...] = get_args(LeakKind)


class Asked(NamedTuple):
    """Rows as pairs of texts."""

    prompts: Sequence[str]
    """What comes before the answer of each row."""
    answers: Sequence[str]


class Leak(NamedTuple):
    """A row that is judged by, and a row that is learned from, which share something."""

    kind: LeakKind
    position: int
    """The judged row."""
    other: int
    """The learned row."""
    similarity: float
    """1 for equal texts; else the Jaccard similarity of the prompts, or the share of the answer that was found."""

    @property
    def is_certain(self) -> bool:
        """Whether the answer can be known from training: the same question, or almost, with the same answer."""
        return self.kind in ("row", "near row")


def find_leaks(judged: Asked, learned: Asked, *, threshold: float = 0.7) -> tuple[Leak, ...]:
    """Return what the rows of `judged` share with those of `learned`, in the order of the judged rows.

    For each judged row: the strongest match of its prompt, and the strongest of its answer unless the prompt's is
    certain. Wording that many rows share (1 % of all different prompts, and at least 5) is a template and no evidence
    of a leak.

    Args:
        judged: The rows of a validation or test set.
        learned: The rows that a model is trained on.
        threshold: The least Jaccard similarity of prompts (3-grams of words) that are near-duplicates. Prompts of fewer
            than 20 words are only compared exactly.
    """
    prompts: dict[bytes, int] = {}
    rows: dict[bytes, int] = {}
    for position, (prompt, answer) in enumerate(zip(*learned, strict=True)):
        asked, whole = _keys(prompt, answer)
        prompts.setdefault(asked, position)
        rows.setdefault(whole, position)
    by_prompt: dict[int, Leak] = {}
    for position, (prompt, answer) in enumerate(zip(*judged, strict=True)):
        asked, whole = _keys(prompt, answer)
        if whole in rows:
            by_prompt[position] = Leak("row", position, rows[whole], 1.0)
        elif asked in prompts:
            by_prompt[position] = Leak("prompt", position, prompts[asked], 1.0)
    for leak in _near(judged, learned, threshold):
        known = by_prompt.get(leak.position)
        if known is None or _strength(leak) > _strength(known):
            by_prompt[leak.position] = leak
    by_answer: dict[int, Leak] = {}
    measures: tuple[tuple[LeakKind, int], ...] = (("13-gram answer", 13), ("8-gram answer", 8))
    for kind, n in measures:
        sought = [
            position
            for position, answer in enumerate(judged.answers)
            if position not in by_answer
            and not (position in by_prompt and by_prompt[position].is_certain)
            and len(answer) >= 2 * n - 1
        ]
        if not sought:
            continue
        from ftsdk.data.duplicates.containment import contained_answers

        texts = [f"{prompt}\n{answer}" for prompt, answer in zip(*learned, strict=True)]
        for row, other, share in contained_answers([judged.answers[position] for position in sought], texts, n=n):
            by_answer[sought[row]] = Leak(kind, sought[row], other, share)
    return tuple(sorted([*by_prompt.values(), *by_answer.values()], key=lambda leak: (leak.position, leak.kind)))


def _keys(prompt: str, answer: str) -> tuple[bytes, bytes]:
    asked = text_key(normalised(prompt))
    return asked, asked + text_key(normalised(answer))


def _strength(leak: Leak) -> tuple[int, float, int]:
    return -KINDS.index(leak.kind), leak.similarity, -leak.other


def _near(judged: Asked, learned: Asked, threshold: float) -> Iterator[Leak]:
    if not may_be_long(judged.prompts):
        return
    # Loads numpy and pyarrow.
    from ftsdk.data.duplicates.between import near_matches

    for match in near_matches(judged.prompts, learned.prompts, threshold=threshold):
        answer = normalised(judged.answers[match.position])
        same = next((other for other in match.others if normalised(learned.answers[other]) == answer), None)
        kind, other = ("near prompt", match.others[0]) if same is None else ("near row", same)
        yield Leak(kind, match.position, other, match.similarity)
