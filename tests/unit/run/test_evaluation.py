"""The evaluation of a run against any targets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Dataset, Endpoint, Eval, FineTuneJob, Model, Run, SpecError
from ftsdk.evals import Gate
from ftsdk.run.evaluation import named_targets
from ftsdk.testing import ScriptedBackend


@pytest.fixture
def run(tmp_path: Path, model_of_headers: Path) -> Run:
    rows = Dataset.from_rows([{"prompt": f"mail {n}", "completion": "ab"[n % 2]} for n in range(40)])
    return FineTuneJob(
        model=str(model_of_headers),
        train=rows,
        evals=[Eval.exact_match(rows, name="accuracy")],
        backend=ScriptedBackend(root=tmp_path / "runs", script="succeeds"),
        allow_leaks=["evals.accuracy"],
    ).submit()


def always(answer: str) -> Callable[[Sequence[Any]], str]:
    return lambda messages: answer


def right(messages: Sequence[Any]) -> str:
    return "ab"[int(messages[-1]["content"].split()[-1]) % 2]


def test_a_run_is_held_against_others_and_a_gate(run: Run) -> None:
    assert [one.name for one in run.evals] == ["accuracy"]
    gate = Gate(metric="accuracy", at_least=0.8)
    report = run.evaluate(
        base=always("a"), tuned=right, against={"rules": always("b")}, gate=gate, usd_per_hour=1, progress=False
    )
    assert [(pair.base, pair.tuned) for pair in report.pairs] == [("base", "tuned"), ("rules", "tuned")]
    assert report.verdict is not None
    assert report.verdict.is_ship
    assert {cost.basis for cost in report.costs} == {"hourly"}


def test_a_gate_on_what_is_not_measured_is_refused_before_the_download(run: Run) -> None:
    with pytest.raises(SpecError, match="nothing"):
        run.evaluate(gate=Gate(metric="nothing", at_least=0.5), progress=False)


def test_targets_get_names_that_files_can_have(run: Run) -> None:
    endpoint = Endpoint(url="http://127.0.0.1:1/v1", model="org/big model:70b")
    found = named_targets([endpoint, endpoint, Model(id="./models/mine/"), right, always("x"), run])
    assert list(found) == ["big-model-70b", "big-model-70b-2", "mine", "right", "lambda", run.ref.replace(":", "-")]


@pytest.mark.parametrize("against", [{"tuned": right}, "a-model", 3])
def test_what_cannot_be_compared_is_refused(against: Any) -> None:
    with pytest.raises(SpecError, match="against"):
        named_targets(against)
