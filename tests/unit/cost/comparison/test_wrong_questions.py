"""What can't be asked is refused in words, by the call as by the file and the command."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ftsdk.cli.app import app
from ftsdk.cost import PriceBook, SelfHosted, Situation, Workload, crossover
from ftsdk.cost.comparison.crossover_file import CrossoverFile
from ftsdk.errors import SpecError

EXAMPLE = Path(__file__).parents[4] / "examples" / "cost" / "email_crossover.yaml"
HEAD = (
    "workload: {input_tokens: 600, output_tokens: 15, requests_per_month: 1000000}\napi: anthropic/claude-haiku-4-5\n"
)
OWN = "self_hosted: {model: mistralai/Mistral-7B-Instruct-v0.3, gpu: L4, provider: runpod}\n"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"discount_per_year": -1}, "discount_per_year=-1 must be finite and at least 0"),
        ({"retrains_per_year": math.inf}, "retrains_per_year=inf must be"),
        ({"retrains_per_year": math.nan}, "retrains_per_year=nan must be"),
        ({"retrains_per_year": "4"}, "retrains_per_year='4' isn't a number"),
        ({"seed": -1}, "seed=-1 can't be negative"),
        ({"seed": 1.5}, "seed=1.5 isn't a whole number"),
        ({"scenarios": 1000.5}, "scenarios=1000.5 isn't a whole number"),
        ({"scenarios": True}, "scenarios=True isn't a whole number"),
        ({"scenarios": 10_000_001}, "scenarios=10000001 takes too much memory; give at most 10,000,000"),
        ({"training": 1e30}, "the numbers are too far apart to compare: a cost is above 1e24 US dollars"),
        ({"training": 1e300}, "too far apart"),
        ({"training": 10, "retrains_per_year": 1e300}, "too far apart"),
        ({"discount_per_year": 1e300}, "too far apart"),
        ({"training": "12"}, "training='12' isn't US dollars of one run"),
        ({"training": True}, "training=True isn't US dollars of one run"),
        ({"training": {"low": 1}}, "isn't US dollars of one run"),
    ],
)
def test_an_impossible_argument_is_refused_by_name(book: PriceBook, wrong: dict[str, Any], said: str) -> None:
    asked: dict[str, Any] = {
        "workload": Workload(requests_per_month=1e6, input_tokens=600, output_tokens=15),
        "api": "anthropic/claude-haiku-4-5",
        "self_hosted": SelfHosted(model="mistralai/Mistral-7B-Instruct-v0.3", gpu="L4", provider="runpod"),
        "book": book,
        **wrong,
    }
    with pytest.raises(SpecError, match=re.escape(said)):
        crossover(**asked)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("training: '12'", "training: US dollars of one run as a number, such as 12.5 without quotes"),
        ("training: -1", "training: US dollars of one run can't be -1"),
        ("training: {low: 1, likely: 2, source: me}", "training.high: is required"),
        (
            "retrains_per_year: 1e6",
            "retrains_per_year: input should be a number, not text: YAML takes an exponent only after a point and with "
            "a sign",
        ),
        ("retrains_per_year: '4'", "retrains_per_year: input should be a number, not text: write it without quotes"),
        (
            "operations: {usd_per_hour: '75'}",
            "operations.usd_per_hour: input should be a number, not text: write it without quotes",
        ),
        ("other_apis: openai/gpt-4o", "other_apis: input should be a list, such as [openai/gpt-4o]"),
        ("seed: -1", "seed: input should be greater than or equal to 0"),
    ],
)
def test_a_file_is_corrected_in_words_of_people_not_of_types(tmp_path: Path, line: str, said: str) -> None:
    (tmp_path / "q.yaml").write_text(f"{HEAD}{OWN}{line}\n")
    with pytest.raises(SpecError) as caught:
        CrossoverFile.from_yaml(tmp_path / "q.yaml")
    assert said in str(caught.value)
    assert "function" not in str(caught.value)


def test_a_single_way_that_was_tried_is_asked_for_as_a_list() -> None:
    with pytest.raises(SpecError, match=re.escape("tried: input should be a list, such as [prompt]")):
        Situation.from_dict(
            {"task": "json", "api": "a/b", "workload": {"input_tokens": 1, "output_tokens": 1}, "tried": "prompt"}
        )


@pytest.mark.parametrize(("option", "name"), [("--plot", "x.png"), ("--html", "x.html")])
def test_a_folder_that_is_not_there_is_told_without_a_traceback(tmp_path: Path, option: str, name: str) -> None:
    done = CliRunner().invoke(app, ["cost", "crossover", str(EXAMPLE), option, str(tmp_path / "nodir" / name)])
    assert isinstance(done.exception, SpecError)
    assert name in str(done.exception)
    assert "No such file or directory" in str(done.exception)


@pytest.mark.parametrize("requests", [1e-300, 1e300])
def test_a_volume_that_nobody_has_is_refused_where_it_is_said(requests: float) -> None:
    with pytest.raises(SpecError, match="requests_per_month: input should be"):
        Workload(requests_per_month=requests, input_tokens=600, output_tokens=15)


@pytest.mark.parametrize("requests", [0.001, 1e15])
def test_the_smallest_and_the_largest_volume_are_answered(book: PriceBook, requests: float) -> None:
    own = SelfHosted(model="mistralai/Mistral-7B-Instruct-v0.3", gpu="L4", provider="runpod")
    workload = Workload(requests_per_month=requests, input_tokens=600, output_tokens=15)
    answer = crossover(workload=workload, api="anthropic/claude-haiku-4-5", self_hosted=own, scenarios=200, book=book)
    assert answer.option("self-hosted").usd_per_month > 0
    assert str(answer)
