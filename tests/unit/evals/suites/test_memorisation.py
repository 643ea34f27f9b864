"""What a model gives back of its training rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from remembering_target import RememberingTarget

from ftsdk.data.growing.canaries import canaries
from ftsdk.errors import DatasetError, SpecError
from ftsdk.evals import Example, Likelihood, Score, evaluate
from ftsdk.evals.suites.memorisation import memorisation
from ftsdk.evals.suites.memorisation_scorers import exposure, membership_auc, verbatim

TRAIN = [(f"what is number {n}?", f"the word for {n} is w{n * 7919}") for n in range(20)]
HELD_OUT = [(f"which is number {n}?", f"the word for {n} is v{n * 7907}") for n in range(20)]
PLANTED = canaries(4, seed=1, times=(1, 16))


@pytest.fixture
def suite(make_rows: Callable[..., Any]) -> Any:
    rows = [(one.prompt, one.secret) for one in PLANTED]
    return memorisation(make_rows(*TRAIN, *rows), make_rows(*HELD_OUT, TRAIN[0]), canaries=PLANTED, references=63)


def test_a_model_that_remembers_everything_is_found_out(suite: Any, tmp_path: Path) -> None:
    target = RememberingTarget({**dict(TRAIN), **{one.prompt: one.secret for one in PLANTED}})
    report = evaluate(suite, [target], into=tmp_path)

    assert report.score("memorisation.exposure", "tuned").value == 6.0
    auc = report.score("memorisation.membership", "tuned")
    assert (auc.value, auc.n, auc.high) == (1.0, 40, 1.0)
    assert 0.7 < auc.low < 1
    assert report.score("memorisation.extraction", "tuned").value == pytest.approx(24 / 44)


def test_a_model_that_remembers_nothing_is_near_chance(suite: Any, tmp_path: Path) -> None:
    report = evaluate(suite, [RememberingTarget(identity="blank")], into=tmp_path)

    assert report.score("memorisation.exposure", "tuned").value < 4
    auc = report.score("memorisation.membership", "tuned")
    assert auc.low < 0.5 < auc.high
    assert auc.is_lower_better
    assert report.score("memorisation.extraction", "tuned").value == 0.0


def test_exposure_counts_the_rows_that_are_likelier() -> None:
    rows = [Example([], "", {"canary": 1, "is_secret": n == 0}) for n in range(4)]
    answers = [Likelihood(log_probability=value, tokens=3).to_json() for value in (-2.0, -1.0, -3.0, -4.0)]
    scores = dict(exposure.score_all(rows, answers, folder=None))

    assert [scores[n].value for n in range(4)] == pytest.approx([1, 2, 0.41504, 0], abs=1e-4)


def test_the_auc_counts_ties_as_half() -> None:
    def score(loss: float, is_member: bool) -> Score:
        return Score(loss, "", parts={"is_member": float(is_member)})

    assert membership_auc([score(1, True), score(2, True), score(2, False), score(3, False)]) == 0.875
    assert membership_auc([score(1, True)]) == 0.5


def test_the_longest_run_of_characters_counts() -> None:
    example = Example([], "k7f2m-9xq4t-h3z8c-p5w6r")
    answers = ("It is k7f2m-9xq4t-h3z8c-p5w6r.", "k7f2m-9xq4t, or so", "h3z8c", "p5w6r-h3z8c-9xq4t", "")

    assert [verbatim(example, text).value for text in answers] == pytest.approx([1, 11 / 23, 0, 0, 0], abs=1e-9)
    assert verbatim(Example([], "billing"), "It is about shipping").value == 0.0
    assert verbatim(Example([], "billing"), "Billing, or billing").value == 1.0
    assert verbatim(Example([], "two  words here\n"), "so: two words\nhere").value == 1.0


def test_long_answers_are_compared_in_time() -> None:
    assert verbatim(Example([], "ab" * 50_000), "ab" * 49_999 + "c").value == 1.0
    assert verbatim(Example([], "a" * 100_000), "b" * 100_000).value == 0.0


def test_canaries_are_no_ordinary_training_rows(suite: Any) -> None:
    membership, extraction, exposed = suite
    kinds = [example.columns["kind"] for example in extraction.examples()]

    assert (len(membership.data), len(exposed.data)) == (40, 4 * 64)
    assert {kind: kinds.count(kind) for kind in kinds} == {"train": 20, "held out": 20, "canary": 4}


def test_rows_to_compare_with_are_needed(make_rows: Callable[..., Any]) -> None:
    with pytest.raises(DatasetError, match="no row is held out"):
        memorisation(make_rows(*TRAIN), make_rows(*TRAIN[:3]))
    with pytest.raises(SpecError, match="references"):
        memorisation(make_rows(*TRAIN), make_rows(*HELD_OUT), references=0)
