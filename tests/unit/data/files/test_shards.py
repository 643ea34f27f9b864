from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Dataset, DatasetError


def row(n: int) -> dict[str, Any]:
    return {"prompt": f"What is {n} + {n}?", "completion": str(2 * n)}


def lines(*numbers: int) -> bytes:
    return "".join(json.dumps(row(n)) + "\n" for n in numbers).encode()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "sums"
    made.mkdir()
    (made / "b.jsonl").write_bytes(lines(3))
    (made / "a.jsonl").write_bytes(b"\n" + lines(1, 2))
    (made / "c.jsonl.gz").write_bytes(gzip.compress(lines(4)))
    return made


def test_a_folder_is_read_in_the_order_of_its_names(folder: Path) -> None:
    data = Dataset.from_file(folder)
    assert [one["messages"][1]["content"] for one in data] == ["2", "4", "6", "8"]
    assert [data.line_of(n) for n in range(4)] == [2, 3, 1, 1]
    assert (data.name, data.form, data.lineage[0]["files"]) == ("sums", "prompt and completion", 3)
    assert Dataset.from_dict(data.to_dict(folder.parent), folder.parent).fingerprint == data.fingerprint
    assert data.to_dict(folder.parent) == {"file": "sums"}


def test_a_pattern_chooses_files_also_below_folders(folder: Path) -> None:
    (folder / "more").mkdir()
    (folder / "more" / "d.jsonl").write_bytes(lines(5))
    assert len(Dataset.from_file(folder / "[ab].jsonl")) == 3
    data = Dataset.from_file(str(folder / "**" / "*.jsonl"))
    assert len(data) == 4
    assert data.to_dict(folder) == {"file": "**/*.jsonl"}
    assert Dataset.from_dict(data.to_dict(folder), folder).fingerprint == data.fingerprint
    (folder / "[x].jsonl").write_bytes(lines(9))
    assert len(Dataset.from_file(folder / "[x].jsonl")) == 1


def test_what_else_is_in_the_folder_is_named(folder: Path) -> None:
    for name in (".hidden.jsonl", "README.md", ".DS_Store"):
        (folder / name).write_bytes(b"x")
    (folder / "old").mkdir()
    data = Dataset.from_file(folder)
    assert data.summary().skipped == (".DS_Store", ".hidden.jsonl", "README.md", "old/")
    assert "not read    .DS_Store, .hidden.jsonl, README.md, old/" in str(data)


def test_bad_rows_are_named_by_their_own_file(folder: Path) -> None:
    (folder / "b.jsonl").write_bytes(lines(3) + b'{"prompt": "a", "completion": ""}\n{"prompt"\n')
    with pytest.raises(DatasetError, match=r"^b\.jsonl:3: the line isn't JSON"):
        Dataset.from_file(folder)
    data = Dataset.from_file(folder, on_bad="drop")
    assert [(one.source, one.line) for one in data.dropped] == [("b.jsonl", 3), ("b.jsonl", 2)]
    assert len(data) == 4
    assert [part.line_of(0) for part in data.split(test=1, group=None) if part is not None]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"d.csv": b"prompt,completion\na,b\n"}, "has files of different kinds, such as c.jsonl.gz and d.csv"),
        ({"a.jsonl.gz": gzip.compress(lines(1))}, "has a.jsonl and a.jsonl.gz, which look like the same rows twice"),
        ({"train.jsonl": lines(6), "test-1.jsonl": lines(7)}, "has the parts of a split (test-1.jsonl, train.jsonl)"),
        ({"d-00001-of-00003.jsonl": lines(6)}, "has 1 of 3 shards named d-...-of-....jsonl; number 0 is missing"),
        ({"d.jsonl": b""}, "d.jsonl: the file is empty"),
        ({"d.jsonl.gz": gzip.compress(lines(4))[:-9]}, "d.jsonl.gz: the file can't be read"),
        (
            {"d.jsonl": b'{"instruction": "a", "output": "b"}\n'},
            "aren't in one form: a.jsonl is prompt and completion, d.jsonl is Alpaca",
        ),
    ],
)
def test_files_that_do_not_belong_together_are_refused(files: dict[str, bytes], message: str, folder: Path) -> None:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    with pytest.raises(DatasetError) as caught:
        Dataset.from_file(folder)
    assert message in str(caught.value)


def test_tables_with_other_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("question,answer\na,b\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("question,answer,id\na,b,7\n", encoding="utf-8")
    with pytest.raises(DatasetError, match=r"different columns: only one of a\.csv and b\.csv has 'id'"):
        Dataset.from_file(tmp_path)


def test_whole_shards_are_read_and_a_part_by_a_pattern(tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / f"train-{n:05}-of-00003.jsonl").write_bytes(lines(n))
    assert len(Dataset.from_file(tmp_path)) == 3
    (tmp_path / "train-00001-of-00003.jsonl").unlink()
    with pytest.raises(DatasetError, match="number 1 is missing"):
        Dataset.from_file(tmp_path)
    assert len(Dataset.from_file(tmp_path / "train-*.jsonl")) == 2


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "",
            r"the folder has no data file \(\.csv.*\); it holds README.md, deep/\. For the files of its folders, pass",
        ),
        ("deep", "the folder has no data file .* it is empty"),
        ("*.jsonl", "no data file matches this pattern"),
        ("READ*", "no data file matches this pattern; it matches README.md"),
    ],
)
def test_a_folder_or_pattern_without_data_is_refused(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("x", encoding="utf-8")
    (tmp_path / "deep").mkdir()
    with pytest.raises(DatasetError, match=message):
        Dataset.from_file(tmp_path / name)


def test_a_file_under_two_names_is_refused(folder: Path) -> None:
    (folder / "d.jsonl").symlink_to(folder / "b.jsonl")
    with pytest.raises(DatasetError, match=r"has b\.jsonl and d\.jsonl, which are one file under two names"):
        Dataset.from_file(folder)
    (folder / "d.jsonl").unlink()
    (folder / "again").symlink_to(folder)
    with pytest.raises(DatasetError, match="one file under two names"):
        Dataset.from_file(str(folder / "**" / "*.jsonl"))


def test_files_of_hidden_folders_are_read_only_if_they_are_named(folder: Path) -> None:
    (folder / ".cache").mkdir()
    (folder / ".cache" / "d.jsonl").write_bytes(lines(5))
    data = Dataset.from_file(str(folder / "**" / "*.jsonl"))
    assert (len(data), data.summary().skipped) == (3, (".cache/d.jsonl",))
    assert len(Dataset.from_file(str(folder / ".cache" / "*.jsonl"))) == 1
    assert len(Dataset.from_file(str(folder / ".c*" / "*.jsonl"))) == 1
