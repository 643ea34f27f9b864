"""What people do to texts when they type: slips, missing capitals, and text that was decoded with the wrong table."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from random import Random

__all__ = ["mojibake", "rough", "write"]


def rough(rng: Random, text: str) -> str:
    """Return a text as somebody in a hurry would type it; about half of all texts come back as they are."""
    if rng.random() < 0.5:
        return text
    words = text.split(" ")
    for _ in range(rng.choice([1, 1, 2, 3])):
        at = rng.randrange(len(words))
        words[at] = _slip(rng, words[at])
    text = " ".join(words)
    if rng.random() < 0.3:
        text = text.lower()
    if rng.random() < 0.25:
        text = text.rstrip(".!?")
    return text


def _slip(rng: Random, word: str) -> str:
    if len(word) < 5 or not word.isalpha():
        return word
    at = rng.randrange(1, len(word) - 2)
    match rng.randrange(3):
        case 0:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        case 1:
            return word[:at] + word[at + 1 :]
        case _:
            return word[:at] + word[at] + word[at:]


def mojibake(text: str) -> str:
    """Return a text as UTF-8 that was read as Latin-1."""
    return text.encode("utf-8").decode("latin-1")


def write(path: Path, rows: Iterable[Mapping[str, object]]) -> None:
    """Write rows as JSON Lines."""
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="\n")
    print(f"{path.name}: {len(lines)} rows")
