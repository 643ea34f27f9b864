"""Token files: what is written is read back as it was, and what isn't whole isn't read at all."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ftsdk.data.render_report import RenderReport, RowFacts, summarise
from ftsdk.data.token_files import TokenColumn, keep_beside, open_token_file, token_key, write_token_file

BATCHES = [
    {"input_ids": [[1, 2, 3], [4]], "label": [True, False]},
    {"input_ids": [[], [5, 6]], "label": [False, True]},
]


def a_report() -> RenderReport:
    facts = [RowFacts(tokens=n, kept=n, trained=1, truncated=0, lost=0, flags=frozenset()) for n in (3, 1, 0, 2)]
    return summarise(facts, max_length=None, has_template=True)


def write(folder: Path, key: str = "k") -> None:
    checksum = write_token_file(folder, key, BATCHES)
    keep_beside(folder, key, checksum=checksum, report=a_report())


def test_columns_and_report_are_read_back(tmp_path: Path) -> None:
    write(tmp_path)
    found = open_token_file(tmp_path, "k")
    assert found is not None
    assert found.report == a_report()
    assert found.table.to_pydict() == {
        "input_ids": [[1, 2, 3], [4], [], [5, 6]],
        "label": [True, False, False, True],
    }
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_column_gives_rows_of_all_batches(tmp_path: Path) -> None:
    write(tmp_path)
    found = open_token_file(tmp_path, "k")
    assert found is not None
    column = TokenColumn(found.table.column("input_ids"))
    assert list(column) == [[1, 2, 3], [4], [], [5, 6]]
    assert column.lengths == [3, 1, 0, 2]
    assert (column[-1], column[1:3], len(column)) == ([5, 6], [[4], []], 4)
    with pytest.raises(IndexError):
        column[4]


def test_columns_without_their_record_do_not_count(tmp_path: Path) -> None:
    write_token_file(tmp_path, "k", BATCHES)
    assert open_token_file(tmp_path, "k") is None


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", ["a bit", "the end", "the record", "a list", "a pipe"])
def test_damaged_files_are_not_read(tmp_path: Path, damage: str) -> None:
    write(tmp_path)
    columns, record = tmp_path / "k.arrow", tmp_path / "k.json"
    match damage:
        case "a bit":
            flip(columns, columns.stat().st_size // 2)
        case "the end":
            columns.write_bytes(columns.read_bytes()[:-20])
        case "the record":
            record.write_text(json.dumps({"checksum": 0, "report": {"rows": 4}}))
        case "a list":
            record.write_text("[" * 5000)
        case _:
            columns.unlink()
            os.mkfifo(columns)
    assert open_token_file(tmp_path, "k") is None


def test_another_run_gets_them_from_the_shared_folder_and_keeps_its_own(tmp_path: Path) -> None:
    one, two, shared = tmp_path / "one", tmp_path / "two", tmp_path / "shared"
    write(one)
    assert open_token_file(two, "k", shared=shared) is None
    assert open_token_file(one, "k", shared=shared) is not None
    assert open_token_file(two, "k", shared=shared) is not None
    for path in shared.iterdir():
        path.unlink()
    assert open_token_file(two, "k") is not None
    assert (one / "k.arrow").stat().st_ino == (two / "k.arrow").stat().st_ino


def test_what_nobody_used_for_a_month_leaves_the_shared_folder(tmp_path: Path) -> None:
    run, shared = tmp_path / "run", tmp_path / "shared"
    write(run, "old")
    write(run, "new")
    open_token_file(run, "old", shared=shared)
    for path in shared.iterdir():
        os.utime(path, (0, 0))
    open_token_file(run, "new", shared=shared)
    assert sorted(path.name for path in shared.iterdir()) == ["new.arrow", "new.json"]


def test_a_shared_folder_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    write(tmp_path / "run")
    (tmp_path / "shared").write_text("a file in the folder's place")
    assert open_token_file(tmp_path / "run", "k", shared=tmp_path / "shared") is not None


def test_a_batch_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def batches() -> Any:
        yield BATCHES[0]
        raise ValueError("a row")

    with pytest.raises(ValueError, match="a row"):
        write_token_file(tmp_path, "k", batches())
    assert list(tmp_path.iterdir()) == []


def test_the_key_tells_all_parts_apart() -> None:
    keys = {
        token_key(parts) for parts in ({"rows": "a"}, {"rows": "b"}, {"rows": "a", "method": "sft"}, {"rows": None})
    }
    assert len(keys) == 4
    assert token_key({"a": 1, "b": 2}) == token_key({"b": 2, "a": 1})
