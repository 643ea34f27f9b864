"""Whether a repeat came out as the run before it."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Dataset, Eval, FineTuneJob
from ftsdk.evals import evaluate, targets
from ftsdk.protocol import StepEvent
from ftsdk.run.ledger import Record
from ftsdk.run.reproduction import Reproduction, compare_repeat, weights_apart

TRAIN = Dataset.from_rows([{"prompt": f"train {n}", "completion": "yes"} for n in range(40)], name="train")


def a_record(key: str, **changes: Any) -> Record:
    job = FineTuneJob(**{"model": "org/name", "train": TRAIN, **changes})
    plan = {"backend": "local", "spec": job.spec().to_dict(), "request": {}}
    return Record(ref=f"local:{key}", name=None, plan=plan, options={}, state="succeeded")


def losses(*, seed: int, shift: float = 0.0, steps: int = 40) -> list[StepEvent]:
    draw = random.Random(seed)
    return [
        StepEvent(seq=n, at=float(n), step=n, loss=2.0 / (1 + n / 10) + shift + draw.gauss(0, 0.05))
        for n in range(steps)
    ]


def compared(tmp_path: Path, *events: list[StepEvent], weights: float | None, **changes: Any) -> Reproduction:
    manifests = (
        {"info": {"versions": {"trl": "1.16.0"}}},
        {"info": {"versions": changes.pop("versions", {"trl": "1.16.0"})}},
    )
    return compare_repeat(
        a_record("a"),
        a_record("b", **changes),
        events=(events[0], events[1]),
        manifests=manifests,
        weights=weights,
        results=(tmp_path / "a", tmp_path / "b"),
    )


def test_the_same_weights_and_losses_are_reproduced(tmp_path: Path) -> None:
    found = compared(tmp_path, losses(seed=1), losses(seed=1), weights=0.0)
    assert found.verdict == "reproduced"
    assert found.loss_difference == 0
    assert "local:b and local:a: reproduced" in str(found)
    assert found.to_dict()["verdict"] == "reproduced"


def test_another_noise_is_within_that_of_seeds(tmp_path: Path) -> None:
    found = compared(tmp_path, losses(seed=1), losses(seed=2), weights=0.01)
    assert found.verdict == "within seed noise"
    assert "job, request and versions are the same" in found.reasons[-1]


def test_a_shifted_loss_differs_and_the_changes_are_named(tmp_path: Path) -> None:
    found = compared(
        tmp_path, losses(seed=1), losses(seed=2, shift=0.5), weights=0.3, seed=7, versions={"trl": "1.17.0"}
    )
    assert found.verdict == "differs"
    assert {change.field for change in found.changes} == {"seed", "version of trl"}
    assert "seed, version of trl" in found.reasons[-1]
    assert "standard errors apart" in found.to_html()


def test_without_anything_in_common_nothing_is_claimed(tmp_path: Path) -> None:
    found = compared(tmp_path, [], [], weights=None)
    assert found.verdict == "differs"
    assert "neither a loss nor an evaluation" in found.reasons[0]


@pytest.mark.parametrize(("wrong", "verdict"), [(2, "within seed noise"), (30, "differs")])
def test_evals_are_compared_example_by_example(tmp_path: Path, wrong: int, verdict: str) -> None:
    test = Dataset.from_rows([{"prompt": f"question {n}", "completion": "yes"} for n in range(60)], name="test")
    an_eval = Eval.exact_match(test, name="accuracy")

    def tuned(prompt: Any) -> str:
        return "no" if int(prompt[-1]["content"].split()[-1]) < wrong else "yes"

    evaluate([an_eval], targets(lambda prompt: "no", lambda prompt: "yes"), into=tmp_path / "a")
    evaluate([an_eval], targets(lambda prompt: "no", tuned), into=tmp_path / "b")
    found = compared(tmp_path, losses(seed=1), losses(seed=2), weights=0.01)
    assert found.verdict == verdict
    (one,) = found.evals
    assert (one.name, one.n, one.first) == ("accuracy", 60, 1.0)
    assert one.is_within_noise == (verdict != "differs")


def test_weights_are_compared_by_their_largest_difference(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="the extra 'local' isn't installed")
    from safetensors.torch import save_file

    for name, weights in {"a": [1.0, 2.0], "b": [1.0, 2.25], "c": [1.0]}.items():
        (tmp_path / name).mkdir()
        save_file({"w": torch.tensor(weights)}, tmp_path / name / "adapter_model.safetensors")
    assert weights_apart(tmp_path / "a", tmp_path / "a") == 0
    assert weights_apart(tmp_path / "a", tmp_path / "b") == 0.25
    assert weights_apart(tmp_path / "a", tmp_path / "c") == float("inf")
    assert weights_apart(tmp_path / "none", tmp_path / "a") is None
