"""What a job says about its data before anything runs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Dataset, Eval, FineTuneJob, Gate
from ftsdk.errors import DatasetError, SpecError


def chat(*prompts: str) -> Dataset:
    return Dataset.from_rows([{"prompt": prompt, "completion": "yes"} for prompt in prompts])


@pytest.mark.parametrize(
    ("train", "message"),
    [
        (
            "mails.jsonl",
            r"mails\.jsonl: train takes a Dataset, not the path of one\. .*Dataset\.from_file\('mails\.jsonl'\)",
        ),
        (Path("mails.jsonl"), "train takes a Dataset, not the path of one"),
        ([{"prompt": "a"}], r"train takes a Dataset, not a list\. Pass train=Dataset\.from_rows"),
        (Dataset.from_rows([{"q": 1, "answer": 2}]), r'no completion yet\. Call as_chat\(prompt="\.\.\.\{q\}'),
    ],
)
def test_what_is_no_dataset_gets_the_call_that_makes_one(train: Any, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        FineTuneJob(model="org/name", train=train)


def test_an_eval_of_a_path_says_what_it_takes() -> None:
    with pytest.raises(DatasetError, match=r"an eval takes a Dataset, not a str\. Read a file with Dataset\.from_file"):
        Eval.exact_match("mails.jsonl", name="accuracy")  # type: ignore[arg-type]


def test_a_plan_notes_what_is_in_two_parts(model_of_headers: Path) -> None:
    job = FineTuneJob(
        model=str(model_of_headers),
        train=chat("a", "b", "c"),
        validation=chat("c", "d"),
        evals=[Eval.exact_match(chat("b", "c", "x"), name="accuracy")],
        allow_leaks=["validation", "evals.accuracy"],
    )
    text = str(job.plan())
    assert "1 of the 2 prompts of validation is also in train" in text
    assert "2 of the 3 prompts of the eval 'accuracy' are also in train, 2 with the same answer" in text
    assert job.plan() == job.plan()


def test_a_job_with_leaks_is_refused_unless_they_are_allowed(model_of_headers: Path, tmp_path: Path) -> None:
    job = FineTuneJob(
        model=str(model_of_headers),
        train=chat("a", "b", "c"),
        evals=[Eval.exact_match(chat("B", "x"), name="accuracy")],
    )
    with pytest.raises(DatasetError, match=r"allow_leaks=\['evals\.accuracy'\] trains all the same"):
        job.plan()
    assert [leak[:3] for leak in job.leaks()["evals.accuracy"]] == [("row", 0, 1)]
    allowed = job.replace(allow_leaks=["evals.accuracy"])
    assert allowed.plan().spec == allowed.replace(allow_leaks=()).spec()
    allowed.to_yaml(tmp_path / "job.yaml")
    assert FineTuneJob.from_yaml(tmp_path / "job.yaml").allow_leaks == ("evals.accuracy",)
    with pytest.raises(SpecError, match=r"allow_leaks names 'evals\.acuracy'.*did you mean 'evals\.accuracy'"):
        job.replace(allow_leaks=["evals.acuracy"])


def test_a_gate_is_kept_in_the_job_file_and_names_what_is_measured(tmp_path: Path) -> None:
    gate = Gate(metric="accuracy", at_least=0.9, no_regression={"general": 0.01})
    job = FineTuneJob(
        model="org/name",
        train=chat("a", "b"),
        evals=[Eval.exact_match(chat("x"), name="accuracy"), Eval.exact_match(chat("y"), name="general")],
        gate=gate,
    )
    job.to_yaml(tmp_path / "job.yaml")
    assert FineTuneJob.from_yaml(tmp_path / "job.yaml").gate == gate
    assert job.spec() == job.replace(gate=None).spec()
    with pytest.raises(SpecError, match="did you mean 'accuracy'"):
        job.replace(gate=Gate(metric="acuracy", at_least=0.9))
    with pytest.raises(SpecError, match="by at_least"):
        job.replace(gate=Gate(metric="accuracy", at_most=0.9))


def test_a_job_file_that_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "job.yaml")
    for path, reason in ((tmp_path / "job.yaml", "isn't a regular file"), (Path("a\0.yaml"), "can't be read")):
        with pytest.raises(SpecError, match=reason):
            FineTuneJob.from_yaml(path)
