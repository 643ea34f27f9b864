"""What an OpenAI-compatible service on loopback answers, as a test writes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ftsdk import Dataset, Endpoint

MODEL = "example/tiny-instruct"
CHAT = "POST */chat/completions"
MakeEndpoint = Callable[..., Endpoint]


class Script:
    """What the service answers: a function of the last message."""

    def __init__(self) -> None:
        self.reply: Callable[[str], str] = lambda asked: asked
        self.asked: list[str] = []

    def __call__(
        self, model: str, messages: Sequence[Mapping[str, Any]], max_tokens: int | None, temperature: float | None
    ) -> str:
        self.asked.append(messages[-1]["content"])
        return self.reply(self.asked[-1])


def numbered(count: int) -> Dataset:
    rows = [{"prompt": f"Where is my parcel number {n}?", "completion": f"Parcel {n} is here."} for n in range(count)]
    return Dataset.from_rows(rows, name="parcels")
