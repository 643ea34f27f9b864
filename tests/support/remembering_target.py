"""A target that finds what it remembers likely, and everything else unlikely."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from ftsdk.evals import Answer, Likelihood


@dataclass(frozen=True)
class RememberingTarget:
    """Answers from memory, by the last message."""

    memory: dict[str, str] = field(default_factory=dict[str, str])
    name: str = "tuned"
    identity: str = "remembering"

    @contextlib.contextmanager
    def open(self) -> Iterator[RememberingTarget]:
        yield self

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text) for text in texts]

    def generate(self, conversations: Any, *, max_new_tokens: int, on_progress: Any = None) -> list[str]:
        return [answer.text for _, answer in self.stream(conversations, max_new_tokens=max_new_tokens)]

    def stream(
        self, conversations: Any, *, max_new_tokens: int, skip: Collection[int] = frozenset()
    ) -> Iterator[tuple[int, Answer]]:
        for index, conversation in enumerate(conversations):
            if index not in skip:
                yield index, Answer(text=self.memory.get(conversation[-1]["content"], "no idea")[:max_new_tokens])

    def likelihoods(self, conversations: Any, answers: Sequence[str]) -> Iterator[tuple[int, Likelihood]]:
        for index, (conversation, answer) in enumerate(zip(conversations, answers, strict=True)):
            # What isn't remembered differs a little, by its text alone.
            chance = 3 + sum(map(ord, answer)) % 97 / 100
            loss = 0.1 if self.memory.get(conversation[-1]["content"]) == answer else chance
            yield index, Likelihood(log_probability=-loss * len(answer), tokens=max(1, len(answer)))
