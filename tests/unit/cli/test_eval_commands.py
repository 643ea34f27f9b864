"""`ftsdk eval`: a file by an endpoint, a report that is shown again, a blind comparison."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from api_server import ApiServer
from serving import serving
from terminal import in_terminal
from typer.testing import CliRunner, Result

from ftsdk import Dataset, Eval, FineTuneJob, Gate, SpecError
from ftsdk.cli.app import app
from ftsdk.evals import evaluate, targets
from ftsdk.run.ledger import Ledger, Record


def ftsdk_eval(*words: object, keys: str = "") -> Result:
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["eval", *map(str, words)], input=keys)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with serving(ApiServer()) as made:
        yield made


@pytest.fixture
def results(tmp_path: Path) -> Path:
    rows = Dataset.from_rows([{"prompt": f"question {n} \x1b[2J", "completion": f"{n}"} for n in range(6)])
    measured = targets(lambda _: "old \x1b[2J", lambda _: "new")
    evaluate([Eval.exact_match(rows, name="accuracy")], measured, into=tmp_path / "results", title="[red]x")
    return tmp_path / "results"


def test_a_file_is_measured_at_an_endpoint_with_a_gate(server: ApiServer, tmp_path: Path) -> None:
    rows = Dataset.from_rows([{"prompt": f"{n}", "completion": f"{n if n else 'none'}"} for n in range(30)])
    file = rows.to_jsonl(tmp_path / "rows.jsonl")
    port = server.server_address[1]
    words = [file, "--endpoint", f"http://127.0.0.1:{port}/v1#echo", "--set", "ignore_case=true", "--price", "1/2"]
    page, xml = tmp_path / "page.html", tmp_path / "junit.xml"
    passed = ftsdk_eval(*words, "--gate-at-least", 0.5, "--budget", 1, "--html", page, "--junit", xml)
    assert passed.exit_code == 0, (passed.output, passed.exception)
    assert "29" in passed.output
    assert "Verdict: ship" in passed.output
    assert page.read_text().startswith("<!doctype html>")
    assert len(ElementTree.parse(xml).getroot()) == 2
    failed = ftsdk_eval(*words, "--gate-at-least", 1, "--json")
    assert failed.exit_code == 1
    assert json.loads(failed.stdout.splitlines()[-1])["verdict"]["decision"] != "ship"
    assert ftsdk_eval("--json", *words).exit_code == 0  # options first


def test_a_command_asks_for_its_own_options(server: ApiServer, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"question": "yes", "answer": "yes"}\n')
    words = [file, "--endpoint", f"http://127.0.0.1:{server.server_address[1]}/v1#echo"]
    table = str(ftsdk_eval(*words).exception)
    assert "--prompt '{question}' --completion '{answer}'" in table
    budget = ftsdk_eval(*words, "--prompt", "{question}", "--completion", "{answer}", "--budget", 1)
    assert "--price INPUT/OUTPUT" in str(budget.exception)
    shown = ftsdk_eval(*words, "--prompt", "{question}", "--completion", "{answer}", "--system", "Be brief.", "--json")
    assert shown.exit_code == 0, shown.output


def test_the_report_of_a_run_is_shown_by_its_ref(results: Path, ftsdk_home: Path) -> None:
    Ledger().intend(Record(ref="local:20261123-ab12cd", name=None, plan={}, options={}))
    missing = ftsdk_eval("show", "local:20261123-ab12cd")
    assert missing.exit_code == 1
    folder = ftsdk_home / "results" / "local-20261123-ab12cd"
    folder.mkdir(parents=True)
    shutil.copytree(results, folder / "evals")
    assert "accuracy" in ftsdk_eval("show", "local:20261123-ab12cd").output


def test_models_of_one_name_are_all_measured(server: ApiServer, tmp_path: Path) -> None:
    file = Dataset.from_rows([{"prompt": "yes", "completion": "yes"}] * 2).to_jsonl(tmp_path / "rows.jsonl")
    url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    words = [file, "--endpoint", f"{url}#a/echo", "--against", f"{url}#b/echo", "--against", f"{url}#b/echo", "--json"]
    report = json.loads(ftsdk_eval(*words).stdout.splitlines()[-1])
    assert [one["target"] for one in report["scores"]] == ["echo", "echo-2", "echo-3"]
    assert {pair["tuned"] for pair in report["pairs"]} == {"echo"}


def test_a_job_is_measured_on_its_base_model(tiny_model: Path, tmp_path: Path) -> None:
    train, test = (
        Dataset.from_rows([{"prompt": f"{kind} {n}", "completion": "ab"[n % 2]} for n in range(4)])
        for kind in ("mail", "letter")
    )
    job = FineTuneJob(
        model=str(tiny_model), train=train, evals=[Eval.exact_match(test, name="accuracy", max_new_tokens=2)]
    )
    file = tmp_path / "job.yaml"
    job.to_yaml(file)
    measured = ftsdk_eval(file, "--into", tmp_path / "results", "--json")
    assert measured.exit_code == 0, (measured.output, measured.exception)
    report = json.loads(measured.stdout.splitlines()[-1])
    assert [(one["target"], one["n"]) for one in report["scores"]] == [("base", len(test))]
    assert (tmp_path / "results" / "report.json").exists()
    job.replace(evals=[]).to_yaml(file)
    with pytest.raises(SpecError, match="has no evals"):
        CliRunner().invoke(app, ["eval", str(file)], catch_exceptions=False)


def test_a_job_s_gate_decides_the_exit_status(tiny_model: Path, tmp_path: Path) -> None:
    train, test = (
        Dataset.from_rows([{"prompt": f"{kind} {n}", "completion": "ab"[n % 2]} for n in range(40)])
        for kind in ("mail", "letter")
    )
    anything = Eval.of(test, "regex", name="anything", pattern="", max_new_tokens=2)
    evals = [anything, Eval.exact_match(test, name="accuracy", max_new_tokens=2)]
    job = FineTuneJob(model=str(tiny_model), train=train, evals=evals)
    file, words = tmp_path / "job.yaml", ("--into", tmp_path / "results")

    def ends_with(metric: str, *more: str, **gate: Any) -> tuple[int, str]:
        job.replace(gate=Gate(metric=metric, **gate)).to_yaml(file)
        done = ftsdk_eval(file, *words, *more)
        return done.exit_code, done.output

    code, output = ends_with("accuracy", at_least=0.9)
    assert code == 1
    assert "Verdict: don't ship" in output
    assert ends_with("accuracy", "--gate-at-least", "0.5", at_least=0.9)[0] == 0  # the option is meant
    assert ends_with("anything", at_least=0.5, no_regression={"accuracy": 0.01})[0] == 0
    code, output = ends_with("anything", better_than="base")  # the base isn't better than itself, and need not be
    assert code == 0
    assert "is judged for a run of the job" in output
    job.replace(gate=Gate(metric="accuracy", better_than="frontier")).to_yaml(file)
    with pytest.raises(SpecError, match="better_than='frontier' is none of the targets: base"):
        CliRunner().invoke(app, ["eval", str(file)], catch_exceptions=False)


def test_a_report_is_shown_again(results: Path) -> None:
    shown = ftsdk_eval("show", results)
    assert shown.exit_code == 0
    assert "Evaluation of [red]x" in shown.output
    assert json.loads(ftsdk_eval("show", results, "--json").stdout)["title"] == "[red]x"


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["rows.jsonl"], "neither a file"),
        (["local:20260101-abcdef", "--model", "x"], "--model is for a data file"),
        (["local:20260101-abcdef", "--scorer", "choice"], "--scorer is for a data file"),
        (["local:20260101-abcdef", "--set", "a=1"], "--set is for a data file"),
        (["local:20260101-abcdef", "--price", "1/2"], "--price is for endpoints"),
        (["x", "--against", "http://u:secret@a/v1#m", "--against", "http://b/v1#m", "--api-key-env", "K"], "//a and h"),
        (["x", "--against", "http://a/v1#m", "--against", "http://a/v1#n", "--price", "1/2"], "a#m and http://a#n"),
        (["show", "nowhere"], "no report"),
        (["compare", "a", "b"], "--human"),
        (["compare", "a.jsonl", "b.jsonl", "--human"], "'a.jsonl' is neither a file"),
    ],
)
def test_what_cannot_be_evaluated_is_refused(words: list[str], match: str) -> None:
    with pytest.raises(SpecError, match=match):
        CliRunner().invoke(app, ["eval", *words], catch_exceptions=False)


def test_a_blind_comparison_in_a_pipe_goes_on_later(results: Path, tmp_path: Path) -> None:
    words = ["compare", f"{results}@base", f"{results}@tuned", "--human", "--verdicts", tmp_path / "v.jsonl", "--by"]
    first = ftsdk_eval(*words, "ann", keys="a\nwhat\nb\n")
    assert "[1/6]" in first.output
    assert "\x1b[2J" not in first.output
    assert "'what' isn't a key" in first.output
    assert "4 left" in first.output
    again = ftsdk_eval(*words, "ann", keys="t\nt\nt\nt\n")
    assert "[3/6]" in again.output
    assert "4 ties" in again.output
    outcome = json.loads(ftsdk_eval(*words, "bob", "--json", keys="t\n" * 6).stdout.splitlines()[-1])
    assert outcome["agreements"][0]["judges"] == ["ann", "bob"]
    assert (outcome["names"], outcome["left"]) == (["base", "tuned"], 0)


def test_the_same_answers_are_not_compared_with_themselves(results: Path) -> None:
    with pytest.raises(SpecError, match="choose targets"):
        CliRunner().invoke(app, ["eval", "compare", str(results), str(results), "--human"], catch_exceptions=False)


def test_a_terminal_takes_one_key_a_verdict_and_hides_names(results: Path, tmp_path: Path) -> None:
    words = ["compare", f"{results}@base", f"{results}@tuned", "--human", "--verdicts", str(tmp_path / "v.jsonl")]
    typed = [("[1/6]", b"a"), ("[2/6]", b"t"), ("[3/6]", b"z"), ("[2/6]", b"b"), ("[3/6]", b"q")]
    _, lines, shown = in_terminal("eval", *words, keys=typed, takes_single_keys=True)
    assert any("4 left" in line for line in lines), lines
    before = shown.rpartition("quit")[0]
    assert "base" not in before
    assert "tuned" not in before
    assert len((tmp_path / "v.jsonl").read_text().split()) > 3
