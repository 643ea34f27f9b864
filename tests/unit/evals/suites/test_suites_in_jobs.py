"""Suites as parts of a job, and of its YAML file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Dataset, FineTuneJob
from ftsdk.errors import DatasetError, SpecError
from ftsdk.evals import Eval
from ftsdk.evals.suites import bias, format_bleed, general, hallucination, safety


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., FineTuneJob]:
    (tmp_path / "train.jsonl").write_text("".join(f'{{"text": "mail {n}", "label": "travel"}}\n' for n in range(8)))
    train = Dataset.from_file(tmp_path / "train.jsonl").as_chat(prompt="{text}", completion="{label}")

    def make(*evals: Eval) -> FineTuneJob:
        return FineTuneJob(model="HuggingFaceTB/SmolLM2-135M-Instruct", train=train, evals=evals)

    return make


def same(one: Eval, other: Eval) -> bool:
    fields: Any = [(item.to_dict(), item.data.fingerprint, item.metrics) for item in (one, other)]
    return fields[0] == fields[1]


def test_a_job_with_suites_comes_back_from_its_file(job: Callable[..., FineTuneJob], tmp_path: Path) -> None:
    evals = (*general(), *safety(), *hallucination(unanswerable="Ask the desk."), *bias())
    job(*evals).to_yaml(tmp_path / "job.yaml")
    found = FineTuneJob.from_yaml(tmp_path / "job.yaml").evals

    assert [item.name for item in found] == ["general", "safety.refuses", "safety.helps", "hallucination", "bias"]
    assert all(same(one, other) for one, other in zip(evals, found, strict=True))


def test_a_job_file_names_a_suite(job: Callable[..., FineTuneJob], tmp_path: Path) -> None:
    job().to_yaml(tmp_path / "job.yaml")
    with (tmp_path / "job.yaml").open("a") as file:
        file.write("evals:\n  - suite: safety\n  - {suite: hallucination, unanswerable: No idea.}\n")
    found = FineTuneJob.from_yaml(tmp_path / "job.yaml").evals

    assert [item.name for item in found] == ["safety.refuses", "safety.helps", "hallucination"]
    assert found[2].examples()[1].expected == "No idea."


def test_rows_of_a_suite_are_held_against_the_training_rows(tmp_path: Path) -> None:
    asked = general()[0].examples()[0]
    rows = [{"text": asked.prompt[-1]["content"], "label": asked.expected}, {"text": "mail", "label": "travel"}]
    train = Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{label}")
    found = FineTuneJob(model="HuggingFaceTB/SmolLM2-135M-Instruct", train=train, evals=general()).leaks()

    assert [leak.is_certain for leak in found["evals.general"]] == [True]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"suite": "genera"}, "unknown suite 'genera'"),
        ({"suite": ["general"]}, "must be the name of a suite"),
        ({"suite": "general", "topics": 3}, r"can't be called with \['topics'\]"),
        ({"suite": "format_bleed"}, r"pass it to run\.evaluate"),
    ],
)
def test_what_is_no_suite_is_refused(
    job: Callable[..., FineTuneJob], tmp_path: Path, entry: dict[str, Any], message: str
) -> None:
    data = {**job().to_dict(), "evals": [entry]}

    with pytest.raises(SpecError, match=message):
        FineTuneJob.from_dict(data)


def test_an_eval_that_a_suite_lacks_is_refused() -> None:
    entry = {**general()[0].to_dict(), "name": "genera"}

    with pytest.raises(SpecError, match="has no eval 'genera'; it has general"):
        Eval.from_dict(entry, Dataset.from_dict)


def test_a_suite_with_data_of_its_own_is_refused(job: Callable[..., FineTuneJob]) -> None:
    with pytest.raises(DatasetError, match=r"run\.evaluate"):
        format_bleed(job().train)[0].to_dict()
