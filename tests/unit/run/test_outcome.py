"""What runs have taken: counted from events, held against estimates, and learned from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ftsdk import Dataset, FineTuneJob, Run, SpecError
from ftsdk.cli.app import app
from ftsdk.cost.training.calibration import Calibration, Probe, calibration_file, learn, read_calibration
from ftsdk.job.calibrate import calibrate
from ftsdk.protocol import CheckpointEvent, EvalEvent, Event, Plan, RunStatus, StateEvent, StepEvent
from ftsdk.protocol.estimates import Estimate, MemoryEstimate, Range, StepParts
from ftsdk.run.listing import Runs
from ftsdk.run.outcome import Comparison, CostReport, Outcome, compare
from ftsdk.run.stats import RunStats
from ftsdk.spec import DatasetRef, JobSpec, Model
from ftsdk.testing import ScriptedBackend


def steps(count: int, *, seconds: float, tokens: int = 100) -> list[StepEvent | StateEvent]:
    return [
        StateEvent(seq=0, at=0.0, state="running"),
        *(
            StepEvent(seq=n, at=5 + n * seconds, step=n, total_steps=count, tokens=n * tokens)
            for n in range(1, count + 1)
        ),
    ]


def an_estimate(*, seconds: float, tokens: float, step_s: float = 1.0) -> Estimate:
    amount = Range(low=seconds / 2, likely=seconds, high=seconds * 2)
    parts = StepParts(device_s=step_s, host_s=step_s / 1000)
    return Estimate(backend="local", seconds=amount, step=parts, tokens=Range(low=tokens, likely=tokens, high=tokens))


def a_plan(estimate: Estimate) -> Plan:
    spec = JobSpec(
        model=Model(id="acme/model"), train=DatasetRef(fingerprint="0" * 64, format="chat", rows=80), batch_size=4
    )
    return Plan(backend="local", spec=spec, request={}, estimate=estimate)


def test_a_probe_is_the_usual_time_between_steps_without_pauses() -> None:
    stats = RunStats()
    events = steps(20, seconds=2.0)
    late = [event.replace(at=event.at + (60 if event.kind == "step" and event.step > 10 else 0)) for event in events]
    stats.saw(late)
    probe = stats.probe(a_plan(an_estimate(seconds=20, tokens=2000)))
    assert probe is not None
    assert probe.measured_s == pytest.approx(2.0)
    assert probe.step.device_s == pytest.approx(1.0)


def test_guessed_tokens_are_corrected_before_the_device_is_blamed() -> None:
    stats = RunStats()
    stats.saw(steps(20, seconds=2.0, tokens=200))
    probe = stats.probe(a_plan(an_estimate(seconds=20, tokens=2000)))
    assert probe is not None
    assert probe.step.device_s == pytest.approx(2.0)


def test_a_few_steps_say_nothing_of_a_device() -> None:
    stats = RunStats()
    stats.saw(steps(4, seconds=2.0))
    assert stats.probe(a_plan(an_estimate(seconds=20, tokens=2000))) is None


def test_only_runs_that_succeeded_are_compared() -> None:
    estimate = an_estimate(seconds=100, tokens=1000)
    outcome = Outcome(state="succeeded", seconds=150.0, tokens=1200)
    found = {c.quantity: c for c in compare("local:a", estimate, outcome)}
    assert found["seconds"].is_inside
    assert not found["tokens"].is_inside
    assert found["seconds"].error == pytest.approx(-1 / 3)
    assert compare("local:a", estimate, outcome.replace(state="cancelled")) == ()
    assert compare("local:a", None, outcome) == ()


def test_the_report_counts_how_often_the_truth_was_inside() -> None:
    estimate = an_estimate(seconds=100, tokens=1000)
    found = [
        c for s in (60.0, 150.0, 900.0) for c in compare("local:a", estimate, Outcome(state="succeeded", seconds=s))
    ]
    report = CostReport(tuple(found))
    assert "inside the 80% interval in 2 of 3" in str(report)
    assert [row["is_inside"] for row in report.to_dict()["runs"]] == [True, True, False]
    assert "no finished run" in str(CostReport(()))


@pytest.mark.parametrize(
    ("actual", "is_inside"), [(12.34, True), (12.35, True), (12.33, True), (12.36, False), (12.32, False)]
)
def test_a_price_that_the_place_told_is_right_to_the_cent_or_wrong(actual: float, is_inside: bool) -> None:
    told = Comparison(
        ref="together:a", quantity="usd", estimated=Range(low=12.34, likely=12.34, high=12.34), actual=actual
    )
    assert told.is_inside is is_inside
    (row,) = CostReport((told,)).rows()
    assert row[2] == "$12.34"
    assert "within a cent of the provider's quote" in str(CostReport((told,)))


def test_a_report_fits_a_terminal_and_names_each_run_once() -> None:
    outcome = Outcome(state="succeeded", seconds=150.0, tokens=228_969)
    estimate = an_estimate(seconds=100, tokens=101_655).replace(tokens=Range(low=72_442, likely=101_655, high=149_793))
    report = CostReport(
        tuple(
            c for ref in ("together:20261124-47c680", "local:20261124-6ca565") for c in compare(ref, estimate, outcome)
        )
    )
    lines = str(report).splitlines()
    assert all(len(line) <= 80 for line in lines)
    assert sum("together:20261124-47c680" in line for line in lines) == 1
    assert lines[3].split() == ["tokens", "101,655", "(72,442", "to", "149,793)", "228,969", "-56%", "no"]


def test_a_cent_is_no_excuse_for_an_interval() -> None:
    cheap = Comparison(
        ref="local:a", quantity="usd", estimated=Range(low=0.001, likely=0.002, high=0.003), actual=0.004
    )
    assert not cheap.is_inside
    assert CostReport((cheap,)).rows()[0][2:4] == ("$0.0020 ($0.0010 to $0.0030)", "$0.0040")


def test_the_outcome_of_a_run_is_kept_and_shown(tmp_path: Path) -> None:
    rows = [{"text": f"mail {n}", "label": "ab"[n % 2]} for n in range(40)]
    train = Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{label}")
    job = FineTuneJob(model="acme/model-7B", train=train, backend=ScriptedBackend(root=tmp_path, cost_usd=(1, 2, 3)))
    run = job.submit().wait(progress=False, poll_s=0)
    assert [c.quantity for c in run.costs().comparisons] == ["tokens"]
    again = Run.open(run.ref, backend=ScriptedBackend(root=tmp_path, cost_usd=(1, 2, 3)))
    assert again.costs() == run.costs()
    assert len(Runs([run, again]).costs().comparisons) == 2


def test_the_command_line_shows_a_report_also_when_no_run_has_ended() -> None:
    shown = CliRunner().invoke(app, ["runs", "--costs"])
    assert shown.exit_code == 0, shown.output
    assert "no finished run" in shown.stdout
    as_json = CliRunner().invoke(app, ["runs", "--costs", "--json"])
    assert json.loads(as_json.stdout)["runs"] == []


def test_the_command_line_estimates_a_job(tmp_path: Path) -> None:
    (tmp_path / "mails.csv").write_text("text,label\n" + "".join(f"mail {n},{'ab'[n % 2]}\n" for n in range(40)))
    (tmp_path / "job.yaml").write_text(
        "model: meta-llama/Llama-3.1-8B-Instruct\nbackend: together\ntrain:\n  file: mails.csv\n  chat: {prompt: "
        "'{text}', completion: '{label}'}\n"
    )
    shown = CliRunner().invoke(app, ["estimate", str(tmp_path / "job.yaml"), "--quick"])
    assert shown.exit_code == 0, shown.output
    assert "$4.00" in shown.stdout
    assert "up to the minimum" in shown.stdout
    found = json.loads(CliRunner().invoke(app, ["estimate", str(tmp_path / "job.yaml"), "--quick", "--json"]).stdout)
    assert found["cost"]["likely"] == 4.0


def test_what_comes_between_two_steps_is_told_from_the_steps() -> None:
    stats = RunStats()
    events: list[Event] = [StateEvent(seq=0, at=0.0, state="running")]
    at = 20.0
    for n in range(1, 21):
        at += 1.0
        events.append(StepEvent(seq=n, at=at, step=n, total_steps=20, peak_memory_gb=1.5 + n / 100))
        if n in (7, 14):
            events.append(CheckpointEvent(seq=n, at=at + 4.9, step=n))
            at += 5.0
        if n == 10:
            events.append(EvalEvent(seq=n, at=at + 8.9, step=n, metrics={"loss": 1.0}))
            at += 9.0
    stats.saw(events)
    probe = stats.probe(a_plan(an_estimate(seconds=20, tokens=2000).replace(start_s=10.0, checkpoint_s=2.5)))
    assert probe is not None
    assert probe.measured_s == pytest.approx(1.0)
    assert probe.checkpoint_s == pytest.approx(5.0)
    assert probe.start_s == pytest.approx(20.0)
    assert probe.peak_gb is None  # nothing was said of it before


def test_a_weekend_between_two_attempts_is_no_part_of_what_a_run_took() -> None:
    stats = RunStats()
    stats.saw([StateEvent(seq=0, at=0.0, state="running", native="attempt 1"), StepEvent(seq=1, at=100.0, step=1)])
    stats.saw(
        [StateEvent(seq=2, at=200_000.0, state="running", native="attempt 2"), StepEvent(seq=3, at=200_050.0, step=2)]
    )
    assert stats.outcome(RunStatus(state="succeeded")).seconds == 150


def test_memory_measured_at_the_most_tokens_is_learned_at_those() -> None:
    stats = RunStats()
    stats.saw(
        [
            event.replace(peak_memory_gb=3.0) if isinstance(event, StepEvent) else event
            for event in steps(20, seconds=2.0, tokens=50)
        ]
    )
    memory = MemoryEstimate(peak_gb=Range(low=2, likely=4, high=5), verdict="fits", fixed_gb=1.0, varying_gb=3.0)
    guessed = an_estimate(seconds=20, tokens=2000).replace(
        memory=memory, tokens=Range(low=1500, likely=2000, high=3000)
    )
    probe = stats.probe(a_plan(guessed))
    assert probe is not None
    # Taken at 3,000 tokens; there were 1,000.
    assert probe.varying_gb == pytest.approx(1.0)
    assert (probe.fixed_gb, probe.peak_gb) == (1.0, 3.0)


def test_an_interrupted_run_measures_nothing() -> None:
    stats = RunStats()
    stats.saw([*steps(10, seconds=2.0), *steps(10, seconds=2.0)])
    assert stats.probe(a_plan(an_estimate(seconds=20, tokens=2000))) is None


def a_probe(*, at: float = 0.0, measured_s: float = 2.0, **changes: Any) -> Probe:
    return Probe(
        tuning="lora", step=StepParts(device_s=1.0, host_s=0.001), measured_s=measured_s, steps=9, at=at, **changes
    )


def test_probes_are_kept_by_device_and_software_and_the_oldest_go(ftsdk_home: Path) -> None:
    for software, measured_s, at in (("torch 1", 1.5, 1.0), ("torch 2", 1.2, 2.0), ("torch 1", 1.4, 3.0)):
        learn(a_probe(measured_s=measured_s, at=at), device="CPU", software=software)
    first = read_calibration("CPU", software="torch 1")
    second = read_calibration("CPU", software="torch 2")
    assert first is not None
    assert second is not None
    assert [probe.measured_s for probe in first.probes] == [1.5, 1.4]
    assert [probe.measured_s for probe in second.probes] == [1.2]
    assert read_calibration("CPU", software="torch 3") is None
    assert read_calibration("GPU", software="torch 1") is None
    for n in range(40):
        last = learn(a_probe(at=10.0 + n), device="CPU", software="torch 1")
    assert len(last.probes) == 24
    assert last.measured_at == 49.0
    assert read_calibration("CPU", software="torch 2") == second


def test_a_calibration_says_what_was_measured_beside_what_was_looked_up() -> None:
    told = str(
        Calibration(
            device="CPU",
            software="torch 1",
            probes=(a_probe(start_s=8.0, predicted_start_s=13.0, fixed_gb=1.0, peak_gb=1.4),),
        )
    )
    assert "measured on CPU with torch 1, 9 steps of 1 runs" in told
    assert "lora: a step takes 2.00 s (predicted: 1.00 s), peak 1.4 GB (1.0 GB), start 8 s (13 s)" in told
    with pytest.raises(SpecError, match="at least one probe"):
        Calibration(device="CPU", software="torch 1", probes=())


def test_a_damaged_calibration_counts_as_none(ftsdk_home: Path) -> None:
    path = calibration_file("CPU")
    path.parent.mkdir(parents=True)
    path.write_text("[{]")
    assert read_calibration("CPU") is None


def test_a_place_without_hardware_of_its_own_cannot_be_calibrated(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="what hardware it trains on"):
        calibrate("acme/model-7B", backend=ScriptedBackend(root=tmp_path))
    with pytest.raises(SpecError, match="at least 16"):
        calibrate("acme/model-7B", steps=9)


def test_tokens_that_were_computed_count_where_rows_share_less_than_was_said() -> None:
    stats, estimate = RunStats(), an_estimate(seconds=20, tokens=2000)
    parts = estimate.step.replace(tokens=50.0) if estimate.step else None
    events = [e.replace(computed_tokens=200) if e.kind == "step" else e for e in steps(20, seconds=2.0)]
    stats.saw(events)
    probe = stats.probe(a_plan(estimate.replace(step=parts)))
    assert probe is not None
    # Four times the tokens that were said: the device isn't four times slower.
    assert probe.step.device_s == pytest.approx(4.0)
