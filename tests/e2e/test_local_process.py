"""The local backend as users have it: a worker process of its own, and two of them under torchrun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ftsdk import Dataset, Eval, FineTuneJob, Local, LoRA, Run, runs
from ftsdk.cli.app import app
from ftsdk.evals import Gate

pytestmark = pytest.mark.e2e


def rows(n: int = 64) -> Dataset:
    return Dataset.from_rows(
        [
            {"text": f"message {i} about {'travel' if i % 2 else 'work'}", "label": "travel" if i % 2 else "work"}
            for i in range(n)
        ]
    ).as_chat(prompt="{text}", completion="{label}")


SUBMIT = """
import sys
from ftsdk import FineTuneJob
print(FineTuneJob.from_yaml(sys.argv[1]).submit().ref)
"""


def test_a_run_outlives_its_process_and_is_evaluated_by_another(
    tiny_model: Path, tmp_path: Path, ftsdk_home: Path
) -> None:
    train, validation, test = rows().split(validation=0.2, test=0.2, seed=3)
    file = tmp_path / "job.yaml"
    FineTuneJob(
        model=str(tiny_model),
        train=train,
        validation=validation,
        tuning=LoRA(rank=4),
        max_steps=4,
        batch_size=8,
        evals=[Eval.exact_match(test, name="accuracy")],
        gate=Gate(metric="accuracy", at_least=0.99),
        backend=Local(device="cpu"),
    ).to_yaml(file)
    client = subprocess.run([sys.executable, "-c", SUBMIT, str(file)], capture_output=True, text=True, check=True)
    ref = client.stdout.strip()
    run = Run.open(ref).wait(progress=False)
    assert [r.ref for r in runs()] == [ref]
    assert str(runs()).count("succeeded") == 1
    report = run.evaluate(progress=False)
    assert {score.target for score in report.scores} == {"base", "tuned"}
    kept = ftsdk_home / "results" / ref.replace(":", "-") / "evals" / "accuracy"
    lines = [json.loads(line) for line in (kept / "tuned.jsonl").read_text().splitlines()]
    assert sum("expected" in line for line in lines) == len(test)  # type: ignore[arg-type]
    assert run.evaluate(progress=False).to_dict() == report.to_dict()
    for words in (["evaluate", ref], ["eval", ref]):  # one is the other in short: four steps don't pass the gate
        shown = CliRunner().invoke(app, [*words, "--json"])
        assert (shown.exit_code, json.loads(shown.stdout)) == (1, report.to_dict())
    shown = CliRunner().invoke(app, ["chat", ref, "message 1 about", "--max-new-tokens", "4"])
    assert shown.stdout == f"{run.model().generate('message 1 about', max_new_tokens=4)}\n"
    manifest = run.collect(tmp_path / "weights").manifest
    assert manifest["info"]["steps"] == 4
    assert str(tmp_path) not in json.dumps(manifest["info"])


def test_run_exits_by_the_verdict_of_its_gate(tiny_model: Path, tmp_path: Path) -> None:
    train, _, test = rows().split(test=0.2, seed=3)
    assert test is not None
    job = FineTuneJob(
        model=str(tiny_model),
        train=train,
        tuning=LoRA(rank=4),
        max_steps=1,
        evals=[Eval.exact_match(test, name="accuracy", max_new_tokens=2)],
        gate=Gate(metric="accuracy", at_least=0.99),
        backend=Local(device="cpu"),
    )
    job.to_yaml(tmp_path / "job.yaml")
    words = ["run", str(tmp_path / "job.yaml")]
    failed = CliRunner().invoke(app, words)
    assert failed.exit_code == 6, failed.output
    assert "Verdict: don't ship" in failed.output
    unjudged = CliRunner().invoke(app, [*words, "--no-evaluate"])
    assert unjudged.exit_code == 0, unjudged.output
    assert "the gate isn't judged" in unjudged.output


def test_two_processes_train_what_one_would(tiny_model: Path, difference: Callable[[Path, Path], float]) -> None:
    found: list[Path] = []
    for processes in (1, 2):
        job = FineTuneJob(
            model=str(tiny_model),
            train=rows(),
            tuning=LoRA(rank=4, dropout=0),
            max_steps=4,
            batch_size=8,
            learning_rate=1e-3,
            checkpoint_steps=2,
            dtype="float32",
            backend=Local(processes=processes, device="cpu"),
        )
        assert job.plan().request["launch"]["processes"] == processes
        run = job.submit().wait(progress=False)
        assert [e.step for e in run.events() if e.kind == "step"] == [1, 2, 3, 4]
        found.append(run.collect().path)
    # The same eight rows a step, in another order of addition.
    assert difference(*found) < 1e-4
    assert "FTSDK_LOCK_FD" not in os.environ
