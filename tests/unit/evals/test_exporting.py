"""The score of an export: the run's evals, measured again on what was written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Dataset, Eval, Model
from ftsdk.evals.exporting import eval_prompts, export_with_evals, judge_score
from ftsdk.evals.results import PairedScore

for _name in ("torch", "transformers", "peft"):
    pytest.importorskip(_name, reason="the extra 'local' isn't installed")


def data(n: int = 6) -> Dataset:
    rows = [{"q": f"message {index} about rome", "a": "travel"} for index in range(n)]
    return Dataset.from_rows(rows).as_chat(prompt="{q}", completion="{a}")


def paired(difference: float, low: float, high: float, **options: Any) -> PairedScore:
    return PairedScore(
        name="accuracy", base="before", tuned="written", lower=1, equal=8, higher=1, difference=difference, low=low,
        high=high, **options,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("pair", "verdict"),
    [
        (paired(0.0, -0.01, 0.01), "within"),
        (paired(0.05, -0.015, 0.1), "within"),
        (paired(-0.005, -0.03, 0.02), "can't tell"),
        (paired(-0.05, -0.1, -0.01), "differs"),
        (paired(-0.1, -0.3, 0.1), "differs"),
        (paired(0.1, 0.05, 0.15, is_lower_better=True), "differs"),
        (paired(-0.1, -0.15, -0.05, is_lower_better=True), "within"),
    ],
)
def test_a_score_may_lose_no_more_than_allowed(pair: PairedScore, verdict: str) -> None:
    gate = judge_score([pair], most_loss=0.02, same_answers=False)

    assert gate.verdict == verdict
    assert "accuracy" in gate.detail


def test_the_worst_of_several_scores_decides() -> None:
    pairs = [paired(0.0, -0.01, 0.01), paired(-0.2, -0.3, -0.1)]

    assert judge_score(pairs, most_loss=0.02, same_answers=False).verdict == "differs"


def test_prompts_come_from_all_evals_in_turn() -> None:
    first, second = (Eval.exact_match(data(n), name=name) for n, name in ((2, "one"), (30, "two")))

    found = eval_prompts([first, second], most=5)

    assert [prompt[0]["content"].split()[1] for prompt in found] == ["0", "0", "1", "1", "2"]


def test_evals_are_measured_on_a_merged_folder(tiny_model: Path, tmp_path: Path) -> None:
    accuracy = Eval.exact_match(data(), name="accuracy", max_new_tokens=3)

    export = export_with_evals(Model(id=str(tiny_model)), tmp_path / "out", to="merged", evals=[accuracy])

    assert export.parity.gate("score").verdict == "same"
    assert export.state == "proven"


def test_evals_are_measured_on_a_gguf_file_by_its_server(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("xllamacpp", reason="the extra 'export' isn't installed")
    accuracy = Eval.exact_match(data(3), name="accuracy", max_new_tokens=3)

    export = export_with_evals(
        Model(id=str(tiny_model)), tmp_path / "out", to="gguf", quantization="f16", evals=[accuracy]
    )

    assert export.parity.gate("score").verdict in ("same", "within", "can't tell")
    assert export.parity.gate("greedy").figures["answers"] == 3
    shutil.rmtree(tmp_path / "out")
