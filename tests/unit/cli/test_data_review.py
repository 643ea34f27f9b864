"""`ftsdk data review` in a pipe and in a terminal."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import termios
import time
from pathlib import Path

from typer.testing import CliRunner

from ftsdk import Dataset
from ftsdk.cli.app import app


def review(*arguments: object, keys: str = "") -> str:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["data", "review", *map(str, arguments)], input=keys)
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def rows_file(path: Path, count: int = 8) -> Path:
    rows = [{"prompt": f"Question {n}?\x1b[2J", "completion": f"Answer {n}."} for n in range(count)]
    return Dataset.from_rows(rows).to_jsonl(path)


def test_a_pipe_judges_line_by_line_and_goes_on_later(tmp_path: Path) -> None:
    file = rows_file(tmp_path / "rows.jsonl")
    shown = review(file, "--rows", 6, keys="b wrong city\nwhat\n\ng\nn hm\n")
    assert "[1/6]" in shown
    assert "\x1b[2J" not in shown
    assert "'what' isn't a key" in shown
    assert "2 of 6 rows judged: 1 good, 1 bad; 0 skipped, 4 left" in shown
    kept = json.loads((tmp_path / "rows.jsonl.review.json").read_text())["rows"]
    assert sorted(one.get("note", "") for one in kept.values()) == ["", "hm", "wrong city"]
    again = review(file, "--rows", 6, "-o", tmp_path / "left.jsonl", keys="g\ng\nz\nb\ns\ng\nq\n")
    assert "[3/6]" in again
    assert "[1/6]" not in again
    assert "so far: good" in again
    assert len(Dataset.from_file(tmp_path / "left.jsonl")) == 6
    summary = json.loads(review(file, "--rows", 6, "--json").splitlines()[-1])
    assert (summary["sample"], summary["bad"]) == (6, 2)


def test_label_studio_goes_out_and_comes_in(tmp_path: Path) -> None:
    file, tasks = rows_file(tmp_path / "rows.jsonl"), tmp_path / "tasks.json"
    assert "3 tasks" in review(file, "--rows", 3, "--to-label-studio", tasks)
    export = json.loads(tasks.read_text())
    verdict = {"from_name": "verdict", "to_name": "completion", "type": "choices", "value": {"choices": ["bad"]}}
    for task in export:
        task["annotations"] = [{"result": [verdict], "was_cancelled": False}]
    (tmp_path / "export.json").write_text(json.dumps(export))
    shown = review(file, "--from-label-studio", tmp_path / "export.json", "-o", tmp_path / "left.jsonl")
    assert "0 good, 3 bad" in shown
    assert len(Dataset.from_file(tmp_path / "left.jsonl")) == 5


def test_a_hub_id_needs_a_file_for_its_verdicts() -> None:
    done = CliRunner().invoke(app, ["data", "review", "no-such-file.jsonl"])
    assert done.exit_code != 0


def test_a_terminal_takes_one_key_a_verdict(tmp_path: Path) -> None:
    file = rows_file(tmp_path / "rows.jsonl", 4)
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "ftsdk", "data", "review", str(file)]
    child = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, close_fds=True)
    os.close(follower)
    shown = b""
    waiting = [(b"[1/4]", b"g"), (b"[2/4]", b"b"), (b"[3/4]", b"n"), (b"note: ", b"odd\n"), (b"noted: odd", b"q")]
    deadline = time.monotonic() + 60
    start = 0
    while time.monotonic() < deadline:
        if select.select([leader], [], [], 0.2)[0]:
            try:
                piece = os.read(leader, 65_536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        # What is typed before the program waits for a key is discarded.
        takes_keys = not termios.tcgetattr(leader)[3] & termios.ICANON
        if waiting and waiting[0][0] in shown[start:] and takes_keys == (len(waiting[0][1]) == 1):
            start = shown.index(waiting[0][0], start)
            os.write(leader, waiting.pop(0)[1])
    child.kill()
    child.wait()
    os.close(leader)
    assert b"1 good, 1 bad; 0 skipped, 2 left" in shown, shown
    kept = json.loads((tmp_path / "rows.jsonl.review.json").read_text())["rows"]
    assert sorted(str(one.get("verdict")) for one in kept.values()) == ["None", "bad", "good"]
