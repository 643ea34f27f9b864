"""`ftsdk data`: a file in, a file out, and what was done."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from ftsdk import Dataset
from ftsdk.cli.app import app


def run(*arguments: object) -> str:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["data", *map(str, arguments)])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def rows_file(path: Path, count: int = 40) -> Path:
    rows = [{"prompt": f"Write to eva{n}@example.org.", "completion": f"Done, {n}."} for n in range(count)]
    return Dataset.from_rows([*rows, rows[0]]).to_jsonl(path)


def test_clean_writes_rows_key_card_and_what_it_touched(tmp_path: Path) -> None:
    file = rows_file(tmp_path / "rows.jsonl")
    names = ("out.jsonl", "removed.jsonl", "changed.jsonl", "card.md", "key.json")
    output, removed, changed, card, key = (tmp_path / name for name in names)
    options = ("--removed", removed, "--changed", changed, "--card", card, "--key", key, "--set", "kinds=[email]")
    shown = run("clean", file, "-o", output, "--steps", "exact_duplicates,pii", *options)
    assert "exact_duplicates" in shown
    assert len(Dataset.from_file(output)) == 40
    assert "example.org" not in output.read_text()
    assert "repeats" in json.loads(removed.read_text())["reason"]
    assert len(changed.read_text().splitlines()) == 40
    assert "| Rows | 40 |" in card.read_text()
    assert Dataset.from_file(output)[0]["messages"][0]["content"] == "Write to [EMAIL_1]."
    assert "eva0@example.org" in key.read_text()


def test_split_and_mix_write_parts(tmp_path: Path) -> None:
    file = rows_file(tmp_path / "rows.jsonl")
    run("split", file, "-o", tmp_path / "parts", "--test", "0.25", "--validation", "4", "--group", "none")
    sizes = {part.stem: len(Dataset.from_file(part)) for part in (tmp_path / "parts").iterdir()}
    assert sizes == {"train": 27, "validation": 4, "test": 10}
    run("mix", f"{file}=0.8", "general=0.2", "-o", tmp_path / "mix.jsonl", "--rows", 50)
    assert len(Dataset.from_file(tmp_path / "mix.jsonl")) == 50


def test_a_mix_names_the_rows_that_it_leaves_out(tmp_path: Path) -> None:
    file = rows_file(tmp_path / "rows.jsonl", count=2_000)
    shown = run("mix", f"{file}=0.5", "general=0.5", "-o", tmp_path / "mix.jsonl")
    assert "1,801 of the 2,201 rows given are left out" in shown


def test_a_second_clean_leaves_no_removed_rows_of_the_first(tmp_path: Path) -> None:
    file, removed = rows_file(tmp_path / "rows.jsonl"), tmp_path / "removed.jsonl"
    run("clean", file, "-o", tmp_path / "one.jsonl", "--removed", removed)
    assert removed.read_text()
    run("clean", tmp_path / "one.jsonl", "-o", tmp_path / "two.jsonl", "--removed", removed)
    assert removed.read_text() == ""


def test_steps_are_listed_with_their_parameters() -> None:
    shown = run("steps")
    assert "near_duplicates: Remove rows" in shown
    assert "threshold=0.7" in shown
    assert "safe stands for encoding" in shown


def test_a_slip_on_the_command_line_is_one_message(tmp_path: Path) -> None:
    file = rows_file(tmp_path / "rows.jsonl")
    for arguments in (["mix", str(file), "-o", "x.jsonl"], ["split", str(file), "-o", "x", "--test", "many"]):
        done = CliRunner().invoke(app, ["data", *arguments])
        assert done.exit_code == 2
        assert "Traceback" not in done.output
