"""The suite of general abilities, and the rules that judge its answers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ftsdk import Dataset
from ftsdk.evals import Example, FunctionTarget, evaluate
from ftsdk.evals.suites.general import general
from ftsdk.evals.suites.hallucination import hallucination
from ftsdk.evals.suites.item_check import item_check
from ftsdk.evals.suites.suite_rows import read_prompts


@pytest.mark.parametrize(
    ("check", "right", "wrong"),
    [
        ({"number": 7}, "It prints 7.", "It prints 8."),
        ({"accept": ["on foot", "walk"]}, "They walk.", "By ferry."),
        ({"accept": ["yes"], "reject": ["no"]}, "Yes!", "No, yes"),
        ({"accept": ["doesn't"], "reject": ["don't"]}, "He doesn’t know.", "He don’t know."),
        ({"pattern": r"(?i:ok)\W*"}, "ok.\n", "OK, here it is"),
    ],
)
def test_a_row_has_a_rule_of_its_own(check: dict[str, object], right: str, wrong: str) -> None:
    example = Example([], "any", {"check": check})

    assert (item_check(example, right).value, item_check(example, wrong).value) == (1.0, 0.0)


def test_every_reference_passes_its_own_rule() -> None:
    (item,) = general()
    examples = item.examples()

    assert len(examples) == len({example.prompt_text for example in examples}) == 152
    assert [one.prompt_text for one in examples if item.score(one, one.expected).value < 1] == []


def test_a_model_that_echoes_the_question_scores_low(tmp_path: Path) -> None:
    echo = FunctionTarget(name="echo", function=lambda messages: messages[-1]["content"], revision="1")

    assert evaluate(general(), [echo], into=tmp_path).score("general", "echo").value < 0.1


def test_a_target_that_says_nothing_useful_scores_near_zero(tmp_path: Path) -> None:
    silent = FunctionTarget(name="silent", function=lambda _: "I'm happy to help.", revision="1")

    assert evaluate(general(), [silent], into=tmp_path).score("general", "silent").value == 0.0


def test_no_prompt_is_among_the_rows_that_are_mixed_into_training() -> None:
    def words(text: str) -> frozenset[str]:
        asked = re.sub(r"(?<=[.?!] )(Answer|Explain) [^.]*\.", "", text).lower()
        return frozenset(re.findall(r"\w+", asked)) - {"a", "an", "the", "of", "for", "in", "is", "what"}

    trained = {words(row["messages"][0]["content"]) for row in Dataset.general()}
    asked = [one.prompt[-1]["content"] for item in (*general(), *hallucination()) for one in item.examples()]
    asked += [item["question"] for item in read_prompts("unrelated")]

    assert [text for text in asked if words(text) in trained] == []
