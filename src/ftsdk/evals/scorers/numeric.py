"""`numeric`: the number in the answer is that of the reference, within a tolerance."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from decimal import Context, Decimal
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from ftsdk.errors import SpecError
from ftsdk.evals.examples import Example
from ftsdk.evals.scorers.scorer import Score, scorer

__all__ = ["numeric"]

_CONTEXT = Context(prec=60, traps=[])
_MOST_DIGITS, _LARGEST_EXPONENT = 200, 300
_SPACES = "\u00a0\u202f\u2009"
_RUN = re.compile(rf"[0-9](?:[0-9]|[.,'’/:{_SPACES}-](?=[0-9]))*")
"""Digits and what joins them, as long as they go on."""
_GROUPED = {
    mark: re.compile(rf"((?:[0-9]{{1,3}}(?:[{comma}'’{_SPACES}][0-9]{{3}})+)|[0-9]+)(?:[{mark}]([0-9]+))?", re.ASCII)
    for mark, comma in ((".", ","), (",", "."))
}
_BEFORE = re.compile(
    r"(?:(?<![\w)])([-+]))?(?:(?:[$€£¥₹₩₽₺₴฿]|\b(?:USD|EUR|GBP|CHF|JPY|CNY|INR|AUD|CAD)\b)\s?)?"
    r"(?:(?<![\w)])([-+]))?([.,])?\Z"
)
"""A sign and a currency, in either order, and a mark without digits before it."""
_OF_WORD = re.compile(r"(?:\w-?|/)\Z")
_LONGEST_BEFORE = 8
_EXPONENT = re.compile(r"[eE]([-+]?[0-9]{1,5})(?![\w])|\s?[×x*·]\s?10(?:\^|\*\*)[({]?([-+]?[0-9]{1,5})[)}]?")
_SCALE = re.compile(r"\s(thousand|million|billion|trillion)\b", re.IGNORECASE)
_SCALES = {"thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_PERCENT = re.compile(r"\s?(?:%|percent\b|per cent\b)", re.IGNORECASE)

Tolerance = Annotated[float, Field(ge=0, le=1e300)]
Mark = Literal[".", ","]


class _Number(NamedTuple):
    value: Decimal
    is_percent: bool


def _prepare(examples: Sequence[Example], *, decimal_mark: Mark = ".", **_: Any) -> Mapping[str, Any]:
    for number, example in enumerate(examples, start=1):
        _reference(example, decimal_mark, f" of example {number}")
    return {}


@scorer(prepare=_prepare)
def numeric(
    example: Example,
    answer: str,
    *,
    which: Literal["last", "first", "only"] = "last",
    absolute: Tolerance = 0.0,
    relative: Tolerance = 1e-9,
    decimal_mark: Mark = ".",
) -> Score:
    """Score 1 if the number in the answer equals that of the reference, within a tolerance, else 0.

    Reads thousands separators (`1,234.5`, `1'234.5`), a sign, a currency (`-$5`), exponents (`1.2e-3`,
    `1.2 × 10^-3`), `3 million`, units (`5kg`), and `12%`, which equals both 12 and 0.12 where only one of the two has a
    percent sign. Where a text has `#### 12`, as in GSM8K, the number after the last `####` counts.

    Doesn't read number words (`twelve`), fractions (`3/4`), dates, times and versions (`2024-05-01`, `10:30`, `1.2.3`),
    ranges (`3-4`), digits after letters (`x2`, `GPT-4`), digits of other scripts, and numbers of more than 200 digits;
    none of them count. An ordinary space is no separator: `1 234` is two numbers.

    Args:
        example: The prompt with its reference.
        answer: What the model answered.
        which: The number that counts, where there are several; `"only"` scores 0 then.
        absolute: The largest difference that is accepted.
        relative: The largest difference that is accepted, as a share of the reference. The larger of the two counts.
        decimal_mark: `","` reads `1.234,5` as one thousand and more.
    """
    expected = _reference(example, decimal_mark, "")
    numbers = _numbers(answer, decimal_mark)
    if not numbers:
        return Score(0.0, "no number in the answer")
    if which == "only" and len(numbers) > 1:
        return Score(0.0, f"{len(numbers)} numbers in the answer")
    found = numbers[-1 if which == "last" else 0]
    is_equal = any(_is_near(one, other, absolute, relative) for one, other in _readings(found, expected))
    return Score(float(is_equal), f"{_shown(found)} {'equals' if is_equal else 'differs from'} {_shown(expected)}")


def _readings(found: _Number, expected: _Number) -> list[tuple[Decimal, Decimal]]:
    pairs = [(found.value, expected.value)]
    if found.is_percent != expected.is_percent:
        share = expected.value.scaleb(-2, _CONTEXT) if expected.is_percent else expected.value.scaleb(2, _CONTEXT)
        pairs.append((found.value, share))
    return pairs


def _is_near(found: Decimal, expected: Decimal, absolute: float, relative: float) -> bool:
    limit = max(Decimal(absolute), _CONTEXT.multiply(Decimal(relative), abs(expected)))
    return abs(_CONTEXT.subtract(found, expected)) <= limit


def _shown(number: _Number) -> str:
    value = number.value.normalize(_CONTEXT)
    text = f"{value:f}" if -30 < value.adjusted() < 30 else f"{value:e}"
    return f"{text[:40]}{'%' if number.is_percent else ''}"


def _reference(example: Example, mark: Mark, which: str) -> _Number:
    numbers = _numbers(example.expected, mark)
    if not numbers:
        raise SpecError(f"the reference{which}, {example.expected[:80]!r}, has no number; numeric compares numbers")
    return numbers[-1]


def _numbers(text: str, mark: Mark) -> list[_Number]:
    """Return the numbers of a text, in their order."""
    if "####" in text and (after := _numbers(text.rpartition("####")[2], mark)):
        return after[:1]
    text = text.replace("−", "-")
    found: list[_Number] = []
    position = 0
    while (run := _RUN.search(text, position)) is not None:
        number, position = _read(text, run, mark)
        if number is not None:
            found.append(number)
    return found


def _read(text: str, run: re.Match[str], mark: Mark) -> tuple[_Number | None, int]:
    """Return the number of a run of digits, or None, and where the text goes on."""
    begin, end = run.span()
    before = text[max(0, begin - _LONGEST_BEFORE) : begin]
    parts = _GROUPED[mark].fullmatch(run.group())
    prefix = _BEFORE.search(before)
    if parts is None or prefix is None or len(run.group()) > _MOST_DIGITS:
        return None, end
    rest = before[: prefix.start()] if prefix.group() else before
    if not prefix.group().strip() and _OF_WORD.search(before) is not None:
        return None, end  # a part of a word
    whole, fraction = re.sub(r"[^0-9]", "", parts[1]), parts[2] or ""
    if prefix[3] == mark and _OF_WORD.search(rest) is None:
        whole, fraction = "0", whole + fraction
    exponent = 0
    if (power := _EXPONENT.match(text, end)) is not None:
        exponent, end = int(power[1] or power[2]), power.end()
    if abs(exponent) > _LARGEST_EXPONENT:
        return None, end
    if (scale := _SCALE.match(text, end)) is not None:
        exponent, end = exponent + _SCALES[scale[1].lower()], scale.end()
    is_percent = (percent := _PERCENT.match(text, end)) is not None
    sign = "-" if "-" in (prefix[1], prefix[2]) else ""
    return _Number(
        Decimal(f"{sign}{whole}.{fraction or '0'}e{exponent}"), is_percent
    ), percent.end() if percent else end
