"""A scorer and a metric of another package work in evals and job files like the built-in ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from installed_plugin import install

from ftsdk import Dataset, Eval, FineTuneJob
from ftsdk.errors import MissingExtraError
from ftsdk.evals import FunctionTarget, evaluate, get_scorer, metric_names, scorer_names

SOURCE = Path(__file__).parent / "ftsdk-finch"


@pytest.fixture(autouse=True)
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(SOURCE, ["ftsdk_finch"], site=tmp_path / "site-packages")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")


@pytest.fixture
def rows() -> Dataset:
    return Dataset.from_rows(
        [{"prompt": "which bird?", "completion": "the red finch"}, {"prompt": "and this?", "completion": "a pigeon"}]
    )


def test_installed_scorers_and_metrics_are_listed_without_import() -> None:
    sys.modules.pop("ftsdk_finch", None)
    assert {"exact_match", "f1", "judge"} <= set(scorer_names())
    assert {"mean", "worst"} <= set(metric_names())
    assert "ftsdk_finch" not in sys.modules


def test_a_plugin_s_scorer_measures_base_and_tuned(rows: Dataset, tmp_path: Path) -> None:
    base, tuned = (
        FunctionTarget(name=name, function=lambda _, a=answer: a)
        for name, answer in (("base", "a bird"), ("tuned", "The Finch"))
    )
    report = evaluate(
        [Eval.of(rows, "f1"), Eval.of(rows, "f1", name="worst", metric="worst")], [base, tuned], into=tmp_path
    )

    assert report.score("f1", "tuned").value == pytest.approx(2 * 2 / 5 / 2)
    assert report.score("worst", "tuned").value == 0
    assert "tuned minus base +15.0 points" in str(report)


def test_a_job_file_names_a_plugin_s_scorer(rows: Dataset, tmp_path: Path, ftsdk_home: Path) -> None:
    job = FineTuneJob(model="example/tiny", train=rows, evals=[Eval.of(rows, "f1", metric="worst", ignore_case=False)])
    text = job.to_yaml(tmp_path / "job.yaml")

    assert "scorer: f1" in text
    (again,) = FineTuneJob.from_yaml(tmp_path / "job.yaml").evals
    assert (again.scorer, again.metric) == (job.evals[0].scorer, job.evals[0].metric)


def test_a_scorer_s_missing_package_is_named() -> None:
    with pytest.raises(MissingExtraError, match=r"scorer 'judge'.*pip install ftsdk-finch"):
        get_scorer("judge")
