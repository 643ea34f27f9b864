"""Estimates and plans as people see them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from ftsdk.protocol import Adjustment, NotBilled, Plan
from ftsdk.protocol.estimates import CostRange, Estimate, EstimateLine, MemoryEstimate, Range
from ftsdk.spec import DatasetRef, JobSpec, Model

if TYPE_CHECKING:
    from collections.abc import Callable


def a_line(label: str, source: str, amount: float = 1.0, unit: Any = "GB") -> EstimateLine:
    return EstimateLine(label=label, amount=Range(low=amount, likely=amount, high=amount), unit=unit, source=source)


PARTS = (a_line("weights", "a table"), a_line("logits", "a table"), a_line("context", "a guess"))
MEMORY = MemoryEstimate(peak_gb=Range(low=2, likely=3, high=4), verdict="unknown", lines=PARTS)
COST = CostRange(
    low=Decimal(1), likely=Decimal(2), high=Decimal(3), source="https://prices.example/gpu?a=1&b=2, as of 2026-11-01"
)


def test_parts_with_the_same_source_tell_it_once() -> None:
    text = str(Estimate(backend="acme", memory=MEMORY))
    assert "memory: weights 1.0 GB, logits 1.0 GB  [a table]" in text
    assert "memory: context 1.0 GB  [a guess]" in text
    assert Estimate(backend="acme", memory=MEMORY).to_html().count("a table") == 1


def test_what_is_known_to_the_cent_has_no_interval() -> None:
    assert str(COST).startswith("$2.00 (80%: $1.00 to $3.00; https://")
    assert str(COST.replace(low=Decimal(2), high=Decimal(2))).startswith("$2.00 (https://")


def test_html_says_what_the_text_says_and_makes_links_of_addresses() -> None:
    found = Estimate(
        backend="acme",
        cost=COST,
        memory=MEMORY,
        cost_lines=(a_line("GPU", "an hour", unit="usd"),),
        notes=("look out",),
    )
    page = found.to_html()
    assert (
        "<a href='https://prices.example/gpu?a=1&amp;b=2'>https://prices.example/gpu?a=1&amp;b=2</a>, as of 2026-11-01"
        in page
    )
    for said in ("<b>Memory</b>", "<b>Cost</b>", "<b>Note:</b> look out", "$2.00 (80%: $1.00 to $3.00"):
        assert said in page
    assert "this machine bills nothing" in Estimate(backend="local", cost_note="this machine bills nothing").to_html()


@pytest.mark.parametrize(
    "make",
    [lambda evil: Estimate(backend="acme", notes=(evil,), cost=COST.replace(source=evil)), lambda evil: a_plan(evil)],
)
def test_strangers_words_are_no_html(make: Callable[[str], Estimate | Plan]) -> None:
    page = make("<script>alert(1)</script> https://x.example/<b>'onclick='y").to_html()
    assert "<script>" not in page
    assert "<b>'" not in page
    assert "href='https://x.example/'" in page


def a_plan(evil: str) -> Plan:
    spec = JobSpec(model=Model(id="acme/model-7B"), train=DatasetRef(fingerprint="0" * 64, format="chat", rows=10))
    return Plan(
        backend="acme",
        spec=spec,
        request={},
        adjustments=(Adjustment(field=evil, chosen=evil, reason=evil),),
        notes=(evil,),
        billing=NotBilled(note=evil),
    )
