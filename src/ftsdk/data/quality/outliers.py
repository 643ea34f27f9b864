"""Texts that aren't like the rest of their dataset: in length, in how they end, in form."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["UnusualLengths", "broken_json", "cut_off", "unusual_lengths"]

_FEWEST_TEXTS = 50
"""Below that there is no "rest of the dataset" to compare with."""
_SPREAD = 4.0
"""Distances from the median, in spreads of log-lengths (scaled median absolute deviation), that count as far."""
_LEAST_SPREAD = 0.35
_SURE_SHARE = 0.8
"""Share of texts that have to end, or begin, in one way for the others to be exceptions."""
_FEWEST_WORDS = 8
_SAME_LENGTH = 3
_END = re.compile(r"""[^\w\s,;(\[{<&+=/\\-][\s"'”’»)\]}*_`]*\Z|\d[\s"'”’»)\]}*_`%]*\Z""")
"""A text's end when it is whole: punctuation, a closing bracket or quote, an emoji, a number."""
_FENCED = re.compile(r"\A```(?:json)?[ \t]*\n(.*)\n```\Z", re.DOTALL)


class UnusualLengths(NamedTuple):
    """Positions of texts far from the usual length, and what is far."""

    short: list[int]
    long: list[int]
    shortest: int
    """Characters below which a text counts as short; 0: none does."""
    longest: int
    """Characters above which a text counts as long."""


def unusual_lengths(texts: Sequence[str]) -> UnusualLengths:
    """Return which texts are far shorter or longer than the others.

    Lengths in characters, on a logarithmic scale, against their median and median absolute deviation, so that a few
    extremes don't hide each other. Empty texts and datasets of fewer than 50 texts have no outliers.
    """
    import numpy as np

    lengths = np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    filled = lengths[lengths > 0]
    if len(filled) < _FEWEST_TEXTS:
        return UnusualLengths([], [], 0, int(lengths.max(initial=0)))
    logs = np.log(filled)
    middle = float(np.median(logs))
    spread = max(1.4826 * float(np.median(np.abs(logs - middle))), _LEAST_SPREAD)
    shortest, longest = int(np.exp(middle - _SPREAD * spread)), int(np.exp(middle + _SPREAD * spread))
    short = np.flatnonzero((lengths < shortest) & (lengths > 0)).tolist()
    return UnusualLengths(short, np.flatnonzero(lengths > longest).tolist(), shortest, longest)


def cut_off(texts: Sequence[str]) -> list[int]:
    """Return which texts stop in mid-sentence where most others don't.

    Two signs: at least 80 % of the texts end with punctuation, a bracket, a quote or a number, and this one doesn't; or
    three texts or more have the greatest length of all and end in mid-word or mid-sentence, as behind a fixed limit.
    Texts of fewer than eight words are left out.
    """
    long_enough = [(position, text) for position, text in enumerate(texts) if text.count(" ") >= _FEWEST_WORDS - 1]
    if not long_enough:
        return []
    open_ended = [(position, len(text)) for position, text in long_enough if not _END.search(text[-24:])]
    if len(long_enough) >= _FEWEST_TEXTS and len(open_ended) <= (1 - _SURE_SHARE) * len(long_enough):
        return [position for position, _ in open_ended]
    greatest = max(len(text) for _, text in long_enough)
    at_limit = [position for position, length in open_ended if length == greatest]
    # Where most have the same length, it is no limit.
    return at_limit if _SAME_LENGTH <= len(at_limit) <= len(long_enough) / 2 else []


def broken_json(texts: Sequence[str]) -> list[int]:
    """Return which texts aren't JSON where at least 80 % of the non-empty ones begin as an object or an array.

    A fence of Markdown around JSON is allowed where it is around most.
    """
    if not texts:
        return []
    filled = [(position, text.strip()) for position, text in enumerate(texts) if text and not text.isspace()]
    fenced = sum(text.startswith("```") for _, text in filled)
    is_fenced = fenced > len(filled) / 2
    bodies = [(position, _unfenced(text) if is_fenced else text) for position, text in filled]
    if sum(text[:1] in "{[" for _, text in bodies if text) < max(_SURE_SHARE * len(bodies), 1):
        return []
    return [position for position, text in bodies if not _is_json(text)]


def _unfenced(text: str) -> str:
    match = _FENCED.match(text)
    return match[1].strip() if match else text


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return False
    return True


def _refuse(name: str) -> None:
    raise ValueError(f"{name} isn't JSON")
