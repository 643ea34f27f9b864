"""The rules of a house for texts about products, as a scorer."""

from __future__ import annotations

import re

from ftsdk.evals import Example, Score

__all__ = ["CLOSING", "FACTS", "house_rules"]

CLOSING = "Use it. Mend it. Keep it."
FACTS = ("name", "material", "size", "care")
"""Columns whose values a text must have."""
WORDS = (25, 75)
LOUD = re.compile(
    r"!|\b(best|the most|perfect|amazing|unique|ultimate|stunning|luxur\w+|incredible|finest|greatest|must-have)\b",
    re.I,
)


def house_rules(example: Example, answer: str) -> Score:
    """Return the share of rules that a text keeps; `parts` has each of them."""
    text = answer.strip()
    name, *others = (str(example.columns[column]) for column in FACTS)
    parts = {
        "begins with the name": text.startswith(name),
        "25 to 75 words": WORDS[0] <= len(text.split()) <= WORDS[1],
        "speaks to the reader": re.search(r"\byou(rs?)?\b", text, re.I) is not None,
        "is not loud": LOUD.search(text) is None,
        "ends with the closing line": text.endswith(f"\n{CLOSING}"),
        **{f"names the {column}": value in text for column, value in zip(FACTS[1:], others, strict=True)},
    }
    broken = [rule for rule, is_kept in parts.items() if not is_kept]
    kept = {rule: float(is_kept) for rule, is_kept in parts.items()}
    return Score(sum(kept.values()) / len(kept), f"breaks: {', '.join(broken)}" if broken else "keeps all", parts=kept)
