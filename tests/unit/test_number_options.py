"""Numbers that are options: none of them may be NaN, infinite, negative, a truth value or text."""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import ftsdk
import ftsdk.cost
from ftsdk import FtsdkError, Local, Modal, Together
from ftsdk.evals import ChatWire, paired_difference_interval, wilson_interval
from ftsdk.protocol.serving import ServingOffer, plan_serving
from ftsdk.spec import Value
from ftsdk.testing import ScriptedBackend

WRONG = (math.nan, math.inf, -math.inf, -1, True, "x", Decimal("NaN"))


HUGE = (10**400, -(10**400), 10**5000)
"""Python itself refuses to write the last one."""
ROOMS = ("spec", "data", "evals", "protocol", "cost", "run", "deploy", "job", "backends.managed", "backends.hosted")


def _kinds(base: type[Value]) -> Iterator[type[Value]]:
    for kind in base.__subclasses__():
        if kind.__module__.startswith("ftsdk."):
            yield kind
            yield from _kinds(kind)


def _numbers() -> dict[type[Value], list[str]]:
    """Return the fields with numbers of every value in the package, public or not."""
    for room in ROOMS:
        package = importlib.import_module(f"ftsdk.{room}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    found = {
        kind: [
            name
            for name, field in kind.model_fields.items()
            if re.search(r"\b(float|int|Decimal)\b", str(field.annotation)) and "str" not in str(field.annotation)
        ]
        for kind in set(_kinds(Value))
    }
    return {kind: names for kind, names in found.items() if names}


def test_no_field_of_any_value_takes_what_is_no_number() -> None:
    kinds = _numbers()
    assert {ftsdk.LoRA, ftsdk.EarlyStopping, ftsdk.Endpoint, ftsdk.cost.Price} <= set(kinds)
    for kind, names in kinds.items():
        for wrong in (math.nan, -math.inf, True, "x", Decimal("sNaN"), HUGE[-1]):
            asked = [name for name in names if wrong is not True or "bool" not in str(kind.model_fields[name])]
            if asked:
                with pytest.raises(FtsdkError) as caught:
                    kind(**dict.fromkeys(asked, wrong))
                lines = str(caught.value).splitlines()
                refused = {re.split(r"[:.]", line.strip())[0] for line in lines if "is required" not in line}
                assert set(asked) <= refused, (kind, str(wrong)[:40])


ROWS = ftsdk.Dataset.from_rows([{"prompt": f"question {n}", "completion": f"answer {n}"} for n in range(10)])
OFFER = ServingOffer.from_dict(
    {
        "hardware": "1x_l4",
        "gpu_type": "L4",
        "gpu_count": 1,
        "as_of": "2026-11-01",
        "price_usd_per_hour": 2,
        "source": "a test",
        "idle_stop_s_min": 60,
        "idle_stop_s_max": 600,
    }
)
CROSSOVER = {
    "workload": ftsdk.cost.Workload(requests_per_month=1000, input_tokens=10, output_tokens=5),
    "api": "anthropic/claude-haiku-4-5",
    "self_hosted": ftsdk.cost.SelfHosted(model="mistralai/Mistral-7B-Instruct-v0.3", gpu="L4", provider="runpod"),
}
CALLS: list[tuple[Callable[..., object], dict[str, Any], tuple[str, ...]]] = [
    (ftsdk.Eval.exact_match, {"data": ROWS}, ("max_new_tokens",)),
    (ChatWire, {"url": "http://127.0.0.1:1/v1", "model": "m"}, ("concurrency", "timeout_s", "attempts")),
    (wilson_interval, {"successes": 1, "n": 5}, ("successes", "n", "confidence")),
    (
        paired_difference_interval,
        {"both": 3, "only_first": 1, "only_second": 2, "neither": 4},
        ("both", "only_first", "only_second", "neither", "confidence"),
    ),
    (
        ftsdk.cost.predict_training,
        {"model": "Qwen/Qwen3-8B", "gpu": "H100", "tokens_per_row": 100},
        ("tokens_per_row", "rows_at_a_time", "longest_row", "gpus", "accumulation"),
    ),
    (
        ftsdk.cost.crossover,
        CROSSOVER,
        ("training", "retrains_per_year", "scenarios", "seed", "discount_per_year"),
    ),
    (plan_serving, {"offers": [OFFER], "max_hours": 1}, ("budget_usd", "max_hours", "idle_stop_s")),
]


@pytest.mark.parametrize(("call", "given", "options"), CALLS)
def test_no_function_takes_what_is_no_number(
    call: Callable[..., object], given: dict[str, Any], options: tuple[str, ...]
) -> None:
    for option in options:
        for wrong in (*WRONG, *HUGE):
            with pytest.raises(FtsdkError, match=option):
                call(**{**given, option: wrong})


@pytest.mark.parametrize("backend", [Local, Modal, Together])
def test_a_backend_refuses_what_is_no_number(backend: Any) -> None:
    options = [
        name
        for name, one in inspect.signature(backend).parameters.items()
        if re.match(r"(Decimal \| )?(float|int)\b", str(one.annotation))
    ]
    assert options
    for name in options:
        for wrong in WRONG:
            with pytest.raises(FtsdkError, match=name):
                backend(**{name: wrong})


@pytest.mark.parametrize("wrong", WRONG)
def test_a_scripted_backend_refuses_what_is_no_cost(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises(FtsdkError, match="cost_usd"):
        ScriptedBackend(root=tmp_path, cost_usd=(1, wrong, 3))


@pytest.mark.parametrize("wrong", WRONG)
def test_an_estimate_refuses_what_is_no_price(wrong: Any) -> None:
    rows = ftsdk.Dataset.from_rows([{"prompt": "a", "completion": "b"}])
    with pytest.raises(FtsdkError, match="usd_per_hour"):
        ftsdk.FineTuneJob(model="org/name", train=rows).estimate(usd_per_hour=wrong)
