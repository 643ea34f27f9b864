"""What a trained model gives back of the canaries among its rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from statistics import fmean

import pytest

from ftsdk import Dataset, FineTuneJob, FullFineTune, Model
from ftsdk.evals import evaluate, targets
from ftsdk.evals.storage import read_results
from ftsdk.evals.suites import memorisation

pytestmark = pytest.mark.e2e


def test_exposure_rises_with_repetition(
    make_job: Callable[..., FineTuneJob], chat_rows: Callable[[int], Dataset], tiny_model: Path, tmp_path: Path
) -> None:
    base = Model(id=str(tiny_model))
    train, _, test = chat_rows(32).split(test=0.5, seed=3)
    assert test is not None
    train = train.with_canaries(6, seed=1, times=(1, 16))
    run = make_job(
        train=train, tuning=FullFineTune(), epochs=4, max_steps=None, learning_rate=3e-3, checkpoint_steps=None
    ).submit()
    run.wait()
    suite = memorisation(train, test, canaries=train.canaries, references=63)
    report = evaluate(suite, targets(base, run.model()), into=tmp_path)

    def bits(target: str, times: int) -> float:
        rows = read_results(tmp_path / "memorisation.exposure" / f"{target}.jsonl")
        return fmean(row.value for row in rows if row.columns["times"] == times and row.parts["is_secret"])

    assert bits("tuned", 16) > bits("tuned", 1) + 1
    assert bits("tuned", 16) > bits("base", 16) + 1
    pair = next(pair for pair in report.pairs if pair.name == "memorisation.exposure")
    assert pair.is_lower_better
    assert pair.difference > 0
