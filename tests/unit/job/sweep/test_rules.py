"""Rules that stop trials early."""

from __future__ import annotations

import pytest

from ftsdk import MedianRule, SpecError, SuccessiveHalving
from ftsdk.job.sweep.rules import OtherTrial, read_rule


def ended(*values: float) -> OtherTrial:
    """A trial with values at even shares of its training, up to its end."""
    return OtherTrial([((n + 1) / len(values), value) for n, value in enumerate(values)], is_complete=True)


THREE = [ended(4.0, 3.0, 2.0, 1.0), ended(4.4, 3.4, 2.4, 1.4), ended(5.0, 4.0, 3.0, 2.0)]


def test_a_trial_worse_than_the_median_of_running_means_is_stopped() -> None:
    # Running means at half of the training: 3.5, 3.9, 4.5.
    assert MedianRule().why_stop([(0.25, 4.5), (0.5, 3.95)], THREE) == (
        "at 50% its best is 3.95, worse than the median 3.9 of 3 trials"
    )
    assert MedianRule().why_stop([(0.25, 4.5), (0.5, 3.9)], THREE) == ""
    # Its best so far counts, not its last.
    assert MedianRule().why_stop([(0.25, 3.8), (0.5, 9.0)], THREE) == ""


def test_the_median_rule_waits_for_enough_trials_and_for_the_warmup() -> None:
    bad = [(0.5, 99.0)]
    assert MedianRule().why_stop(bad, THREE[:2]) == ""
    assert MedianRule(least_trials=2).why_stop(bad, THREE[:2])
    unfinished = [*THREE[:2], THREE[2]._replace(is_complete=False)]
    assert MedianRule().why_stop(bad, unfinished) == ""
    assert MedianRule().why_stop([(0.1, 99.0)], [ended(*[1.0] * 10)] * 3) == ""
    assert MedianRule(from_share=0.1).why_stop([(0.1, 99.0)], [ended(*[1.0] * 10)] * 3)


def test_no_rule_stops_a_trial_at_its_end() -> None:
    for rule in (MedianRule(), SuccessiveHalving()):
        assert rule.why_stop([(1.0, 99.0)], THREE) == ""
        assert rule.why_stop([], THREE) == ""


def test_halving_goes_on_with_the_best_third_at_a_rung() -> None:
    rule = SuccessiveHalving(first_share=0.25)
    assert rule.why_stop([(0.25, 3.9)], THREE) == ""
    assert rule.why_stop([(0.25, 4.1)], THREE) == "at 25% its 4.1 isn't among the best 1 of 4 trials"
    five_more = [*THREE, ended(9, 9, 9, 9), ended(9, 9, 9, 9)]
    assert rule.why_stop([(0.25, 4.1)], five_more) == ""  # the best two of six go on


def test_halving_judges_once_at_each_rung() -> None:
    rule = SuccessiveHalving(first_share=0.25)
    assert rule.why_stop([(0.2, 99.0)], THREE) == ""
    assert rule.why_stop([(0.25, 1.0), (0.5, 99.0)], THREE) == ""
    assert rule.why_stop([(0.25, 1.0), (0.5, 1.0), (0.75, 99.0)], THREE)


def test_the_first_trial_at_a_rung_goes_on() -> None:
    assert SuccessiveHalving(first_share=0.25).why_stop([(0.25, 99.0)], []) == ""


def test_a_rule_is_found_by_its_name_and_kept_as_data() -> None:
    assert read_rule("median") == MedianRule()
    assert read_rule(SuccessiveHalving(reduction=2).to_dict()) == SuccessiveHalving(reduction=2)
    assert read_rule(None) is None
    with pytest.raises(SpecError, match="did you mean 'median'"):
        read_rule("medain")
