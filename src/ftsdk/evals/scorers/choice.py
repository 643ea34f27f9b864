"""`choice`: the class whose name the answer gives."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from ftsdk.errors import SpecError
from ftsdk.evals.examples import Example
from ftsdk.evals.scorers.scorer import Score, scorer

__all__ = ["choice", "named_choices"]

Where = Literal["anywhere", "start", "whole"]
_AROUND = " \t\r\n\"'`*_.:;,!()[]“”‘’«»"
"""What may stand around the name of a class: quotes, Markdown, a full stop."""
_SHOWN = 5


def _prepare(examples: Sequence[Example], *, choices: Sequence[str] = (), **options: Any) -> Mapping[str, Any]:
    names = tuple(choices) or tuple(sorted({example.expected.strip() for example in examples}))
    _names(names, bool(options.get("ignore_case", True)))
    for number, example in enumerate(examples, start=1):
        _reference(example, names, bool(options.get("ignore_case", True)), f" of example {number}")
    return {"choices": names}


@scorer(prepare=_prepare)
def choice(
    example: Example,
    answer: str,
    *,
    choices: tuple[str, ...] = (),
    ignore_case: bool = True,
    where: Where = "anywhere",
) -> Score:
    """Score 1 if the answer names the class of the reference, and no other.

    A name counts as a whole word: `art` isn't found in `party`, nor `refund` in `non-refund`. Where one name is part of
    another, the longest wins. An answer that names two classes, or none, has no label and scores 0.

    Args:
        example: The prompt; its reference is the name of a class.
        answer: What the model answered.
        choices: The names of all classes; by default the references of all examples.
        ignore_case: Accept `Travel` for `travel`.
        where: `"anywhere"` in the answer, at its `"start"`, or the `"whole"` answer. Quotes, Markdown and punctuation
            around it don't count.
    """
    choices = choices or (example.expected.strip(),)
    expected = _reference(example, choices, ignore_case, "")
    found = named_choices(answer, choices, ignore_case=ignore_case, where=where)
    if len(found) > 1:
        return Score(0.0, f"names {len(found)} classes: {', '.join(found[:_SHOWN])}", None, expected)
    if not found:
        return Score(0.0, "names no class", None, expected)
    return Score(float(found[0] == expected), f"names {found[0]}", found[0], expected)


def named_choices(answer: str, choices: tuple[str, ...], *, ignore_case: bool, where: Where) -> list[str]:
    """Return the choices that a text names, in the order of their first mention.

    Raises:
        SpecError: The choices can't be told apart.
    """
    names = _names(choices, ignore_case)
    text = _normal(answer, ignore_case)
    if where == "whole":
        found = names.get(text, names.get(text.strip(_AROUND)))
        return [] if found is None else [found]
    if where == "start":
        text = text.lstrip(_AROUND) if not any(text.startswith(name) for name in names) else text
        at_start = (name for name in names if name in text[: len(name)] and _pattern(name).match(text))
        found = max(at_start, key=len, default=None)
        return [] if found is None else [names[found]]
    taken = bytearray(len(text))
    first_at: dict[str, int] = {}
    for name in sorted(names, key=len, reverse=True):
        if name not in text:
            continue
        for match in _pattern(name).finditer(text):
            begin, end = match.span()
            # The edges will do: names that were found before are at least as long.
            if not taken[begin] and not taken[end - 1]:
                taken[begin:end] = b"\1" * (end - begin)
                first_at.setdefault(name, begin)
    return [names[name] for name in sorted(first_at, key=first_at.__getitem__)]


def _reference(example: Example, choices: tuple[str, ...], ignore_case: bool, which: str) -> str:
    found = _names(choices, ignore_case).get(_normal(example.expected, ignore_case))
    if found is None:
        shown = ", ".join(repr(name) for name in choices[:_SHOWN])
        raise SpecError(
            f"the reference{which}, {example.expected[:80]!r}, isn't one of the {len(choices)} choices ({shown}"
            f"{', ...' if len(choices) > _SHOWN else ''}); add it to choices"
        )
    return found


def _normal(text: str, ignore_case: bool) -> str:
    text = " ".join(unicodedata.normalize("NFC", text).split())
    return text.casefold() if ignore_case else text


@lru_cache(maxsize=256)
def _names(choices: tuple[str, ...], ignore_case: bool) -> dict[str, str]:
    """Return the choices by their normal form."""
    found: dict[str, str] = {}
    for name in choices:
        normal = _normal(name, ignore_case)
        if not normal:
            raise SpecError(f"the name of a class must not be empty; got {list(choices[:_SHOWN])}")
        if normal in found:
            advice = "; pass ignore_case=False" if ignore_case and found[normal].strip() != name.strip() else ""
            raise SpecError(f"the choices {found[normal]!r} and {name!r} can't be told apart{advice}")
        found[normal] = name
    return found


@lru_cache(maxsize=4096)
def _pattern(name: str) -> re.Pattern[str]:
    """Return a pattern for a name as a whole word. It has no repetition, so that it takes linear time."""
    before = r"(?<!\w)(?<!\w-)" if _is_of_word(name[0]) else ""
    after = r"(?!\w)(?!-\w)" if _is_of_word(name[-1]) else ""
    return re.compile(f"{before}{re.escape(name)}{after}")


def _is_of_word(character: str) -> bool:
    """Return whether words of this script stand apart: Chinese and Japanese put none of them apart."""
    return (character.isalnum() or character == "_") and unicodedata.east_asian_width(character) not in "WF"
