"""Numbers in answers."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ftsdk.errors import SpecError
from ftsdk.evals import Example
from ftsdk.evals.scorers.numeric import numeric


def is_right(reference: str, answer: str, **options: Any) -> bool:
    return numeric.with_options(**options)(Example([], reference), answer).value == 1.0


@pytest.mark.parametrize(
    ("reference", "answer"),
    [
        ("12", "The answer is 12."),
        ("12.0", "12"),
        ("1234.5", "$1,234.50"),
        ("1234567", "1'234'567 inhabitants"),
        ("1234", "1\u00a0234"),
        ("-5", "−5"),
        ("-5", "-$5"),
        ("-5", "x = -5"),
        ("5", "8 - 3 = 5"),
        ("3", "8 - 3"),
        ("0.5", "about .5"),
        ("0.0012", "1.2e-3"),
        ("1200", "1.2 × 10^3"),
        ("3000000", "3 million people"),
        ("12%", "12 percent"),
        ("12", "12%"),
        ("0.12", "12%"),
        ("Half of it.\n#### 7", "So it is 7"),
        ("7", "7 apples\n#### 7\nThat took 3 steps"),
        ("5", "5kg"),
        ("42", r"\boxed{42}"),
    ],
)
def test_numbers_are_read_as_they_are_written(reference: str, answer: str) -> None:
    assert is_right(reference, answer)


@pytest.mark.parametrize(
    "answer", ["twelve", "3/4", "2024-05-01", "10:30", "1.2.3", "3-4", "x4", "GPT-4", "1e999", "٤", "", "4" * 500]
)
def test_what_is_no_plain_number_is_not_read(answer: str) -> None:
    found = numeric(Example([], "4"), answer)
    assert (found.value, found.reason) == (0.0, "no number in the answer")


def test_which_number_counts_can_be_chosen() -> None:
    assert not is_right("2", "2 of 3")
    assert is_right("2", "2 of 3", which="first")
    assert not is_right("2", "2 of 3", which="only")
    assert is_right("2", "2", which="only")


def test_a_tolerance_is_absolute_or_relative() -> None:
    assert not is_right("100", "101")
    assert is_right("100", "101", absolute=1)
    assert is_right("100", "101", relative=0.01)
    assert not is_right("100", "101.1", relative=0.01)
    assert is_right("0", "0.001", absolute=0.01)


def test_a_comma_may_be_the_decimal_mark() -> None:
    assert is_right("1.234,5", "1234,50 Euro", decimal_mark=",")


def test_a_reference_without_a_number_is_refused() -> None:
    with pytest.raises(SpecError, match="'none', has no number"):
        is_right("none", "1")


@pytest.mark.parametrize("answer", ["1," * 500_000, "1" * 1_000_000, "-$" * 500_000, "#### " * 100_000, "1e" * 300_000])
def test_huge_answers_are_judged_in_time(answer: str) -> None:
    started = time.monotonic()
    assert not is_right("4", answer)
    assert time.monotonic() - started < 20
