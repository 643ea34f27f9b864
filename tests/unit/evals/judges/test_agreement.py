"""Agreement of a judge with people."""

from __future__ import annotations

import random
from typing import Literal

import pytest
from sklearn.metrics import cohen_kappa_score

from ftsdk.errors import SpecError
from ftsdk.evals import Score
from ftsdk.evals.judges import agreement


def grades(count: int = 200) -> tuple[list[int], list[int]]:
    chance = random.Random(5)
    human = [chance.randint(1, 5) for _ in range(count)]
    return [min(5, max(1, one + chance.choice((-1, 0, 0, 0, 1)))) for one in human], human


@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
def test_kappa_agrees_with_scikit_learn(weights: Literal["linear", "quadratic"] | None) -> None:
    judge, human = grades()
    found = agreement(judge, human, weights=weights)

    assert found.kappa == pytest.approx(cohen_kappa_score(judge, human, weights=weights), abs=1e-12)
    assert found.low < found.kappa < found.high
    assert found.n == 200


def test_scores_count_by_grade_label_or_value() -> None:
    assert agreement([Score(0.5, "", parts={"grade": 3.0}), Score(0.0, "", parts={"grade": 1.0})], [3, 1]).kappa == 1
    assert agreement([Score(1.0, "", "a", "a"), Score(0.0, "", "b", "a")], ["a", "b"]).kappa == 1
    assert agreement([Score(1.0, ""), Score(0.0, "")], [True, False]).kappa == 1


def test_missing_verdicts_are_counted_and_full_agreement_leaves_doubt() -> None:
    found = agreement([Score(0.0, "", error="malformed"), *([1, 2] * 10)], [1, *([1, 2] * 10)])

    assert (found.missing, found.n, found.kappa, found.high) == (1, 20, 1.0, 1.0)
    assert 0.5 < found.low < 1
    assert "1 without a verdict left out" in str(found)


def test_chance_is_no_agreement() -> None:
    assert agreement(["a", "a", "b", "b"], ["a", "b", "a", "b"]).kappa == 0
    assert agreement(["a", "a"], ["a", "a"]).kappa == 1


@pytest.mark.parametrize(
    ("judge", "human", "weights", "message"),
    [
        ([1], [1, 2], None, "a label for each verdict"),
        ([], [], None, "at least one verdict"),
        (["a"], ["b"], "linear", "numbers"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    judge: list[object], human: list[object], weights: Literal["linear"] | None, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        agreement(judge, human, weights=weights)


@pytest.mark.parametrize("n", [1, 20])
def test_one_disagreement_again_and_again_shows_nothing(n: int) -> None:
    found = agreement(["good"] * n, ["bad"] * n)
    assert (found.kappa, found.low, found.high) == (0.0, -1.0, 1.0)
