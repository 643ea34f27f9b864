"""Answers of models that reason first: what follows the reasoning is the answer."""

from __future__ import annotations

__all__ = ["final_answer"]

_BLOCKS = (
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
)
"""How a block begins and ends. Some templates put its beginning into the prompt, so an answer may have only its end."""


def final_answer(text: str) -> str:
    """Return what follows the reasoning; the whole text without any, and nothing if the reasoning was cut off."""
    for begin, end in _BLOCKS:
        if end in text:
            before, _, after = text.partition(end)
            # An end in the middle of an answer is part of it, unless all before it is the block.
            if before.lstrip().startswith(begin) or begin not in before:
                return after.lstrip()
        elif text.lstrip().startswith(begin):
            return ""
    return text
