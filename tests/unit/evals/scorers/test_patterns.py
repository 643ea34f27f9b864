"""Answers that match, or contain."""

from __future__ import annotations

import time
from typing import Any

import pytest

from ftsdk.errors import SpecError
from ftsdk.evals import Example
from ftsdk.evals.scorers.contains import contains
from ftsdk.evals.scorers.regex import regex

BLUE = Example([], "blue")


@pytest.mark.parametrize(
    ("answer", "options", "value"),
    [
        ("The answer: 12", {"pattern": r"\d+"}, 1.0),
        ("none", {"pattern": r"\d+"}, 0.0),
        ("12 ", {"pattern": r"\d+", "whole": True}, 1.0),
        ("12 kg", {"pattern": r"\d+", "whole": True}, 0.0),
        ("Answer: blue", {"pattern": r"answer: (\w+)", "compare": True, "ignore_case": True}, 1.0),
        ("red, then blue", {"pattern": r"red|blue", "compare": True}, 0.0),
        ("red, then blue", {"pattern": r"red|blue", "compare": True, "which": "last"}, 1.0),
        ("x", {"pattern": r"(y)?x", "compare": True}, 0.0),
    ],
)
def test_a_pattern_matches_or_what_it_finds_is_compared(answer: str, options: dict[str, Any], value: float) -> None:
    assert regex.with_options(**options)(BLUE, answer).value == value


def test_a_pattern_that_backtracks_for_ever_is_stopped() -> None:
    started = time.monotonic()
    found = regex.with_options(pattern=r"(?=(a+))(a|aa)+$", timeout_s=0.2)(BLUE, "a" * 60 + "b")

    assert (found.value, found.reason) == (0.0, "the pattern took longer than 0.2 s on this answer")
    assert time.monotonic() - started < 30


def test_a_broken_pattern_is_refused_before_anything_is_judged() -> None:
    with pytest.raises(SpecError, match=r"pattern of the scorer 'regex' must be a regular expression \(missing \)"):
        regex.with_options(pattern="(a")


def test_an_answer_contains_the_reference_or_given_texts() -> None:
    assert contains(BLUE, "light blue!").value == 1.0
    assert contains(BLUE, "Blue").value == 0.0
    assert contains.with_options(ignore_case=True)(BLUE, "BLUE").value == 1.0
    both = contains.with_options(texts=("a", "b"))
    assert (both(BLUE, "b").value, both(BLUE, "b").reason) == (0.0, "1 of 2 missing: 'a'")
    assert both.with_options(need="any")(BLUE, "b").value == 1.0


def test_an_empty_text_is_in_every_answer_and_is_refused() -> None:
    with pytest.raises(SpecError, match="every answer contains an empty text"):
        contains(Example([], " "), "a")
