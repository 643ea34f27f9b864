"""A crossover as a file, and the commands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ftsdk.cli.app import app
from ftsdk.cost.comparison.crossover_file import CrossoverFile
from ftsdk.errors import SpecError

EXAMPLE = Path(__file__).parents[4] / "examples" / "cost" / "email_crossover.yaml"


def test_the_example_file_is_answered_by_the_command() -> None:
    done = CliRunner().invoke(app, ["cost", "crossover", str(EXAMPLE)])
    assert done.exit_code == 0, done.output
    assert "P(self-hosting is cheaper)" in done.output
    assert "https://www.runpod.io/pricing, 2026-09-09" in done.output


def test_json_html_and_a_picture_come_from_one_call(tmp_path: Path) -> None:
    html, plot = tmp_path / "a.html", tmp_path / "a.svg"
    arguments = [
        "cost",
        "crossover",
        str(EXAMPLE),
        "--json",
        "--html",
        str(html),
        "--plot",
        str(plot),
        "--solve-for",
        "gpu_usd_per_hour",
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert json.loads(done.output)["solved"]["input"] == "gpu_usd_per_hour"
    assert html.read_text().startswith('<div class="ftsdk">')
    assert plot.stat().st_size > 10_000


def test_a_file_is_the_same_question_as_the_call_and_survives_a_round_trip() -> None:
    file = CrossoverFile.from_yaml(EXAMPLE)
    assert CrossoverFile.from_dict(file.to_dict()) == file
    assert float(file.answer(training=1000).upfront_usd) > float(file.answer().upfront_usd) + 1000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("workload: {input_tokens: 1, output_tokens: 1}\napi: a/b\n", "self_hosted"),
        (
            "workload: {input_token: 1, output_tokens: 1}\napi: a/b\nself_hosted: {model: m, gpu: L4, provider: p}\n",
            "did you mean 'input_tokens'",
        ),
        ("- 1\n", "not a mapping"),
        ("a: [\n", "invalid YAML"),
    ],
)
def test_a_wrong_file_says_what_is_wrong(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "q.yaml").write_text(text)
    with pytest.raises(SpecError, match=said):
        CrossoverFile.from_yaml(tmp_path / "q.yaml")
    with pytest.raises(SpecError, match="can't be read"):
        CrossoverFile.from_yaml(tmp_path / "missing.yaml")


def test_advice_is_given_from_flags_and_from_a_file_with_flags_winning(tmp_path: Path) -> None:
    flags = [
        "--task",
        "classification",
        "--requests",
        "3e6",
        "--input-tokens",
        "600",
        "--output-tokens",
        "15",
        "--api",
        "openai/gpt-4o-mini",
    ]
    done = CliRunner().invoke(app, ["advise", *flags, "--no-metric"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("MEASURE FIRST")
    (tmp_path / "me.yaml").write_text(
        "task: json\nworkload: {requests_per_month: 1000000, input_tokens: 1500, output_tokens: 300}\napi: "
        "openai/gpt-4o\nhas_metric: false\n"
    )
    tried = [word for way in ("prompt", "few-shot", "structured-output", "smaller-model") for word in ("--tried", way)]
    changed = CliRunner().invoke(app, ["advise", str(tmp_path / "me.yaml"), "--metric", *tried, "--json"])
    assert changed.exit_code == 0, changed.output
    assert json.loads(changed.output)["verdict"] == "fine-tune"


def test_advice_about_nothing_is_refused() -> None:
    done = CliRunner().invoke(app, ["advise"])
    assert isinstance(done.exception, SpecError)
    assert "--task" in str(done.exception)
