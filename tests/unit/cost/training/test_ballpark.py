"""What a run costs and needs before there is a job."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prices import TODAY

from ftsdk.cost import PriceBook
from ftsdk.cost.facts.shapes import Shape, shape_named
from ftsdk.cost.training.ballpark import RunSize, adapters_that_fit, managed_run, run_on_gpus
from ftsdk.errors import SpecError
from ftsdk.protocol.estimates import CostRange, Range

BOOK = PriceBook.load(today=TODAY)
START = Range(low=60, likely=180, high=600)
SIZE = RunSize(rows=9000, row_tokens=600, longest_tokens=1800, rank=16)


def shape(name: str) -> Shape:
    found = shape_named(name)
    assert found is not None
    return found


def cost(name: str, size: RunSize) -> CostRange:
    return run_on_gpus(shape(name), size, provider="modal", besides_s=START, book=BOOK).cost


@settings(max_examples=25, deadline=None)
@given(rows=st.floats(1, 1e5), tokens=st.floats(10, 4000), more=st.floats(1, 5))
def test_more_rows_and_longer_rows_never_cost_less(rows: float, tokens: float, more: float) -> None:
    size = RunSize(rows=rows, row_tokens=tokens, longest_tokens=3 * tokens, rank=16)
    here = cost("mistralai/Mistral-7B-Instruct-v0.3", size)
    assert here.low <= here.likely <= here.high
    cent = Decimal("0.01")
    assert cost("mistralai/Mistral-7B-Instruct-v0.3", size._replace(rows=rows * more)).likely >= here.likely - cent
    longer = size._replace(row_tokens=tokens * more, longest_tokens=3 * tokens * more)
    assert cost("mistralai/Mistral-7B-Instruct-v0.3", longer).likely >= here.likely - cent


def test_a_larger_model_costs_more_and_one_too_large_has_no_price() -> None:
    models = ("Qwen/Qwen2.5-0.5B-Instruct", "mistralai/Mistral-7B-Instruct-v0.3", "Qwen/Qwen2.5-32B-Instruct")
    costs = [cost(name, SIZE).likely for name in models]
    assert costs == sorted(costs)
    assert costs[2] > Decimal("2.5") * costs[1] > Decimal("7.5") * costs[0]
    with pytest.raises(SpecError, match="no GPU of modal in the price book holds"):
        cost("meta-llama/Llama-3.1-405B", SIZE)


def test_three_thousand_mails_on_a_7b_model_cost_a_dollar_or_two() -> None:
    """A practitioner guide's case: two hours on one A100 if every row is padded to 2,048, minutes if none is."""
    assert Decimal("0.5") < cost("mistralai/Mistral-7B-Instruct-v0.3", SIZE).likely < 2
    padded = cost("mistralai/Mistral-7B-Instruct-v0.3", SIZE._replace(row_tokens=2048, longest_tokens=2048))
    assert 2 < padded.likely < 6


def test_a_service_s_minimum_is_owed_however_little_is_trained() -> None:
    managed = managed_run(
        shape("mistralai/Mistral-7B-Instruct-v0.3"), SIZE._replace(rows=10), provider="together", book=BOOK
    )
    assert managed is not None
    assert managed.cost.likely == managed.cost.high == 4


@pytest.mark.parametrize(("memory_gib", "tuning"), [(8.0, None), (16.0, "qlora"), (20.0, "qlora"), (48.0, "lora")])
def test_adapters_are_chosen_by_what_a_card_holds(memory_gib: float, tuning: str | None) -> None:
    fit = adapters_that_fit(shape("Qwen/Qwen3-8B"), SIZE, memory_gib=memory_gib)
    assert (fit.tuning if fit else None) == tuning
    assert fit is None or fit.peak_gb < memory_gib * 1.07
