"""What an answer that isn't accepted costs, and what of it can't be asked."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest

from ftsdk.cost import PriceBook, Quality, SelfHosted, Workload, crossover
from ftsdk.errors import SpecError


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"rejected": "review"}, "needs review_usd above 0"),
        ({"rejected": "retry", "review_usd": 5}, "review_usd=5 is used only with rejected='review', not with 'retry'"),
        ({"rejected": "fallback", "review_usd": 5}, "not with 'fallback'"),
        ({"api_accepted": 0.0}, "where no answer is accepted, 'retry' never ends"),
    ],
)
def test_a_review_price_is_required_with_reviews_and_refused_elsewhere(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError, match=re.escape(said)):
        Quality(**given)


def test_an_api_whose_answers_are_never_good_pays_a_review_of_each(book: PriceBook) -> None:
    answer = crossover(
        workload=Workload(requests_per_month=1_000_000, input_tokens=600, output_tokens=15),
        api="anthropic/claude-haiku-4-5",
        self_hosted=SelfHosted(model="mistralai/Mistral-7B-Instruct-v0.3", gpu="L4", provider="runpod"),
        quality=Quality(api_accepted=0.0, own_accepted=0.9, rejected="review", review_usd=Decimal(1)),
        scenarios=1_000,
        book=book,
    )
    assert next(line.usd for line in answer.option("api").lines if line.label == "review") == Decimal(1_000_000)
    assert "no answer is accepted" in answer.details()
