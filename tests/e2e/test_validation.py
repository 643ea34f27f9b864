"""The validation is a mean over all rows, however many go through at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ftsdk import DPO, Dataset, FineTuneJob, FullFineTune, Local, LoRA
from ftsdk.protocol import EvalEvent

pytestmark = pytest.mark.e2e
MakeJob = Callable[..., FineTuneJob]

ANSWERS = ("b", "d e f g h i j k l m n o p " * 6, "y", "zzz " * 30, "a b c")
"""Of very different lengths, and as many as fill no batch of 2 or 4."""


def validation_of(make_job: MakeJob, **changes: Any) -> dict[str, float]:
    changes = {"max_steps": 1, "eval_steps": 1, "checkpoint_steps": 1, "learning_rate": 1e-9, **changes}
    run = make_job(**changes).submit().wait(progress=False, poll_s=0.05)
    return dict([e.metrics for e in run.events() if isinstance(e, EvalEvent)][-1])


def test_the_validation_loss_is_the_mean_over_trained_tokens(make_job: MakeJob) -> None:
    one_by_one = {
        answer: validation_of(make_job, validation=row, batch_size=1, tuning=LoRA(rank=2, dropout=0.0))["loss"]
        for answer, row in ((a, Dataset.from_rows([{"prompt": "question", "completion": a}])) for a in ANSWERS[:2])
    }
    weights = {
        answer: FineTuneJob(
            model=make_job().model, train=Dataset.from_rows([{"prompt": "question", "completion": answer}])
        )
        .preview(1)
        .report.trained_tokens
        for answer in one_by_one
    }
    first_two = Dataset.from_rows([{"prompt": "question", "completion": answer} for answer in one_by_one])
    mean = sum(one_by_one[a] * weights[a] for a in one_by_one) / sum(weights.values())
    found = validation_of(make_job, validation=first_two, batch_size=2, tuning=LoRA(rank=2, dropout=0.0))
    assert found["loss"] == pytest.approx(mean, abs=1e-4)


def pairs(answers: tuple[str, ...]) -> Dataset:
    return Dataset.from_rows([{"q": "question", "good": answer, "bad": "kitchen"} for answer in answers]).as_preference(
        prompt="{q}", chosen="{good}", rejected="{bad}"
    )


@pytest.mark.parametrize(
    "tuning", [LoRA(rank=2, dropout=0.0), pytest.param(FullFineTune(), marks=pytest.mark.slow)], ids=lambda t: t.kind
)
def test_the_validation_of_dpo_is_the_mean_over_pairs(make_job: MakeJob, tuning: Any) -> None:
    fields: dict[str, Any] = {
        "train": pairs(("a b c", "weather")),
        "method": DPO(beta=0.5),
        "tuning": tuning,
        "learning_rate": 1e-3,
    }
    fields |= {"max_steps": 4, "eval_steps": 4, "checkpoint_steps": 4, "batch_size": 2, "seed": 3}
    together = validation_of(make_job, validation=pairs(ANSWERS[:3]), **fields)
    alone = [validation_of(make_job, validation=pairs((answer,)), **fields) for answer in ANSWERS[:3]]
    for name in ("loss", "reward_accuracy", "reward_margin"):
        assert together[name] == pytest.approx(sum(found[name] for found in alone) / len(alone), abs=1e-4)
    assert together["loss"] != pytest.approx(0.6931, abs=1e-4)


@pytest.mark.slow
def test_two_processes_find_the_same_validation_loss_as_one(make_job: MakeJob) -> None:
    rows = Dataset.from_rows([{"prompt": "question", "completion": answer} for answer in ANSWERS[:3]])
    found = [
        validation_of(
            make_job,
            validation=rows,
            batch_size=4,
            tuning=LoRA(rank=2, dropout=0.0),
            backend=Local(processes=processes, device="cpu"),
        )["loss"]
        for processes in (1, 2)
    ]
    assert found[1] == pytest.approx(found[0], abs=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("tuning", [LoRA(rank=2, dropout=0.0), FullFineTune()], ids=lambda t: t.kind)
def test_two_processes_find_the_same_dpo_validation_as_one(make_job: MakeJob, tuning: Any) -> None:
    rows = pairs(ANSWERS)
    fields: dict[str, Any] = {"train": pairs(("a b c", "weather")), "method": DPO(beta=0.5), "tuning": tuning}
    fields |= {
        "allow_leaks": ["validation"],
        "learning_rate": 1e-3,
        "max_steps": 2,
        "eval_steps": 2,
        "checkpoint_steps": 2,
        "batch_size": 2,
    }
    one, two = (
        validation_of(make_job, validation=rows, **fields, backend=Local(processes=processes, device="cpu"))
        for processes in (1, 2)
    )
    assert one.keys() == two.keys()
    assert {name: two[name] for name in one} == pytest.approx(one, abs=1e-4)
    assert one["loss"] != pytest.approx(0.6931, abs=1e-4)
