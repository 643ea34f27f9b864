"""Texts that aren't like the rest of their dataset: in length, in how they end, in form."""

from __future__ import annotations

import functools
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ftsdk.data.text_column import TextColumn, text_array, text_buffers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

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
_ROWS = 1_024
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

    lengths = _lengths(texts)
    filled = lengths[lengths > 0]
    if len(filled) < _FEWEST_TEXTS:
        return UnusualLengths([], [], 0, int(lengths.max(initial=0)))
    logs = np.log(filled)
    middle = float(np.median(logs))
    spread = max(1.4826 * float(np.median(np.abs(logs - middle))), _LEAST_SPREAD)
    shortest, longest = int(np.exp(middle - _SPREAD * spread)), int(np.exp(middle + _SPREAD * spread))
    short = np.flatnonzero((lengths < shortest) & (lengths > 0)).tolist()
    return UnusualLengths(short, np.flatnonzero(lengths > longest).tolist(), shortest, longest)


def _lengths(texts: Sequence[str]) -> NDArray[np.int64]:
    import numpy as np

    if not isinstance(texts, TextColumn):
        return np.fromiter(map(len, texts), dtype=np.int64, count=len(texts))
    import pyarrow.compute as compute

    counted = [compute.call_function("utf8_length", [part]).to_numpy() for part in texts.arrays()]
    return np.concatenate([np.empty(0, dtype=np.int64), *counted])


def cut_off(texts: Sequence[str]) -> list[int]:
    """Return which texts stop in mid-sentence where most others don't.

    Two signs: at least 80% of the texts end with punctuation, a bracket, a quote or a number, and this one doesn't; or
    three texts or more have the greatest length of all and end in mid-word or mid-sentence, as behind a fixed limit.
    Texts of fewer than eight words are left out.
    """
    long_enough = greatest = 0
    open_ended: list[tuple[int, int]] = []
    first = 0
    for part in _arrays(texts):
        rows, lengths, ends = _long_enough(part)
        long_enough += len(rows)
        greatest = max(greatest, int(lengths.max(initial=0)))
        for row, length, end in zip(rows.tolist(), lengths.tolist(), ends, strict=True):
            if end is not None and not _END.search(end):
                open_ended.append((first + row, length))
        first += len(part)
    if not long_enough:
        return []
    if long_enough >= _FEWEST_TEXTS and len(open_ended) <= (1 - _SURE_SHARE) * long_enough:
        return [position for position, _ in open_ended]
    at_limit = [position for position, length in open_ended if length == greatest]
    # Where most have the same length, it is no limit.
    return at_limit if _SAME_LENGTH <= len(at_limit) <= long_enough / 2 else []


def _long_enough(texts: Any) -> tuple[NDArray[np.int64], NDArray[np.int64], list[str | None]]:
    """Return which texts have enough words, how long they are, and how they end; None: whole, by their last byte."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as compute

    blanks = compute.call_function("count_substring", [texts], compute.MatchSubstringOptions(" ")).to_numpy()
    rows = np.flatnonzero(blanks >= _FEWEST_WORDS - 1)
    chosen = texts.take(pa.array(rows))
    lengths = compute.call_function("utf8_length", [chosen]).to_numpy()
    bounds, content = text_buffers(chosen)
    ends: list[str | None] = [None] * len(rows)
    is_open = np.flatnonzero(~_is_whole()[content[bounds[1:] - 1]])
    last = compute.call_function("utf8_slice_codeunits", [chosen.take(pa.array(is_open))], compute.SliceOptions(-24))
    for place, end in zip(is_open.tolist(), last.to_pylist(), strict=True):
        ends[place] = end
    return rows, lengths, ends


@functools.cache
def _is_whole() -> NDArray[np.bool_]:
    """Return for each byte whether a text that ends with it is whole."""
    import numpy as np

    return np.array([code < 128 and _END.search(chr(code)) is not None for code in range(256)])


def _arrays(texts: Sequence[str]) -> Iterator[Any]:
    """Yield texts as pyarrow arrays."""
    if isinstance(texts, TextColumn):
        yield from texts.arrays()
        return
    for start in range(0, len(texts), _ROWS):
        yield text_array(texts[start : start + _ROWS])


def broken_json(texts: Sequence[str]) -> list[int]:
    """Return which texts aren't JSON where at least 80% of the non-empty ones begin as an object or an array.

    A fence of Markdown around JSON is allowed where it is around most.
    """
    # There may be millions: they are read again rather than held.
    starts: Counter[str] = Counter()
    for part in _arrays(texts):
        starts.update(_starts(part))
    filled = starts.total() - starts[""]
    is_fenced = starts["```"] > filled / 2
    begun = sum(_unfenced(text.strip())[:1] in ("{", "[") for text in texts) if is_fenced else starts["{"] + starts["["]
    if begun < max(_SURE_SHARE * filled, 1):
        return []
    stripped = enumerate(text.strip() for text in texts)
    return [n for n, text in stripped if text and not _is_json(_unfenced(text) if is_fenced else text)]


def _starts(texts: Any) -> Counter[str]:
    import pyarrow.compute as compute

    first = compute.call_function("utf8_slice_codeunits", [texts], compute.SliceOptions(0, 3))
    counted = compute.call_function("value_counts", [first])
    counts: dict[str, int] = dict(zip(*(counted.field(n).to_pylist() for n in range(2)), strict=True))
    if any(text[:1].isspace() for text in counts):
        return Counter(map(_start, texts.to_pylist()))
    starts: Counter[str] = Counter()
    for text, count in counts.items():
        starts[_start(text)] += count
    return starts


def _start(text: str) -> str:
    start = text.lstrip()[:3]
    return start if start == "```" else start[:1]


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
