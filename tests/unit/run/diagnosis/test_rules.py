"""Each fault is named from what a run reported and answered, with the change to try; a healthy run gets no finding."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ftsdk import DPO, Dataset, Eval, FineTuneJob, Model
from ftsdk.evals import EvalReport, evaluate, targets
from ftsdk.protocol import EvalEvent, Event, LogEvent, StateEvent, StepEvent
from ftsdk.run.diagnosis import RunDiagnosis, diagnose, evidence_of

TRAIN = Dataset.from_rows([{"prompt": f"train {n}", "completion": "yes"} for n in range(400)], name="train")
VALIDATION = Dataset.from_rows([{"prompt": f"validation {n}", "completion": "yes"} for n in range(40)], name="v")
TEST = Dataset.from_rows([{"prompt": f"test {n}", "completion": "yes"} for n in range(100)], name="test")
STEPS = 100
Loss = Callable[[float], float]


def falling(share: float) -> float:
    return 0.2 + 2 * math.exp(-6 * share)


def job(**changes: Any) -> FineTuneJob:
    return FineTuneJob(model="org/name", train=TRAIN, **changes)


def events(loss: Loss, validation: Loss | None = None, *, epochs: float = 2.0) -> list[Event]:
    found: list[Event] = []
    for step in range(1, STEPS + 1):
        share = step / STEPS
        found.append(StepEvent(seq=len(found), step=step, epoch=epochs * share, loss=loss(share)))
        if validation is not None and step % 20 == 0:
            found.append(EvalEvent(seq=len(found), step=step, metrics={"loss": validation(share)}))
    return found


def diagnosed(
    happened: Sequence[Event], made: FineTuneJob, report: EvalReport | None = None, folder: Path | None = None
) -> RunDiagnosis:
    return diagnose(evidence_of(made.spec(), happened, report=report, folder=folder), title="run local:1")


def kinds(found: RunDiagnosis) -> list[str]:
    return [finding.kind for finding in found.findings]


def evaluated(
    tmp_path: Path, tuned: Callable[[int], str], *, name: str = "accuracy", base: Callable[[int], str] = lambda _: "no"
) -> EvalReport:
    def answer(by: Callable[[int], str]) -> Callable[[Any], str]:
        return lambda messages: by(int(messages[-1]["content"].split()[1]))

    return evaluate([Eval.exact_match(TEST, name=name)], targets(answer(base), answer(tuned)), into=tmp_path)


def test_a_healthy_run_gets_no_finding(tmp_path: Path) -> None:
    report = evaluated(tmp_path, lambda n: "yes" if n % 10 else "no")
    found = diagnosed(events(falling, falling), job(validation=VALIDATION), report, tmp_path)
    assert kinds(found) == []
    assert "Nothing found that wants a change." in str(found)


def test_a_loss_that_jumps_at_a_high_learning_rate_overshoots() -> None:
    # SmolLM2-135M, LoRA of rank 16, a learning rate of 1e-2: benchmarks/bench_diagnosis.py, 2026-11-28.
    measured = """9.06 11.95 4.11 13.3 3.0 2.37 2.39 5.77 2.0 3.19 7.13 2.02 3.19 2.71 3.94 3.57 2.19 1.2 1.1 4.89
        1.95 2.49 2.36 3.05 3.43 2.06 1.65 1.57 1.6 1.64 1.24 1.27 1.39 1.71 1.33 1.01 2.01 1.46 1.03 0.8"""
    steps = [StepEvent(seq=n, step=n + 1, epoch=n / 20, loss=float(loss)) for n, loss in enumerate(measured.split())]

    made = job(learning_rate=1e-2)
    [finding] = diagnosed(steps, made).findings
    assert finding.kind == "diverging"
    assert finding.apply(made).learning_rate == 1e-3
    assert "jumped 3 times" in finding.evidence[0]
    assert kinds(diagnosed(steps, job(learning_rate=2e-4))) == []


def test_small_batches_of_mixed_rows_do_not_overshoot() -> None:
    # A healthy run of the same benchmark: rank 4, a learning rate of 1e-3, support mails between general questions.
    measured = """6.19 4.3 3.84 3.68 4.98 5.81 3.32 2.21 3.58 3.0 2.14 1.73 2.56 2.68 1.85 1.13 2.77 1.5 1.43 2.23 1.99
        2.39 1.44 0.83 2.6 1.27 1.34 0.87 2.26 2.34 1.52 1.66 1.53 1.75 1.92 1.16 1.33 1.21 2.39 3.09 1.71 1.54 0.96
        1.59 2.2 0.95 1.1 2.27 0.6 0.68 0.66 1.72 1.73 0.45"""
    steps = [StepEvent(seq=n, step=n + 1, epoch=n / 27, loss=float(loss)) for n, loss in enumerate(measured.split())]
    assert kinds(diagnosed(steps, job(learning_rate=1e-3))) == []


@pytest.mark.parametrize(
    "loss",
    [
        lambda share: falling(share) if share < 0.4 else 2.5,
        lambda share: 2.2 + 4 * min(1.0, 5 * share),
    ],
)
def test_a_loss_that_goes_up_and_stays_there_asks_for_a_lower_learning_rate(loss: Loss) -> None:
    made = job(learning_rate=2e-3)
    [finding] = diagnosed(events(loss), made).findings
    assert finding.kind == "diverging"
    assert finding.apply(made).learning_rate == 2e-4
    assert finding.code == "job.replace(learning_rate=0.0002)"
    assert finding.apply(made).replace(learning_rate=2e-3).spec() == made.spec()  # one thing changes


@pytest.mark.parametrize(
    ("rate", "field", "value"), [(1e-6, "learning_rate", 2e-4), (1e-2, "learning_rate", 1e-3), (2e-4, "epochs", 9.0)]
)
def test_a_loss_that_stays_where_it_was_asks_for_what_explains_it(rate: float, field: str, value: float) -> None:
    made = job(learning_rate=rate)
    [finding] = diagnosed(events(lambda share: 2.2 - 0.1 * share), made).findings
    assert finding.kind == "loss_not_falling"
    assert getattr(finding.apply(made), field) == value


def test_a_loss_that_falls_steadily_is_not_blamed_on_a_high_rate() -> None:
    made = job(learning_rate=1e-3)
    [finding] = diagnosed(events(lambda share: 6 - 0.3 * share), made).findings
    assert finding.apply(made).epochs == 9
    [jumps] = diagnosed(events(lambda share: 6 - 0.3 * share + 0.3 * (round(share * STEPS) % 2)), made).findings
    assert jumps.apply(made).learning_rate == 1e-4


def test_a_run_that_goes_on_is_told_apart_from_one_that_has_ended() -> None:
    made = job(validation=VALIDATION)
    found = diagnose(evidence_of(made.spec(), [], is_finished=False), title="run local:1")
    assert found.unknown == (
        "how the run ends: it hasn't ended yet; diagnose it again when it has (ftsdk watch REF)",
        "whether the loss fell: only 0 steps reported one",
        "where overfitting began: no validation loss was reported",
    )
    flat = events(lambda share: 2.2 - 0.1 * share)
    assert diagnose(evidence_of(made.spec(), flat, is_finished=False), title="run local:1").findings == ()


def test_a_rising_validation_loss_asks_for_fewer_epochs() -> None:
    made = job(validation=VALIDATION, epochs=5)
    happened = events(falling, lambda share: 0.5 + abs(share - 0.4), epochs=5)
    [finding] = diagnosed(happened, made).findings
    assert finding.kind == "overfitting"
    assert finding.apply(made).epochs == 2
    assert "lowest at step 40 (0.5) and rose to 1.1 at step 100" in finding.evidence[0]


def test_rows_known_by_heart_are_found_without_validation() -> None:
    made = job(epochs=20)
    [finding] = diagnosed(events(lambda share: 3 * math.exp(-20 * share), epochs=20), made).findings
    assert finding.kind == "overfitting"
    assert 1 <= finding.apply(made).epochs <= 6


def test_answers_worse_than_the_loss_promises_are_a_template_mismatch(tmp_path: Path) -> None:
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    made = job().replace(model=Model(id="org/name", chat_template=template))
    report = evaluated(tmp_path, lambda n: "### Response: yes" if n % 3 else "yes")
    [finding] = diagnosed(events(lambda share: 0.01 + falling(share) - 0.2), made, report, tmp_path).findings
    assert finding.kind == "template_mismatch"
    assert "66% of the answers hold pieces of a chat template, such as '### Response'" in finding.evidence
    assert finding.apply(made).model == Model(id="org/name")


def test_answers_that_go_on_after_the_reference_lack_an_end(tmp_path: Path) -> None:
    report = evaluated(tmp_path, lambda n: "yes and so on and so on")
    lines = (tmp_path / "accuracy" / "tuned.jsonl").read_text().splitlines()
    (tmp_path / "accuracy" / "tuned.jsonl").write_text("\n".join(line[:-1] + ', "is_cut": true}' for line in lines))
    found = diagnosed(events(lambda share: 0.01 + falling(share) - 0.2), job(), report, tmp_path)
    assert kinds(found) == ["no_end_of_text"]
    assert "100% begin with the reference and go on after it" in found.findings[0].evidence


@pytest.mark.parametrize(("name", "kind"), [("general", "abilities_lost"), ("format_bleed", "format_bleed")])
def test_suites_tell_of_lost_abilities_and_of_a_format_that_bleeds(name: str, kind: str, tmp_path: Path) -> None:
    report = evaluated(tmp_path, lambda n: "no", name=name, base=lambda n: "yes" if n % 2 else "no")
    found = diagnosed(events(falling), job(), report)
    assert kinds(found) == [kind]
    assert "Dataset.mix" in found.findings[0].advice


def test_what_could_not_be_looked_at_is_named() -> None:
    found = diagnosed(events(falling)[:5], job())
    assert kinds(found) == []
    assert len(found.unknown) == 3
    assert "only 5 steps" in str(found)
    assert found.to_dict()["unknown"] == list(found.unknown)


def test_a_step_done_again_after_a_crash_counts_once() -> None:
    happened = events(falling)
    again = [event.replace(seq=event.seq + 1000) for event in happened[50:]]
    first, second = (evidence_of(job().spec(), found).training for found in (happened, [*happened, *again]))
    assert first == second
    assert len(first) == STEPS


@pytest.mark.parametrize("damage", ["", "{", '{"index": 0}\n', "[" * 100_000, "[1]\n7\n"])
def test_damaged_answers_are_left_out(tmp_path: Path, damage: str) -> None:
    report = evaluated(tmp_path, lambda n: "yes")
    (tmp_path / "accuracy" / "tuned.jsonl").write_text(damage)
    assert kinds(diagnosed(events(falling), job(), report, tmp_path)) == []


def test_strangers_text_in_answers_is_made_visible(tmp_path: Path) -> None:
    report = evaluated(tmp_path, lambda n: "<|im_\x1b[31mstart|> <|end|>")
    found = diagnosed(events(falling), job(), report, tmp_path)
    assert "\x1b" not in str(found)
    assert "<|end|>" not in found.to_html()


@pytest.mark.parametrize(
    "event",
    [
        StateEvent(state="failed", diagnosis={"kind": "nan_loss", "message": "the loss is nan", "step": 41}),
        LogEvent(message="train/loss at step 41 is nan", level="warning"),
        LogEvent(message="train/grad_norm at step 41 is -inf", level="warning"),
    ],
)
def test_a_loss_that_is_no_number_any_more_diverges(event: Event) -> None:
    made = job(learning_rate=2e-3)
    [finding] = diagnosed([*events(falling)[:40], event], made).findings
    assert finding.kind == "diverging"
    assert "at step 41" in finding.evidence[0]
    assert finding.apply(made).learning_rate == 2e-4


@pytest.mark.parametrize("epoch", [None, 0.0, -1.0, 1e-300, 1e300])
@pytest.mark.parametrize("step", [0, 1, 10**9])
def test_steps_without_a_sensible_epoch_are_no_obstacle(epoch: float | None, step: int) -> None:
    happened = [*events(falling, lambda share: 1 + share), StepEvent(seq=999, step=step, epoch=epoch, loss=-1e300)]
    made = job(validation=VALIDATION, epochs=900)
    for order in (happened, happened[::-1]):
        found = diagnosed(order, made).findings
        assert all(0 < finding.apply(made).epochs <= 900 for finding in found)


def test_the_loss_of_preferences_promises_no_answers(tmp_path: Path) -> None:
    pairs = Dataset.from_rows([{"prompt": f"p {n}", "chosen": "a", "rejected": "b"} for n in range(40)])
    made = FineTuneJob(model="org/name", train=pairs, method=DPO())
    report = evaluated(tmp_path, lambda n: "no")
    assert kinds(diagnosed(events(lambda share: 0.7 - 0.65 * share), made, report, tmp_path)) == []


@pytest.mark.parametrize(("name", "expected"), [("accuracy", ["template_mismatch"]), ("general", []), ("safety_x", [])])
def test_the_loss_promises_nothing_for_suites(name: str, expected: list[str], tmp_path: Path) -> None:
    report = evaluated(tmp_path, lambda n: "Yes, I can help you with that.", name=name)
    low = diagnosed(events(lambda share: 0.01 + falling(share) - 0.2), job(), report, tmp_path)
    assert kinds(low) == expected
