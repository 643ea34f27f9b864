"""The error rates that the docs promise, simulated with seeds, looking after every pair."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest

from ftsdk import Gate
from ftsdk.deploy.router.alias import Alias
from ftsdk.deploy.router.evidence import PairCounts, ShareCounts, log_capital, log_capital_below, log_capital_within
from ftsdk.deploy.router.trial import Trial, TrialRule, rule_of

LEVEL = 0.05


@cache
def boundary(most: int) -> np.ndarray:
    """The fewest losses that decide, for each number of pairs in which one was right."""
    found, losses = [], 0
    for pairs in range(most + 1):
        while losses <= pairs and log_capital(losses, pairs - losses) < -math.log(LEVEL):
            losses += 1
        found.append(losses)
    return np.array(found)


def pairs_until_rollback(
    champion: float, canary: float, *, trials: int, most: int, alike: float, seed: int
) -> np.ndarray:
    """Return after how many pairs each trial ended; infinity if it didn't. `alike`: the share answered alike."""
    random = np.random.default_rng(seed)
    first = random.random((trials, most), dtype=np.float32)
    second = np.where(random.random((trials, most), dtype=np.float32) < alike, first, random.random((trials, most)))
    right, other = first < champion, second < canary
    losses = np.cumsum(right & ~other, axis=1)
    decisive = np.cumsum(right != other, axis=1)
    is_over = losses >= boundary(most)[decisive]
    return np.where(is_over.any(axis=1), is_over.argmax(axis=1) + 1.0, np.inf)


@pytest.mark.parametrize("quality", [0.95, 0.7])
@pytest.mark.parametrize("alike", [0.5, pytest.param(0.0, marks=pytest.mark.slow)])
def test_of_1000_good_versions_at_most_50_are_turned_back_in_10000_looks_each(quality: float, alike: float) -> None:
    ended = np.concatenate(
        [pairs_until_rollback(quality, quality, trials=250, most=10_000, alike=alike, seed=seed) for seed in range(4)]
    )

    assert len(ended) == 1000
    assert np.isfinite(ended).mean() <= LEVEL


@pytest.mark.parametrize("alike", [0.0, 0.5])
@pytest.mark.parametrize(("canary", "most_pairs"), [(0.85, 150), (0.90, 500)])
def test_a_drop_is_turned_back_soon(canary: float, most_pairs: int, alike: float) -> None:
    ended = pairs_until_rollback(0.95, canary, trials=400, most=3_000, alike=alike, seed=5)

    assert np.median(ended) <= most_pairs
    assert np.isfinite(ended).mean() >= 0.99


def test_a_trial_decides_where_the_simulation_does() -> None:
    random = np.random.default_rng(3)
    for _ in range(5):
        trial = Trial(Alias(rollout="r", champion="v3", canary="v4", share=0.1), TrialRule())
        losses = decisive = 0
        for _ in range(400):
            champion, canary = random.random() < 0.95, random.random() < 0.8
            trial.pairs.add(canary=canary, champion=champion)
            losses += champion and not canary
            decisive += champion != canary
            is_over = trial.judgement() is not None
            assert is_over == (losses >= boundary(400)[decisive])
            if is_over:
                break
        assert is_over


def test_promotion_is_the_mirrored_test() -> None:
    assert PairCounts(canary_only=20).canary_is_better() == PairCounts(champion_only=20).canary_is_worse()


def test_a_limit_turns_back_what_is_shown_to_be_below_it_and_seldom_what_is_at_it() -> None:
    random = np.random.default_rng(7)
    turned_back = 0
    for _ in range(200):
        right = np.cumsum(random.random(500) < 0.9)
        turned_back += any(
            log_capital_below(int(right[n]), n + 1 - int(right[n]), 0.9) >= -math.log(LEVEL) for n in range(0, 500, 5)
        )
    assert turned_back / 200 <= LEVEL
    below = ShareCounts(accepted=120, rejected=30)
    assert below.is_below(0.9) >= -math.log(LEVEL)
    assert below.is_below(0.8) < 0


@pytest.mark.parametrize("counts", [(3, 90, 5), (0, 0, 4), (7, 10, 0)])
def test_a_bet_within_a_margin_is_fair_where_the_margin_is_just_reached(counts: tuple[int, int, int]) -> None:
    """Its expected factor for one more pair is 1 if the canary is worse by exactly the margin."""
    margin = 0.05
    before = math.exp(log_capital_within(*counts, margin))
    worse, equal, better = counts
    after = [
        math.exp(log_capital_within(worse + 1, equal, better, margin)),
        math.exp(log_capital_within(worse, equal + 1, better, margin)),
        math.exp(log_capital_within(worse, equal, better + 1, margin)),
    ]
    expected = 0.12 * after[0] + 0.81 * after[1] + 0.07 * after[2]
    assert expected == pytest.approx(before)


def test_an_equal_version_is_promoted_within_a_margin_only() -> None:
    pairs = PairCounts(both=2000, canary_only=20, champion_only=20)

    assert pairs.canary_is_better() < -math.log(LEVEL)
    assert pairs.canary_is_better(0.02) >= -math.log(LEVEL)


def test_a_gate_says_what_of_it_live_answers_show() -> None:
    gate = Gate(metric="accuracy", at_least=0.9, confidence=0.99, no_regression={"general": 0.01, "accuracy": 0.02})
    rule, unseen = rule_of(gate)

    assert (rule.at_least, rule.margin, round(rule.level, 6)) == (0.9, 0.02, 0.01)
    assert unseen == ["no_regression of general"]
    assert rule.needed == pytest.approx(math.log(200)), "two tests share the level"


def test_users_verdicts_are_paired_in_their_order() -> None:
    trial = Trial(Alias(rollout="r", champion="v3", canary="v4", share=0.1), TrialRule(uses_feedback=True))
    for accepted in (True, True, False):
        assert trial.add_feedback(arm="v3", accepted=accepted) is None
    assert trial.add_feedback(arm="v4", accepted=False) == {"canary": False, "champion": True}
    assert trial.add_feedback(arm="other", accepted=False) is None
    for _ in range(2):
        trial.add_feedback(arm="v4", accepted=False)
    assert trial.feedback.to_dict() == {"both": 0, "neither": 1, "canary_only": 0, "champion_only": 2}
