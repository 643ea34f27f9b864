"""What a job's own estimate makes of a crossover: on every kind of backend, from Python and from the shell."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from ftsdk import Dataset, FineTuneJob, Local, Modal, SpecError, Together
from ftsdk.cli.app import app
from ftsdk.cost import CrossoverAnswer, Estimate, SelfHosted, Workload, crossover

EXAMPLE = Path(__file__).parents[4] / "examples" / "cost" / "email_crossover.yaml"
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"


def job_on(backend: Any, *, model: str = LLAMA, words: int = 20, epochs: int = 3) -> FineTuneJob:
    mails = [{"text": " ".join([f"mail {n}"] * words), "label": "ab"[n % 2]} for n in range(400)]
    train = Dataset.from_rows(mails).as_chat(prompt="{text}", completion="{label}")
    return FineTuneJob(model=model, train=train, epochs=epochs, backend=backend)


def ask(training: Estimate | float | None) -> CrossoverAnswer:
    return crossover(
        workload=Workload(requests_per_month=1_000_000, input_tokens=600, output_tokens=15, peak_to_mean=4),
        api="anthropic/claude-haiku-4-5",
        self_hosted=SelfHosted(model="mistralai/Mistral-7B-Instruct-v0.3", gpu="L4", provider="runpod", replicas=2),
        training=training,
        retrains_per_year=4,
        scenarios=5_000,
    )


@pytest.mark.parametrize("backend", [Modal(gpu="A100-80GB"), Together()], ids=["modal", "together"])
def test_a_jobs_estimate_is_the_cost_of_training_with_its_source(backend: Any) -> None:
    estimate = job_on(backend, words=1000, epochs=20).estimate(is_exact=False)
    assert estimate.cost is not None
    assert estimate.cost.low < estimate.cost.likely < estimate.cost.high
    answer = ask(estimate)
    lines = {line.label: line for line in answer.option("self-hosted").lines}
    assert lines["retraining"].source == lines["setup"].source == estimate.cost.source
    assert f"training: {estimate.cost.source}" in answer.assumptions
    # 12 dollars and half as much for runs thrown away, as for every amount.
    assert float(answer.upfront_usd - ask(0).upfront_usd) == pytest.approx(1.5 * float(estimate.cost.likely), abs=0.011)
    (drawn,) = [one for one in answer.distributions if one.input == "training_usd"]
    assert (drawn.low, drawn.likely, drawn.high) == tuple(
        float(usd) for usd in (estimate.cost.low, estimate.cost.likely, estimate.cost.high)
    )
    assert drawn.why == estimate.cost.source


def test_a_price_that_is_certain_is_not_drawn() -> None:
    estimate = job_on(Together()).estimate(is_exact=False)
    assert estimate.cost is not None
    assert estimate.cost.low == estimate.cost.high == 4  # the minimum
    assert "training_usd" not in {one.input for one in ask(estimate).distributions}


def test_a_dearer_estimate_makes_self_hosting_less_likely_to_be_cheaper() -> None:
    estimate = job_on(Modal(gpu="A100-80GB")).estimate(is_exact=False)
    assert estimate.cost is not None
    dear = estimate.replace(
        cost=estimate.cost.replace(
            low=estimate.cost.low * 500, likely=estimate.cost.likely * 500, high=estimate.cost.high * 5000
        )
    )
    cheap_odds, dear_odds = (ask(one).likelihood for one in (estimate, dear))
    assert dear_odds.p_self_hosted_cheaper < cheap_odds.p_self_hosted_cheaper
    assert any(swing.input == "training_usd" for swing in ask(dear).swings)


def test_a_job_on_this_machine_is_refused_until_its_hardware_has_a_price(model_of_headers: Path) -> None:
    job = job_on(Local(device="cpu"), model=str(model_of_headers))
    with pytest.raises(SpecError, match="this machine bills nothing"):
        ask(job.estimate(is_exact=False))


def test_a_job_whose_price_nobody_tells_is_refused_with_the_reason() -> None:
    estimate = job_on(Together(), model="moonshotai/Kimi-K2.6").estimate(is_exact=False)
    assert estimate.cost is None
    with pytest.raises(SpecError, match=r"no source has its price per token(.|\n)*live=True"):
        ask(estimate)


# From the shell.


@pytest.fixture
def job_file(tmp_path: Path) -> Path:
    (tmp_path / "mails.csv").write_text("text,label\n" + "".join(f"mail {n},{'ab'[n % 2]}\n" for n in range(40)))
    file = tmp_path / "job.yaml"
    file.write_text(
        f"model: {LLAMA}\nbackend: together\ntrain:\n  file: mails.csv\n  chat: {{prompt: '{{text}}', completion: "
        f"'{{label}}'}}\n"
    )
    return file


def test_the_command_takes_the_jobs_estimate_over_the_files_figure(job_file: Path, tmp_path: Path) -> None:
    question = tmp_path / "q.yaml"
    question.write_text(EXAMPLE.read_text().replace("training: 4\n", "training: 123\n"))
    done = CliRunner().invoke(app, ["cost", "crossover", str(question), "--job", str(job_file), "--verbose"])
    assert done.exit_code == 0, done.output
    assert "the file's own figure, $123.00, is replaced by the estimate" in done.output
    source = FineTuneJob.from_yaml(job_file).estimate().cost
    assert source is not None
    assert f"training: {source.source}" in done.output


def test_a_file_without_a_figure_has_none_to_speak_of(job_file: Path, tmp_path: Path) -> None:
    question = tmp_path / "q.yaml"
    question.write_text(EXAMPLE.read_text().replace("training: 4\n", ""))
    done = CliRunner().invoke(app, ["cost", "crossover", str(question), "--job", str(job_file), "--json"])
    assert done.exit_code == 0, done.output
    assert not any("own figure" in note for note in json.loads(done.output)["notes"])


def test_the_backend_of_the_job_may_be_named(job_file: Path) -> None:
    done = CliRunner().invoke(app, ["cost", "crossover", str(EXAMPLE), "--job", str(job_file), "--backend", "modal"])
    assert done.exit_code == 0, done.output
    assert "modal.com/pricing" in done.output


def test_an_hour_of_own_hardware_may_be_given_a_price(job_file: Path) -> None:
    asked = ["cost", "crossover", str(EXAMPLE), "--job", str(job_file), "--backend", "local"]
    refused = CliRunner().invoke(app, asked)
    assert isinstance(refused.exception, SpecError)
    assert "bills nothing" in str(refused.exception)
    priced = CliRunner().invoke(app, [*asked, "--usd-per-hour", "1.5", "--verbose"])
    assert priced.exit_code == 0, priced.output
    assert "training: $1.50 an hour, as given" in priced.output


@pytest.mark.parametrize("option", [["--backend", "modal"], ["--usd-per-hour", "2"]])
def test_options_of_a_job_without_a_job_are_refused(option: list[str]) -> None:
    refused = CliRunner().invoke(app, ["cost", "crossover", str(EXAMPLE), *option])
    assert isinstance(refused.exception, SpecError)
    assert "--job JOB.yaml" in str(refused.exception)


def test_what_rows_share_makes_a_crossover_cheaper_where_it_is_computed_once() -> None:
    instruction = "Sort the message into one of two kinds. " * 20

    def upfront(text: str) -> float:
        mails = [{"text": text.format(n=n * 7919, rule=instruction), "label": "ab"[n % 2]} for n in range(200)]
        train = Dataset.from_rows(mails).as_chat(prompt="{text}", completion="{label}")
        job = FineTuneJob(model=LLAMA, train=train, epochs=1, backend=Local(device="cpu"))
        return float(ask(job.estimate(is_exact=False, usd_per_hour=1)).upfront_usd - ask(0).upfront_usd)

    # The same tokens; only where the instruction comes first do the rows begin alike.
    assert 0 < upfront("{rule} {n}") < 0.5 * upfront("{n} {rule}")
