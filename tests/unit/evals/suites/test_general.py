"""The suite of general abilities, and the rules that judge its answers."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftsdk.errors import DatasetError
from ftsdk.evals import Example, FunctionTarget, evaluate
from ftsdk.evals.suites.general import general
from ftsdk.evals.suites.item_check import item_check

OPTIONS = {"options": ["Porto", "Lisbon", "Madrid"]}


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("B", 1.0),
        ("(B)", 1.0),
        ("**B**", 1.0),
        ("B) Lisbon", 1.0),
        ("The answer is B.", 1.0),
        ("The correct answer is: **B**", 1.0),
        ("It is Lisbon, of course.", 1.0),
        ("A", 0.0),
        ("A town in the south is Lisbon", 1.0),
        ("The answer is a town", 0.0),
        ("B\n\nExplanation: not A", 1.0),
        ("Porto or Lisbon", 0.0),
        ("", 0.0),
        ("H", 0.0),
    ],
)
def test_an_option_is_named_by_letter_or_words(answer: str, value: float) -> None:
    assert item_check(Example([], "B", {"check": OPTIONS}), answer).value == value


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        ({"number": 7}, "It prints 7.", "It prints 8."),
        ({"accept": ["on foot", "walk"]}, "They walk.", "By ferry."),
        ({"accept": ["yes"], "reject": ["no"]}, "Yes!", "No, yes"),
        ({"pattern": r"(?i:ok)\W*"}, "ok.\n", "OK, here it is"),
    ],
)
def test_a_row_has_a_rule_of_its_own(check: dict[str, object], right: str, wrong: str) -> None:
    example = Example([], "any", {"check": check})

    assert (item_check(example, right).value, item_check(example, wrong).value) == (1.0, 0.0)


def test_every_reference_passes_its_own_rule() -> None:
    (item,) = general()
    examples = item.examples()

    assert len(examples) == len({example.prompt_text for example in examples}) == 120
    assert [one.prompt_text for one in examples if item.score(one, one.expected).value < 1] == []


def test_letters_are_spread_over_the_options() -> None:
    (item,) = general()
    letters = [one.expected for one in item.examples() if "options" in one.columns["check"]]

    assert max(letters.count(letter) for letter in "ABCD") <= len(letters) * 0.3


def test_a_target_that_says_nothing_useful_scores_near_zero(tmp_path: Path) -> None:
    silent = FunctionTarget(name="silent", function=lambda _: "I'm happy to help.", revision="1")

    assert evaluate(general(), [silent], into=tmp_path).score("general", "silent").value == 0.0


def test_a_suite_in_a_job_is_refused() -> None:
    with pytest.raises(DatasetError, match=r"run\.evaluate"):
        general()[0].to_dict()
