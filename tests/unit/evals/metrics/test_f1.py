"""F1 and accuracy against scikit-learn, and the speed of their intervals."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sklearn.metrics import confusion_matrix as sklearn_matrix
from sklearn.metrics import f1_score, precision_recall_fscore_support

from ftsdk.errors import SpecError
from ftsdk.evals import Score
from ftsdk.evals.confusion import ConfusionMatrix, confusion_matrix
from ftsdk.evals.metrics.accuracy import accuracy
from ftsdk.evals.metrics.f1 import macro_f1, weighted_f1
from ftsdk.evals.metrics.median import median
from ftsdk.evals.metrics.micro_f1 import micro_f1
from ftsdk.evals.statistics import bootstrap_interval, swaps

UNDEFINED: Any = 0.0


def made(count: int, classes: int, *, seed: int = 0) -> list[Score]:
    chance = random.Random(seed)
    found: list[Score] = []
    for _ in range(count):
        expected = f"c{chance.randrange(classes)}"
        drawn = chance.random()
        label = expected if drawn < 0.7 else None if drawn < 0.75 else f"c{chance.randrange(classes + 1)}"
        found.append(Score(float(label == expected), "", label, expected))
    return found


@pytest.mark.parametrize(("count", "classes"), [(1, 1), (7, 3), (500, 8), (3000, 77)])
def test_f1_agrees_with_scikit_learn(count: int, classes: int) -> None:
    scores = made(count, classes)
    references = [str(score.expected_label) for score in scores]
    answers = [score.label or "none" for score in scores]
    labels = sorted({*references, *answers} - {"none"})

    for metric, average in ((macro_f1, "macro"), (weighted_f1, "weighted"), (micro_f1, "micro")):
        expected = f1_score(references, answers, labels=labels, average=average, zero_division=UNDEFINED)
        assert metric(scores) == pytest.approx(expected, abs=1e-12)
    matrix = confusion_matrix(scores)
    assert matrix.labels == tuple(labels)
    assert [list(row) for row in matrix.counts] == sklearn_matrix(references, answers, labels=labels).tolist()
    by_class: Any = precision_recall_fscore_support(references, answers, labels=labels, zero_division=UNDEFINED)
    for position, one in enumerate(matrix.classes):
        found = (one.precision, one.recall, one.f1, one.support)
        assert found == pytest.approx([column[position] for column in by_class], abs=1e-12)


def test_the_interval_is_that_of_the_plain_bootstrap() -> None:
    scores = made(300, 5)
    plain = bootstrap_interval(len(scores), lambda drawn: macro_f1([scores[index] for index in drawn]))
    found = macro_f1.interval(scores, is_bounded=True)

    assert found[:2] == pytest.approx(plain[:2], abs=0.02)
    assert macro_f1.interval(scores, is_bounded=True) == found
    grouped = macro_f1.interval(scores * 4, is_bounded=True, groups=[index % 300 for index in range(1200)])
    assert grouped[:2] == pytest.approx(plain[:2], abs=0.02)


def test_the_interval_of_thousands_of_examples_takes_no_time() -> None:
    scores, others = made(5000, 20), made(5000, 20)
    started = time.process_time()
    low, high, method = macro_f1.interval(scores, is_bounded=True)
    difference = macro_f1.difference(scores, others, is_bounded=True)

    assert time.process_time() - started < 20  # 2,000 calls of the metric take minutes
    assert (method, difference[:2]) == ("bootstrap", (0.0, 0.0)) or difference.low <= 0 <= difference.high
    assert low < macro_f1(scores) < high


def test_faultless_answers_leave_room_for_doubt() -> None:
    scores = [Score(1.0, "", label, label) for label in ("a", "b") * 20]

    assert macro_f1(scores) == 1.0
    low, high, method = macro_f1.interval(scores, is_bounded=True)
    assert (high, method) == (1.0, "wilson")
    assert 0.9 < low < 1
    low, high, method = macro_f1.difference(scores, scores, is_bounded=True)
    assert (method, low < 0 < high) == ("tango", True)


def test_answers_without_a_class_count_as_wrong() -> None:
    scores = [Score(1.0, "", "a", "a"), Score(0.0, "", None, "a"), Score(1.0, "", "b", "b")]

    assert accuracy(scores) == pytest.approx(2 / 3)
    assert macro_f1(scores) == pytest.approx((2 / 3 + 1) / 2)
    assert confusion_matrix(scores).unnamed == (1, 0)


def test_accuracy_counts_full_scores_where_there_are_no_classes() -> None:
    scores = [Score(1.0, ""), Score(0.9, ""), Score(0.0, "")]

    assert (accuracy(scores), median(scores)) == (pytest.approx(1 / 3), 0.9)
    assert accuracy.interval(scores, is_bounded=True).method == "wilson"


def test_scores_without_classes_have_no_f1() -> None:
    with pytest.raises(SpecError, match=r"'macro_f1' counts classes, and the scorer names none; .*'choice'"):
        macro_f1([Score(1.0, "")])
    with pytest.raises(SpecError, match="a confusion matrix needs scores"):
        confusion_matrix([])


def test_a_confusion_matrix_is_readable_and_survives_plain_data() -> None:
    matrix = confusion_matrix(made(100, 3))

    assert ConfusionMatrix.from_dict(matrix.to_dict()) == matrix
    assert (matrix.n, matrix.accuracy) == (100, pytest.approx(accuracy(made(100, 3))))
    assert "(no class)" in str(matrix)
    assert matrix.confusions(1)[0][2] == max(count for _, _, count in matrix.confusions(99))
    assert "\x1b" not in str(confusion_matrix([Score(0.0, "", "\x1b[31m", "a")]))


@pytest.mark.parametrize("groups", [None, [number // 5 for number in range(300)]])
def test_p_values_of_sums_are_those_of_swapped_answers(groups: list[int] | None) -> None:
    first, second = made(300, 3, seed=1), made(300, 3, seed=2)
    better = [replace(one, label=one.expected_label) if n % 4 == 0 else one for n, one in enumerate(first)]
    for other in (second, better, first):
        other = [replace(two, expected_label=one.expected_label) for one, two in zip(first, other, strict=True)]

        def difference(is_swapped: Sequence[bool], other: Sequence[Score] = other) -> float:
            chosen = list(zip(first, other, is_swapped, strict=True))
            return macro_f1([a if swap else b for a, b, swap in chosen]) - macro_f1(
                [b if swap else a for a, b, swap in chosen]
            )

        assert macro_f1.p_value_rule is not None
        found = macro_f1.p_value_rule(first, other, groups=groups)
        assert found == pytest.approx(swaps(300, difference, groups=groups), abs=0.08)


def test_p_values_of_many_examples_take_seconds() -> None:
    first, second = made(100_000, 8, seed=1), made(100_000, 8, seed=1)
    started = time.process_time()
    assert macro_f1.p_value_rule is not None
    assert macro_f1.p_value_rule(first, second, groups=None) == 1.0
    assert time.process_time() - started < 10
