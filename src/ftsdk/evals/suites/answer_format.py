"""The format that the answers of training rows share, and whether another answer is in it."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, cast

__all__ = ["AnswerFormat", "shared_format"]

_MOST_LABELS = 100
_LONGEST_LABEL = 80
"""Characters."""
_SHARE = 0.8
"""Of the answers must have a mark, for it to belong to the format."""
_SHORT_WORDS = 5
_OPENING_WORDS = 3
_FENCE = re.compile(r"\A```[a-zA-Z]*\s*|\s*```\Z")
_HEAD = re.compile(r"^\W{0,4}([A-Za-z][\w -]{0,30}?)\W{0,3}:", re.MULTILINE)
_AROUND = " \t\r\n\"'`*_.:;,!()[]"


@dataclass(frozen=True, kw_only=True)
class AnswerFormat:
    """What answers of one task look like. Empty fields: nothing that they share."""

    labels: tuple[str, ...] = ()
    """All answers, where they are few: the classes of a classification."""
    json_keys: tuple[str, ...] = ()
    """Keys of the JSON objects that the answers are."""
    heads: tuple[str, ...] = ()
    """Words before a colon at the start of a line."""
    opening: str = ""
    """The first words."""
    most_words: int | None = None
    """Answers are this short; None: not all are short."""

    def match(self, answer: str) -> str | None:
        """Return what of the format an answer has, in words; None: nothing."""
        plain = _normal(answer)
        if plain and plain in {_normal(label) for label in self.labels}:
            return f"is the label {plain[:40]!r}"
        found = _json_keys(answer)
        if self.json_keys and found is not None and 2 * len(found & set(self.json_keys)) >= len(self.json_keys):
            return (
                f"is JSON with the keys of the training answers: {', '.join(sorted(found & set(self.json_keys)))[:60]}"
            )
        if self.heads and 2 * len(_heads(answer) & set(self.heads)) >= len(self.heads):
            return f"has the headings of the training answers: {', '.join(self.heads)[:60]}"
        if self.opening and _opening(answer) == self.opening:
            return f"begins as the training answers do: {self.opening!r}"
        words = len(answer.split())
        if self.most_words is not None and 0 < words <= self.most_words:
            return f"has {words} words, as short as the training answers"
        return None

    @property
    def is_empty(self) -> bool:
        """Whether the answers share nothing."""
        return self == AnswerFormat()


def shared_format(answers: Iterable[str]) -> AnswerFormat:
    """Return what at least 80% of the answers have in common.

    Labels: at most 100 different answers of at most 80 characters, each twice on average. JSON: objects; their keys are
    those that most of them have. Headings, the first three words, and five words at most.
    """
    texts = [text.strip() for text in answers]
    if not texts:
        return AnswerFormat()
    different = {_normal(text): text for text in texts}
    has_labels = (
        len(different) <= min(_MOST_LABELS, len(texts) / 2) and max(map(len, different.values())) <= _LONGEST_LABEL
    )
    objects = [keys for text in texts if (keys := _json_keys(text)) is not None]
    is_json = len(objects) >= _SHARE * len(texts)
    is_short = sum(len(text.split()) <= _SHORT_WORDS for text in texts) >= _SHARE * len(texts)
    openings = _common([{_opening(text)} for text in texts if len(text.split()) > _OPENING_WORDS], len(texts))
    return AnswerFormat(
        labels=tuple(sorted(different.values())) if has_labels else (),
        json_keys=_common(objects, len(texts)) if is_json else (),
        heads=() if is_json else _common([_heads(text) for text in texts], len(texts)),
        opening="" if is_json or not openings else openings[0],
        most_words=_SHORT_WORDS if is_short and not is_json else None,
    )


def _common(found: Sequence[set[str]], total: int) -> tuple[str, ...]:
    counts = Counter(name for names in found for name in names)
    return tuple(sorted(name for name, count in counts.items() if name and count >= _SHARE * total))


def _normal(text: str) -> str:
    return " ".join(text.split()).strip(_AROUND).casefold()


def _json_keys(text: str) -> set[str] | None:
    try:
        found: Any = json.loads(_FENCE.sub("", text.strip()))
    except (ValueError, RecursionError):
        return None
    return {str(key) for key in cast("dict[Any, Any]", found)} if isinstance(found, dict) else None


def _heads(text: str) -> set[str]:
    return {match[1].strip().casefold() for match in _HEAD.finditer(text)}


def _opening(text: str) -> str:
    return " ".join(word.strip(_AROUND) for word in text.split()[:_OPENING_WORDS]).casefold()
