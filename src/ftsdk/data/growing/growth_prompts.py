"""What a model is asked for new rows, and how its answer is read."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from ftsdk.data.growing.model_calls import Request
from ftsdk.data.token_guess import guess_tokens

__all__ = ["PARAPHRASE", "RARE_CLASSES", "Drawn", "Seed", "growth_request", "likely_tokens", "read_growth"]

PARAPHRASE = (
    "Rewrite the message below in {n} different ways, as other people might write it. Keep its meaning, its language "
    "and every fact, name and number; vary wording, length and tone. Don't answer it.\n\n"
    "Reply with a JSON array of {n} strings, and nothing else.\n\nMessage:\n{prompt}"
)
RARE_CLASSES = (
    "These messages all belong to the class {completion}. Write {n} new ones of the same class, in the same language, "
    "that differ from these and from each other in content and wording.\n\n"
    "Reply with a JSON array of {n} strings, and nothing else.\n\nMessages:\n{prompt}"
)
_OWN_FORM = (
    '\n\nReply with a JSON array of {n} objects, each with the keys "prompt" and "completion", and nothing else.'
)
_OPENING = re.compile(r"[\[{]")
_PROSE = re.compile(r"\[[^\[\]\"{}]*\]")
"""Brackets as in "rewrites [as asked]"."""
_LEAST_TOKENS, _MOST_TOKENS = 256, 8_192
_FORM_TOKENS = 12
"""Quotes and commas around a string, or keys around an object."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seed:
    """The rows that a request is made of."""

    positions: tuple[int, ...]
    prompt: str
    """The last message of the user; of several rows, a numbered list."""
    completion: str
    likely_tokens: float
    """Of one new row."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """A row as a model wrote it."""

    prompt: str
    completion: str | None
    """None: that of the seed."""


def growth_request(template: str, seed: Seed, *, count: int, sample: int, temperature: float | None) -> Request:
    """Return the request for new rows.

    Args:
        template: `PARAPHRASE`, `RARE_CLASSES`, or an instruction with `{prompt}`, `{completion}` or neither.
        seed: What is put into it.
        count: How many rows are asked for.
        sample: Tells apart requests that are otherwise the same.
        temperature: None sends none.
    """
    own = template if template in (PARAPHRASE, RARE_CLASSES) else template + _OWN_FORM
    text = _filled(own, {"{n}": str(count), "{prompt}": seed.prompt, "{completion}": seed.completion})
    likely = count * (seed.likely_tokens + _FORM_TOKENS)
    limit = min(_MOST_TOKENS, max(_LEAST_TOKENS, math.ceil(3 * likely)))
    return Request(
        messages=({"role": "user", "content": text},),
        max_new_tokens=limit,
        likely_tokens=min(likely, limit),
        temperature=temperature,
        sample=sample,
    )


def likely_tokens(text: str) -> float:
    """Return the likely tokens of a text."""
    return guess_tokens(text)[1]


def read_growth(text: str) -> list[Drawn]:
    """Read the rows in an answer: a JSON array of texts, or of objects with `prompt` and `completion`.

    Reasoning in front, text around the array, and a fence of Markdown are left out.

    Raises:
        ValueError: There is no such array; the message says what is wrong.
    """
    fault = "the answer isn't a JSON array"
    for array in _arrays(text.rpartition("</think>")[2]):
        drawn = [_drawn(one) for one in array]
        if drawn and None not in drawn:
            return [one for one in drawn if one is not None]
        fault = "an element of the answer is neither text nor an object with prompt and completion"
    raise ValueError(fault)


def _arrays(text: str) -> Iterator[Sequence[object]]:
    """Yield the arrays in a text, outermost ones only; an object alone counts as an array of one."""
    decoder = json.JSONDecoder()
    start = 0
    while found := _OPENING.search(text, start):
        start = found.start()
        try:
            value, start = cast("tuple[object, int]", decoder.raw_decode(text, start))
        except RecursionError:
            return
        except ValueError:
            if found.group() == "[" and not _PROSE.match(text, start):
                return  # what is inside a broken array isn't a whole answer
            start += 1
            continue
        if isinstance(value, dict):
            own = cast("dict[str, object]", value)
            inner = next(iter(own.values())) if len(own) == 1 else None
            yield cast("list[object]", inner) if isinstance(inner, list) else [own]
        else:
            yield cast("list[object]", value)


def _drawn(value: object) -> Drawn | None:
    if isinstance(value, str):
        return Drawn(prompt=value, completion=None)
    if isinstance(value, dict):
        own = cast("dict[str, object]", value)
        prompt, completion = own.get("prompt"), own.get("completion")
        if isinstance(prompt, str) and (completion is None or isinstance(completion, str)):
            return Drawn(prompt=prompt, completion=completion)
    return None


def _filled(template: str, fields: dict[str, str]) -> str:
    """Fill a template once: braces in what is put in are text."""
    return re.sub("|".join(map(re.escape, fields)), lambda found: fields[found.group()], template)
