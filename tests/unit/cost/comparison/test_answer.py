"""The answer as data, in words, and as HTML."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from ftsdk._format import money
from ftsdk.cost import CrossoverAnswer, PriceBook, Quality, SelfHosted, Workload, crossover
from ftsdk.cost.comparison.answer_text import volume

MAILS = Workload(requests_per_month=1_000_000, input_tokens=600, output_tokens=15, peak_to_mean=4)
L4 = SelfHosted(model="mistralai/Mistral-7B-Instruct-v0.3", gpu="L4", provider="runpod", replicas=2)


def ask(book: PriceBook, **changes: Any) -> CrossoverAnswer:
    asked: dict[str, Any] = {
        "workload": MAILS,
        "api": "anthropic/claude-haiku-4-5",
        "self_hosted": L4,
        "scenarios": 1_000,
        **changes,
    }
    return crossover(**asked, book=book)


@pytest.mark.parametrize("requests", [1_000_000.0, 30_000_000.0])
def test_an_answer_reads_itself_back_equal_whether_or_not_it_pays_back(book: PriceBook, requests: float) -> None:
    answer = ask(book, workload=MAILS.replace(requests_per_month=requests), training=12, solve_for="gpu_usd_per_hour")
    assert (answer.payback_months is None) == (requests < 10e6)
    assert CrossoverAnswer.from_dict(answer.to_dict()) == answer
    assert CrossoverAnswer.from_json(json.dumps(answer.to_dict())) == answer
    assert CrossoverAnswer.from_json(answer.to_json()).to_dict() == answer.to_dict()


def test_extra_cost_of_self_hosting_is_a_difference_with_an_interval(book: PriceBook) -> None:
    dear = ask(book, workload=MAILS.replace(requests_per_month=1_000.0))
    low, middle, high = dear.likelihood.saving_usd_per_month
    more = money(abs(dear.saving_usd_per_month))
    said = (
        f"Self-hosting costs: {more} a month more than the API (80% of scenarios: {money(-high)} to {money(-low)} "
        f"more, half over {money(-middle)})"
    )
    assert said in dear.details()
    assert low < high < 0
    cheap = ask(book, workload=MAILS.replace(requests_per_month=30_000_000.0))
    low, middle, high = cheap.likelihood.saving_usd_per_month
    assert (
        f"a month less than the API (80% of scenarios: {money(low)} to {money(high)} less, half over {money(middle)})"
        in cheap.details()
    )


def test_a_break_even_is_a_sentence(book: PriceBook) -> None:
    answer = ask(book)
    even = volume(answer.break_even_requests[0])
    assert f"cheaper than the API from {even} requests a month (1 crossing)" in answer.details()
    assert f"self-hosted from {even} requests a month" in str(answer)


@pytest.mark.parametrize(
    ("requests", "said"),
    [
        (12, "12"),
        (999.4, "999"),
        (999.6, "1.00k"),
        (999_600, "1.00M"),
        (1_780_000, "1.78M"),
        (2e12, "2.00T"),
        (1e15, "1e+15"),
    ],
)
def test_a_volume_has_three_digits_and_one_letter(requests: float, said: str) -> None:
    assert volume(requests) == said


def test_prices_next_to_nothing_are_written_out_in_the_lines(book: PriceBook) -> None:
    tiny = Quality(api_accepted=0.9, own_accepted=0.9, rejected="review", review_usd=Decimal("1E-9"))
    text = ask(book, self_hosted=L4.replace(gpu_usd_per_hour=Decimal("1E-9")), quality=tiny).details()
    assert "at $0.000000001" in text
    assert "$0.000000001 for each answer not accepted" in text
    assert "1E-9 " not in text
    assert "$1e-09" not in text


def test_html_keeps_details_apart_from_amounts(book: PriceBook) -> None:
    assert "</td><td style='text-align:left;vertical-align:top'>2 x L4" in ask(book).to_html()
