"""Two answers against each other, in both orders."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from chat_script import MakeEndpoint, Script
from scipy.stats import binomtest

from ftsdk.errors import SpecError
from ftsdk.evals import ExampleResult
from ftsdk.evals.judges import PairwiseReport, pairwise_judge
from ftsdk.evals.judges.pairwise import Outcome
from ftsdk.evals.statistics import wilson_interval


def results(*outputs: str) -> list[ExampleResult]:
    return [
        ExampleResult(number, f"user: {number}", "", output, 0.0, "", error=None if output else "HTTP 500")
        for number, output in enumerate(outputs)
    ]


def shown(asked: str) -> tuple[str, str]:
    first, second = re.findall(r"ANSWER [AB] begins =====\n(.*?)\n=====", asked, re.DOTALL)
    return first, second


def says(choose: Callable[[str, str], str]) -> Callable[[str], str]:
    return lambda asked: json.dumps({"reason": "so", "better": choose(*shown(asked))})


def longer(first: str, second: str) -> str:
    return "tie" if len(first) == len(second) else "A" if len(first) > len(second) else "B"


def test_an_answer_wins_only_in_both_orders(make_endpoint: MakeEndpoint, script: Script, tmp_path: Path) -> None:
    script.reply = says(longer)
    judge = pairwise_judge(make_endpoint(), "Longer is better.")
    base, tuned = results("aa", "aaaa", "aa", "same", "x"), results("aaa", "a", "bb", " same", "")
    report = judge.compare(base, tuned, into=tmp_path)

    assert report.outcomes == ("win", "loss", "tie", "tie", "loss")
    assert (report.first_shown_share, report.flips, len(script.asked)) == (0.5, 0, 6)
    assert judge.compare(base, tuned, into=tmp_path) == report
    assert len(script.asked) == 6
    assert "judge: 6 requests" in str(report)


def test_position_bias_makes_ties_and_is_reported(make_endpoint: MakeEndpoint, script: Script) -> None:
    script.reply = says(lambda first, second: "A")
    report = pairwise_judge(make_endpoint(), "Any.").compare(results("a", "b"), results("c", "d"))

    assert (report.ties, report.flips, report.first_shown_share) == (2, 2, 1.0)
    assert (report.win_share, report.preference, report.p_value) == (None, 0.5, 1.0)
    assert "position: 100.0% of verdicts are for the answer shown first" in str(report)


def test_a_reply_without_a_verdict_is_counted_apart(make_endpoint: MakeEndpoint, script: Script) -> None:
    script.reply = lambda asked: "A is better" if "user: 0" in asked else says(longer)(asked)
    report = pairwise_judge(make_endpoint(), "Any.").compare(results("a", "b"), results("cc", "dd"))

    assert report.outcomes == ("no verdict", "win")
    assert report.to_dict()["errors"] == 1


def test_the_statistics_are_those_of_the_sign_test() -> None:
    times: dict[Outcome, int] = {"win": 15, "tie": 6, "loss": 4}
    report = PairwiseReport(
        names=("base", "tuned"),
        outcomes=tuple(outcome for outcome, count in times.items() for _ in range(count)),
        reasons=("",) * 25,
        first_shown=30,
        second_shown=10,
        flips=0,
    )

    assert report.p_value == pytest.approx(binomtest(15, 19).pvalue, abs=1e-12)
    assert (report.win_share, report.preference) == (15 / 19, 18 / 25)
    assert report.win_interval == wilson_interval(15, 19)
    assert report.first_shown_interval == wilson_interval(30, 40)


def test_results_of_other_examples_are_refused(make_endpoint: MakeEndpoint) -> None:
    judge = pairwise_judge(make_endpoint(), "Any.")
    with pytest.raises(SpecError, match="of the same examples"):
        judge.compare(results("a"), results("a", "b"))
    with pytest.raises(SpecError, match="of the same examples"):
        judge.compare([], [])
    with pytest.raises(SpecError, match="criteria"):
        pairwise_judge(make_endpoint(), " ")
