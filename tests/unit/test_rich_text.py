"""What prints as text prints as the same text with `rich.print`."""

from __future__ import annotations

import ast
import importlib
import io
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import ftsdk
from ftsdk import Dataset, Eval, FineTuneJob, Gate, Local, ModelError
from ftsdk.cost import Api, SelfHosted, Workload, api_price, crossover
from ftsdk.errors import Diagnosis
from ftsdk.evals import evaluate, targets
from ftsdk.protocol.estimates import CostRange, Range

SOURCES = Path(ftsdk.__file__).parent
FOR_PARTS = {"WrittenFloat", "Location", "GpuChoice", "Volume", "Sample"}
"""Whose text is a part of other texts: nobody prints them."""


def classes_with_text() -> Iterator[tuple[str, str]]:
    for file in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and node.name not in FOR_PARTS and "__str__" in methods_of(node):
                module = ".".join(["ftsdk", *file.relative_to(SOURCES).with_suffix("").parts])
                yield module.removesuffix(".__init__"), node.name


def methods_of(node: ast.ClassDef) -> set[str]:
    return {part.name for part in node.body if isinstance(part, ast.FunctionDef)}


CLASSES = list(classes_with_text())


def printed(value: object) -> str:
    screen = io.StringIO()
    Console(file=screen, width=400, color_system=None).print(value)
    return "\n".join(line.rstrip() for line in screen.getvalue().strip().splitlines())


def text_of(value: object) -> str:
    return "\n".join(line.rstrip() for line in str(value).strip().splitlines())


def rows() -> Dataset:
    return Dataset.from_rows([{"prompt": f"[bold]{n}[/x]", "completion": "ab"[n % 2]} for n in range(8)])


def report() -> Any:
    return rows().report()


def plan() -> Any:
    train = Dataset.from_rows([{"prompt": f"{n}", "completion": f"{n}"} for n in range(8)])
    return FineTuneJob(model="example/tiny", train=train, backend=Local(device="cpu")).plan()


@pytest.mark.parametrize(("module", "name"), CLASSES, ids=[name for _, name in CLASSES])
def test_every_class_with_a_text_of_its_own_shows_it_in_rich(module: str, name: str) -> None:
    assert hasattr(getattr(importlib.import_module(module), name), "__rich__")


def test_many_kinds_of_values_have_a_text() -> None:
    names = {name for _, name in CLASSES}
    assert {"DataReport", "Estimate", "CrossoverAnswer", "EvalReport", "Plan", "Verdict", "Runs"} <= names


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(report, id="data report"),
        pytest.param(rows, id="dataset"),
        pytest.param(lambda: rows().summary(), id="summary"),
        pytest.param(lambda: ModelError("[/x] isn't a model"), id="error"),
        pytest.param(lambda: Diagnosis("oom", "cuda [0]", 3, ("a smaller batch",)), id="diagnosis"),
        pytest.param(
            lambda: CostRange(low=Decimal(1), likely=Decimal(2), high=Decimal(3), source="[a]"), id="cost range"
        ),
        pytest.param(lambda: Range(low=1, likely=2, high=3), id="range"),
    ],
)
def test_rich_prints_what_print_does(value: Any) -> None:
    made = value()
    assert printed(made) == text_of(made)


def test_a_plan_and_its_parts_are_shown_as_text() -> None:
    made = plan()
    assert made.backend in printed(made)
    assert "Plan(" not in printed(made)
    assert printed(made.estimate) == text_of(made.estimate)


def test_an_evaluation_and_its_verdict_are_shown_as_text(tmp_path: Path) -> None:
    measured = targets(lambda _: "a", lambda _: "b")
    gate = Gate(metric="exact_match", at_least=0.9)
    made = evaluate([Eval.exact_match(rows())], measured, into=tmp_path, gate=gate)
    assert "EvalReport(" not in printed(made)
    assert printed(made.verdict) == text_of(made.verdict)


def test_prices_and_comparisons_are_shown_as_text() -> None:
    pytest.importorskip("genai_prices", reason="the extra 'cost' isn't installed")
    price = api_price("openai/gpt-4o")
    assert printed(price) == text_of(price)
    answer = crossover(
        workload=Workload(requests_per_month=1e6, input_tokens=500, output_tokens=50),
        api=Api(model="openai/gpt-4o"),
        self_hosted=SelfHosted(model="Qwen/Qwen3-8B", gpu="H100", provider="runpod"),
        scenarios=100,
    )
    assert printed(answer) == text_of(answer)
