"""Files that would take all memory or time, or that aren't files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from ftsdk.data import Dataset
from ftsdk.errors import DatasetError


@pytest.mark.parametrize(
    "column",
    [
        pyarrow.DictionaryArray.from_arrays(
            pyarrow.array([0] * 3000, pyarrow.int32()), pyarrow.array(["y" * 1_000_000])
        ),
        pyarrow.array([["y" * 1_000_000]] * 300),
        pyarrow.array([{"role": "y" * 1_000_000}] * 300),
        pyarrow.nulls(50_000_000),
        pyarrow.repeat(7, 30_000_000),
    ],
    ids=["dictionary", "list", "struct", "nulls", "numbers"],
)
def test_a_small_parquet_file_that_expands_is_refused(column: Any, tmp_path: Path) -> None:
    path = tmp_path / "bomb.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"a": column}), path, compression="zstd")
    assert path.stat().st_size < 600_000
    with pytest.raises(DatasetError, match=r"^bomb\.parquet: the file would take at least [\d,]+ MiB of memory"):
        Dataset.from_file(path)


def test_parquet_of_every_shape_is_read_as_pyarrow_reads_it(tmp_path: Path) -> None:
    rows = [
        {"t": f"text {i}", "same": "x" * 50, "n": i, "f": i / 3, "m": [{"role": "user", "content": "é"}], "none": None}
        for i in range(3000)
    ]
    path = tmp_path / "a.parquet"
    table = pyarrow.Table.from_pylist(rows)
    pyarrow.parquet.write_table(table, path)
    assert list(Dataset.from_file(path)) == table.to_pylist() == rows


def test_what_is_no_file_is_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    for name in ("pipe.csv", "zero.csv"):
        with pytest.raises(DatasetError, match="isn't a regular file, but a pipe, a socket or a device"):
            Dataset.from_file(tmp_path / name)


@pytest.mark.parametrize("path", ["a\0.csv", "a" * 5000 + ".csv", "~no-such-user/a.csv", "\ud83d.csv"])
def test_what_cannot_be_a_path_is_refused(path: str) -> None:
    with pytest.raises(DatasetError):
        Dataset.from_file(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n".encode("utf-16-le"), "the file is in UTF-16LE, not UTF-8"),
        ("a,b\n1,2\n".encode("utf-16-be"), "the file is in UTF-16BE, not UTF-8"),
        ("a,b\n1,2\n".encode("utf-32"), "the file is in UTF-32, not UTF-8"),
        ("题目,答案\n一,二\n".encode("utf-16-le"), "the file is in UTF-16LE, not UTF-8"),
        ("вопрос,ответ\nда,нет\n".encode("utf-16-be"), "UTF-16BE, not UTF-8.*iconv -f UTF-16BE -t UTF-8"),
        ("q,a\n😀,größe\n".encode("utf-32-le"), "the file is in UTF-32LE, not UTF-8"),
        ("q,a\n日本語,é\n".encode("utf-32-be"), "the file is in UTF-32BE, not UTF-8"),
        (b"\x1f\x8b\x08\0\0", "the file isn't text, but gzip"),
        (b"PK\x03\x04\x14\0", "the file isn't text, but a zip archive or a spreadsheet"),
    ],
)
def test_a_file_that_is_no_utf8_text_says_what_it_is(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        Dataset.from_file(tmp_path / "a.csv")


def test_a_nul_and_half_a_pair_in_a_name_can_be_shown(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a\\u0000\\ud83d": "x\\ud83d"}\n', encoding="utf-8")
    assert "columns     a" in str(Dataset.from_file(tmp_path / "a.jsonl")).encode().decode()


def test_numbers_stay_as_their_owner_sees_them() -> None:
    import numpy
    import pandas
    import polars

    short = numpy.array([0.1, numpy.nan], dtype=numpy.float32)
    for table in (
        pandas.DataFrame({"a": short}),
        polars.DataFrame({"a": short.tolist()}, schema={"a": polars.Float32}),
        pyarrow.table({"a": pyarrow.array(short)}),
        [{"a": short[0]}],
    ):
        data = Dataset.from_file(table)[:1].as_chat(prompt="{a}", completion="{a}")
        assert data[0]["messages"][0]["content"] == "0.1"
