"""The commands, called as from a shell."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ftsdk._format import text_table
from ftsdk.cli.app import app
from ftsdk.cli.exit_codes import code_of_error
from ftsdk.cli.overrides import with_overrides
from ftsdk.cli.show import fold
from ftsdk.errors import BudgetExceededError, Diagnosis, FtsdkError, RunFailedError, RunNotReadyError, SpecError
from ftsdk.run.ledger import Ledger, Record


@pytest.fixture
def job_file(tmp_path: Path, model_of_headers: Path) -> Path:
    assert model_of_headers == tmp_path / "model"
    (tmp_path / "mails.jsonl").write_text(
        "".join(json.dumps({"text": f"mail {n}", "label": "ab"[n % 2]}) + "\n" for n in range(20))
    )
    file = tmp_path / "job.yaml"
    file.write_text(
        "model: ./model\n"
        "train: {file: mails.jsonl, chat: {prompt: '{text}', completion: '{label}'}}\n"
        "tuning: {kind: lora, rank: 4}\n"
        "backend: {name: local, options: {device: cpu}}\n"
    )
    return file


def test_plan_prints_tables_and_json(job_file: Path) -> None:
    shown = CliRunner().invoke(app, ["plan", str(job_file)])
    assert shown.exit_code == 0, shown.output
    assert "20 training rows" in shown.output
    data = json.loads(CliRunner().invoke(app, ["plan", str(job_file), "--json"]).output)
    assert data["backend"] == "local"
    assert data["request"]["training"]["tuning"]["rank"] == 4


def test_runs_is_empty_at_first_and_json_is_json() -> None:
    assert "no runs yet" in CliRunner().invoke(app, ["runs"]).output
    assert json.loads(CliRunner().invoke(app, ["runs", "--json"]).output) == []


def test_schema_is_a_json_schema() -> None:
    assert json.loads(CliRunner().invoke(app, ["schema"]).output)["properties"]["epochs"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plan", "nowhere.yaml"], "there is no job file"),
        (["watch", "local:20260101-abcdef"], "ledger"),
        (["watch", "nonsense"], "a run ref"),
        (["cancel", "local:20260101-abcdef"], "RunNotFoundError"),
    ],
)
def test_an_error_is_a_box_and_status_1_not_a_traceback(arguments: list[str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from ftsdk.cli import main; main()", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert said in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_another_backend_is_one_option(job_file: Path) -> None:
    refused = CliRunner().invoke(app, ["plan", str(job_file), "--backend", "lokal"])
    assert refused.exit_code != 0
    assert "did you mean 'local'" in str(refused.exception)


def test_long_lines_fold_under_their_content_and_addresses_stay_whole() -> None:
    address = "https://prices.example/" + "a" * 40
    text = "\n".join(
        [
            "Tokens   1,000 of them, counted through the tokenizer",
            "  cost: GPU $0.12 [a price that was read at a page]",
            "- a bullet that is too long for this line",
            "short",
            "",
            f"Note: {address} is where it was read",
        ]
    )
    assert fold(text, 40).splitlines() == [
        "Tokens   1,000 of them, counted through",
        "         the tokenizer",
        "  cost: GPU $0.12 [a price that was read",
        "      at a page]",
        "- a bullet that is too long for this",
        "  line",
        "short",
        "",
        "Note:",
        f"  {address}",
        "  is where it was read",
    ]
    assert fold(text, 200) == text


def test_a_row_of_a_table_is_folded_in_its_last_column_and_the_rule_is_cut() -> None:
    table = text_table(
        [("gate", "found"), ("files", "all of them"), ("score", "these examples can't rule out a loss")], has_rule=True
    )
    assert fold(f"{table}\n\nafter the table, a line that is long", 32).splitlines() == [
        "gate   found",
        "-----  -------------------------",
        "files  all of them",
        "score  these examples can't rule",
        "       out a loss",
        "",
        "after the table, a line that is",
        "  long",
    ]
    assert fold(table, 200) == table


def test_a_column_pushed_to_the_right_comes_back_when_its_line_is_folded() -> None:
    line = "  a month          $1,240  $1.24 per 1,000 answers                   2 replicas, 2% used"
    assert fold(line, 70).splitlines() == [
        "  a month          $1,240  $1.24 per 1,000 answers  2 replicas, 2%",
        "      used",
    ]
    assert fold(line, 100) == line


def test_every_command_has_a_heading_in_the_help() -> None:
    registered = [*app.registered_commands, *app.registered_groups]
    assert {one.rich_help_panel for one in registered} == {"Before a run", "Runs", "Judge a model", "Ship a model"}


def test_a_server_that_is_not_there_is_named_with_those_that_are() -> None:
    done = CliRunner().invoke(app, ["stop", "llama-1"])
    assert isinstance(done.exception, SpecError)
    assert str(done.exception).startswith("no server 'llama-1' on this machine (none is running)")


def test_a_pipe_gets_lines_whole(tmp_path: Path) -> None:
    (tmp_path / "mails.csv").write_text("text,label\n" + "".join(f"mail {n},{'ab'[n % 2]}\n" for n in range(40)))
    (tmp_path / "job.yaml").write_text(
        "model: meta-llama/Llama-3.1-8B-Instruct\nbackend: modal\ntrain:\n  file: mails.csv\n  chat: {prompt: "
        "'{text}', completion: '{label}'}\n"
    )
    shown = CliRunner().invoke(app, ["estimate", str(tmp_path / "job.yaml")], env={"COLUMNS": "40"})
    (cost,) = [line for line in shown.output.splitlines() if line.startswith("Cost ")]
    assert len(cost) > 80


def test_a_plan_in_a_narrow_terminal_cuts_no_address(job_file: Path) -> None:
    shown = CliRunner().invoke(app, ["plan", str(job_file)], env={"COLUMNS": "60"})
    assert "…" not in shown.output


def test_untrusted_text_neither_drives_the_terminal_nor_is_markup(capsys: pytest.CaptureFixture[str]) -> None:
    from ftsdk.cli.show import plain, show_error

    hostile = "\x1b]0;title\x07[red]x[/y]\x9b31m\r"
    show_error(SpecError(hostile))
    seen = capsys.readouterr().err
    assert not {"\x1b", "\x07", "\x9b", "\r"} & set(seen)
    assert "[red]x[/y]" in seen
    assert not {"\x1b", "\x07", "\x9b", "\r"} & set(plain(hostile))


def test_a_field_is_set_on_the_command_line_in_yaml(job_file: Path) -> None:
    changes = ["--set", "epochs=2", "--set", "tuning.rank=8", "--set", "seed=7"]
    data = json.loads(CliRunner().invoke(app, ["plan", str(job_file), *changes, "--json"]).output)
    assert (data["spec"]["epochs"], data["spec"]["tuning"]["rank"], data["spec"]["seed"]) == (2, 8, 7)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("epoch=2", "did you mean 'epochs'"),
        ("tuning.rnak=2", "did you mean 'rank'"),
        ("method.bta=2", "unknown option 'bta'"),
        ("epochs", "write key=value"),
        ("epochs=two", "epochs"),
        ("epochs.x=1", "epochs"),
        ("model.id.x=1", "has no fields to set"),
        ("seed=[", "--set seed"),
        ("a" + ".a" * 100_000 + "=1", "--set: the key is nested deeper than 100 levels"),
        ("x-data=1", "changes nothing"),
    ],
)
def test_a_field_that_cannot_be_set_is_refused(job_file: Path, change: str, said: str) -> None:
    refused = CliRunner().invoke(app, ["plan", str(job_file), "--set", change])
    assert isinstance(refused.exception, SpecError)
    assert said in str(refused.exception)


@pytest.mark.parametrize("index", ["1", "-1", "²", "x", "9" * 10, "9" * 5000])
def test_an_entry_that_a_list_lacks_cannot_be_set(index: str) -> None:
    data = {"model": "m", "train": "t.csv", "evals": [{"name": "accuracy"}]}
    for key in (f"evals.{index}", f"evals.{index}.name"):
        with pytest.raises(SpecError, match=f"'{index}' is no index of a list with 1 entries, from 0"):
            with_overrides(data, [f"{key}=x"])
    assert with_overrides(data, ["evals.0.name=f1"])["evals"] == [{"name": "f1"}]


def test_a_backends_option_can_be_set_where_the_file_has_a_name() -> None:
    data = {"model": "m", "train": "t.csv", "backend": "local"}
    assert with_overrides(data, ["backend.options.processes=2"])["backend"] == {
        "name": "local",
        "options": {"processes": 2},
    }
    assert data["backend"] == "local"


def _run_in(state: str) -> str:
    ref = f"local:20260101-{state}"
    ledger = Ledger()
    ledger.intend(Record(ref=ref, name=None, plan={"spec": {"model": {"id": "m"}}}, options={}))
    if state != "intended":
        ledger.never_started(ref, state, "a test")
    return ref


def test_rm_lists_what_it_removes_and_asks() -> None:
    ref = _run_in("cancelled")
    refused = CliRunner().invoke(app, ["rm", ref], input="n\n")
    assert refused.exit_code == 1
    assert ref.split(":")[1] in refused.output
    assert CliRunner().invoke(app, ["rm", ref, "--yes"]).exit_code == 0
    assert "no runs yet" in CliRunner().invoke(app, ["runs", "--rebuild"]).output


def test_rm_refuses_a_run_that_has_not_ended() -> None:
    refused = CliRunner().invoke(app, ["rm", _run_in("intended"), "--yes"])
    assert isinstance(refused.exception, RunNotReadyError)
    assert "ftsdk cancel" in str(refused.exception)


def test_rebuild_brings_runs_back() -> None:
    ref = _run_in("cancelled")
    Ledger().path.write_bytes(b"garbage " * 500)
    for side in Ledger().path.parent.glob("ledger.sqlite-*"):
        side.unlink()
    assert isinstance(CliRunner().invoke(app, ["runs"]).exception, FtsdkError)
    assert ref in CliRunner().invoke(app, ["runs", "--rebuild"]).output


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (FtsdkError("x"), 1),
        (RunFailedError("local:a", Diagnosis("unknown", "x")), 3),
        (BudgetExceededError("x"), 5),
    ],
)
def test_each_kind_of_error_has_its_exit_status(error: FtsdkError, code: int) -> None:
    assert code_of_error(error) == code


def test_a_ref_is_completed_from_the_ledger() -> None:
    ref = _run_in("cancelled")
    done = subprocess.run(
        [sys.executable, "-c", "from ftsdk.cli import main; import sys; sys.argv = ['ftsdk']; main()"],
        env={**os.environ, "_FTSDK_COMPLETE": "complete_bash", "COMP_WORDS": "ftsdk watch lo", "COMP_CWORD": "2"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == [ref]


def test_a_detached_run_prints_its_ref_and_nothing_else_on_stdout(job_file: Path) -> None:
    pytest.importorskip("trl", reason="the extra 'local' isn't installed")
    result = CliRunner().invoke(app, ["run", str(job_file), "--detach"])
    assert result.exit_code == 0, result.output
    ref = result.stdout.removesuffix("\n")
    assert f"ftsdk watch {ref}" in result.stderr
    assert CliRunner().invoke(app, ["cancel", ref]).exit_code == 0
