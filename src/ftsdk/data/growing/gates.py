"""What a row that a model wrote must pass to be kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from ftsdk._format import printable
from ftsdk.data.conversation import check_conversation, read_messages
from ftsdk.data.duplicates.between import near_matches
from ftsdk.data.duplicates.exact import normalised
from ftsdk.data.duplicates.near import near_duplicates, similar_short_texts
from ftsdk.data.labels import are_labels
from ftsdk.data.location import Location
from ftsdk.data.message_rows import Row
from ftsdk.data.row_keys import answer_text, prompt_text
from ftsdk.errors import DatasetError

__all__ = ["Gates", "RowCheck", "conversation", "label_set"]

RowCheck = Callable[[Row], bool | str | None]
"""Takes a row; true or None keeps it, false or a reason refuses it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Gates:
    """The gates, in the order in which a row meets them; the first that refuses it is its reason."""

    labels: frozenset[str] | None
    """What an answer may be; None: anything."""
    max_similarity: float
    """The Jaccard similarity from which on two prompts are near-duplicates: of words, in short ones of letters."""
    check: RowCheck | None

    def refusals(self, rows: Sequence[Row], sources: Sequence[str]) -> dict[int, str]:
        """Return why rows are refused, by position.

        Args:
            rows: New chat rows.
            sources: The prompts of the rows that they are added to.
        """
        found: dict[int, str] = {}
        for number, row in enumerate(rows):
            reason = self._own_fault(row)
            if reason is not None:
                found[number] = reason
        remaining = [number for number in range(len(rows)) if number not in found]
        texts = [prompt_text(rows[number], "chat") for number in remaining]
        for number, reason in self._repeats(texts, sources).items():
            found[remaining[number]] = reason
        return found

    def _own_fault(self, row: Row) -> str | None:
        where = Location(None, 1)
        try:
            messages = read_messages(row["messages"], where, "messages")
            check_conversation(messages, where, "messages")
        except DatasetError as error:
            return f"not a valid row: {error.reason}"
        if any(not message["content"].strip() for message in messages):
            return "empty"
        answer = answer_text(row)
        if self.labels is not None and answer not in self.labels:
            return f"the answer {printable(answer, 80)!r} is none of the labels"
        if self.check is None:
            return None
        verdict = self.check({"messages": [dict(message) for message in messages]})
        if isinstance(verdict, str):
            return f"check: {verdict}"
        return None if verdict is None or verdict else "refused by check"

    def _repeats(self, texts: Sequence[str], sources: Sequence[str]) -> dict[int, str]:
        found: dict[int, str] = {}
        known = {normalised(text) for text in sources}
        first: dict[str, int] = {}
        for number, text in enumerate(texts):
            key = normalised(text)
            if key in known:
                found[number] = "repeats a prompt of the rows"
            elif first.setdefault(key, number) != number:
                found[number] = "repeats another new prompt"
        for match in near_matches(texts, sources, threshold=self.max_similarity):
            found.setdefault(match.position, "almost the same as a prompt of the rows")
        # Of new ones that are alike, the first that is kept stays.
        clusters = near_duplicates(texts, threshold=self.max_similarity).clusters if texts else ()
        for cluster in clusters:
            for number in [number for number in cluster if number not in found][1:]:
                found[number] = "almost the same as another new prompt"
        # In the order of the first of each pair, so what that one repeats is known by then.
        pairs = similar_short_texts([*sources, *texts], threshold=self.max_similarity) if texts else ()
        for one, other, _ in pairs:
            number, earlier = other - len(sources), one - len(sources)
            if number >= 0:
                what = "a prompt of the rows" if earlier < 0 else "another new prompt"
                found.setdefault(number, found.get(earlier, f"almost the same as {what}"))
        return found


def label_set(labels: Collection[str] | bool | None, answers: Sequence[str]) -> frozenset[str] | None:
    """Return what an answer may be.

    Args:
        labels: The labels; False: anything; None: those of the rows, if their answers look like class labels.
        answers: The answers of the rows.
    """
    if labels is None or labels is True:
        different = set(answers)
        return frozenset(different) if are_labels(different, len(answers)) else None
    return None if labels is False else frozenset(labels)


def conversation(row: Row, prompt: str, completion: str | None) -> dict[str, Any]:
    """Return a chat row like another, with another last question and, unless it is None, another answer."""
    messages = [dict(message) for message in row["messages"]]
    last = max(number for number, message in enumerate(messages) if message["role"] == "user")
    messages[last]["content"] = prompt
    if completion is not None:
        messages[-1]["content"] = completion
    return {"messages": messages}
