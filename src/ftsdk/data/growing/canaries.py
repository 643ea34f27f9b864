"""Canaries: unique texts planted in the training data, to measure later how much of it a model gives back.

Source: Carlini et al., "The Secret Sharer", https://arxiv.org/abs/1802.08232.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

__all__ = ["Canary", "canaries"]

_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
"""Without what is easily mistaken; about five bits each."""
_GROUPS, _GROUP = 4, 5
_PROMPT = "Complete the reference code {prefix}."


@dataclass(frozen=True, kw_only=True, slots=True)
class Canary:
    """A text that occurs nowhere else, and what to ask a model to find out whether it knows it."""

    number: int
    prompt: str
    secret: str
    """What only a model that memorised the row answers; about 100 random bits."""
    times: int
    """How often the row is in the training data."""

    @property
    def messages(self) -> list[dict[str, str]]:
        """The row as a chat."""
        return [{"role": "user", "content": self.prompt}, {"role": "assistant", "content": self.secret}]

    def to_dict(self) -> dict[str, Any]:
        """Return the record that an audit needs."""
        return {"number": self.number, "prompt": self.prompt, "secret": self.secret, "times": self.times}


def canaries(count: int, seed: int, *, times: tuple[int, ...] = (1,)) -> list[Canary]:
    """Return canaries; the same arguments return the same ones.

    Args:
        count: How many.
        seed: Keep it, or the records: an audit needs to know what was planted.
        times: How often each is repeated, in turns; memorisation grows with repetition, so `(1, 4, 16)` shows a curve.

    Raises:
        ValueError: `count` is negative, or `times` is empty or has a number below 1.
    """
    if count < 0:
        raise ValueError(f"count is {count}; it must be at least 0")
    if not times or min(times) < 1:
        raise ValueError(f"times is {times}; it needs numbers of at least 1")
    draw = random.Random(f"ftsdk canaries {seed}")
    seen: set[str] = set()
    found: list[Canary] = []
    while len(found) < count:
        prefix, secret = _code(draw, 2), _code(draw, _GROUPS)
        if prefix in seen:
            continue
        seen.add(prefix)
        number = len(found)
        prompt = _PROMPT.format(prefix=prefix)
        found.append(Canary(number=number, prompt=prompt, secret=secret, times=times[number % len(times)]))
    return found


def _code(draw: random.Random, groups: int) -> str:
    return "-".join("".join(draw.choices(_LETTERS, k=_GROUP)) for _ in range(groups))
