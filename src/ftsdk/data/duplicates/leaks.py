"""What two sets have in common: rows that a model is judged by and has learned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from ftsdk.data.duplicates.exact import column_hashes, normalised, text_key, texts_at
from ftsdk.data.duplicates.limits import may_be_long
from ftsdk.data.folded_hashes import folded_hash
from ftsdk.data.text_column import TextColumn

if TYPE_CHECKING:
    from ftsdk.data.duplicates.signatures import Signatures

__all__ = ["KINDS", "Asked", "Leak", "LeakKind", "Learned", "find_leaks"]

LeakKind = Literal["row", "near row", "prompt", "near prompt", "13-gram answer", "8-gram answer"]
"""What two rows share, where case and blanks never count.

"row": prompt and answer. "near row": the answer, and prompts that are near-duplicates. "prompt": the prompt, with
another answer. "near prompt": likewise for near-duplicates. "13-gram answer", "8-gram answer": at least 70% of the
n-grams of words of the judged row's answer."""

KINDS: tuple[LeakKind, ...] = get_args(LeakKind)


class Asked(NamedTuple):
    """Rows as pairs of texts."""

    prompts: Sequence[str]
    """What comes before the answer of each row."""
    answers: Sequence[str]


class Learned:
    """Rows that a model learns from, read and hashed once for all that is compared with them."""

    def __init__(self, prompts: Sequence[str], answers: Sequence[str], wholes: Sequence[str] | None = None) -> None:
        """Take rows as texts.

        Args:
            prompts: What comes before the answer of each row.
            answers: The answer of each row.
            wholes: Prompt and answer as one text, a line each. None: joined when they are needed.
        """
        self.prompts = prompts
        self.answers = answers
        self.signed: dict[bytes, Signatures] = {}
        self._wholes = wholes
        self._hashes: Any = None

    @property
    def wholes(self) -> Sequence[str]:
        """Prompt and answer of each row as one text."""
        if self._wholes is None:
            pairs = zip(self.prompts, self.answers, strict=True)
            self._wholes = TextColumn(f"{prompt}\n{answer}" for prompt, answer in pairs)
        return self._wholes

    def asking(self, prompts: Iterable[str]) -> Iterator[tuple[int, str, str]]:
        """Yield rows with prompt and answer: all that ask one of some normalised prompts, and perhaps others."""
        if not isinstance(self.prompts, TextColumn):
            yield from zip(range(len(self.prompts)), self.prompts, self.answers, strict=True)
            return
        import numpy

        if self._hashes is None:
            self._hashes = column_hashes(self.prompts)
        hashes, is_ascii = self._hashes
        wanted = [folded_hash(prompt) for prompt in prompts if prompt.isascii()]
        is_wanted = numpy.isin(hashes, numpy.asarray(wanted, dtype=numpy.uint64)) | ~is_ascii
        positions = numpy.flatnonzero(is_wanted)
        answers = self.answers if isinstance(self.answers, TextColumn) else TextColumn(self.answers)
        for (row, prompt), (_, answer) in zip(
            texts_at(self.prompts, positions), texts_at(answers, positions), strict=True
        ):
            yield row, prompt, answer


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


def find_leaks(judged: Asked, learned: Asked | Learned, *, threshold: float = 0.7) -> tuple[Leak, ...]:
    """Return what the rows of `judged` share with those of `learned`, in the order of the judged rows.

    For each judged row: the strongest match of its prompt, and the strongest of its answer unless the prompt's is
    certain. Wording that many rows share (1% of all different prompts, and at least 5) is a template and no evidence
    of a leak.

    Args:
        judged: The rows of a validation or test set.
        learned: The rows that a model is trained on.
        threshold: The least Jaccard similarity of prompts (3-grams of words) that are near-duplicates. Prompts of fewer
            than 20 words are only compared exactly.
    """
    known = learned if isinstance(learned, Learned) else Learned(*learned)
    keys = [_keys(normalised(prompt), answer) for prompt, answer in zip(*judged, strict=True)]
    asked_for, whole_for = {asked for asked, _ in keys}, {whole for _, whole in keys}
    prompts: dict[bytes, int] = {}
    rows: dict[bytes, int] = {}
    for position, prompt, answer in known.asking(map(normalised, judged.prompts)):
        asked, whole = _keys(normalised(prompt), answer)
        if asked in asked_for:
            prompts.setdefault(asked, position)
            if whole in whole_for:
                rows.setdefault(whole, position)
    by_prompt: dict[int, Leak] = {}
    for position, (asked, whole) in enumerate(keys):
        if whole in rows:
            by_prompt[position] = Leak("row", position, rows[whole], 1.0)
        elif asked in prompts:
            by_prompt[position] = Leak("prompt", position, prompts[asked], 1.0)
    for leak in _near(judged, known, threshold):
        found = by_prompt.get(leak.position)
        if found is None or _strength(leak) > _strength(found):
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

        answers = _those(judged.answers, sought)
        for row, other, share in contained_answers(answers, known.wholes, n=n):
            by_answer[sought[row]] = Leak(kind, sought[row], other, share)
    return tuple(sorted([*by_prompt.values(), *by_answer.values()], key=lambda leak: (leak.position, leak.kind)))


def _those(texts: Sequence[str], positions: Sequence[int]) -> list[str]:
    if isinstance(texts, TextColumn):
        return texts.take(positions).to_pylist()
    return [texts[position] for position in positions]


def _keys(prompt: str, answer: str) -> tuple[bytes, bytes]:
    asked = text_key(prompt)
    return asked, asked + text_key(normalised(answer))


def _strength(leak: Leak) -> tuple[int, float, int]:
    return -KINDS.index(leak.kind), leak.similarity, -leak.other


def _near(judged: Asked, learned: Learned, threshold: float) -> Iterator[Leak]:
    if not may_be_long(judged.prompts):
        return
    # Loads numpy and pyarrow.
    from ftsdk.data.duplicates.between import near_matches

    for match in near_matches(judged.prompts, learned.prompts, threshold=threshold, signed=learned.signed):
        answer = normalised(judged.answers[match.position])
        same = next((other for other in match.others if normalised(learned.answers[other]) == answer), None)
        kind, other = ("near prompt", match.others[0]) if same is None else ("near row", same)
        yield Leak(kind, match.position, other, match.similarity)
