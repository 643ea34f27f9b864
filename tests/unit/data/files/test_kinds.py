from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from ftsdk import Dataset, DatasetError
from ftsdk.data.files import SUFFIXES

ROWS = [{"text": f"Where is parcel {n}?", "category": "shipping"} for n in range(3000)]


def content_of(suffix: str, rows: list[dict[str, Any]]) -> bytes:
    table = pyarrow.Table.from_pylist(rows)
    if suffix in (".csv", ".tsv"):
        sign = "," if suffix == ".csv" else "\t"
        lines = [sign.join(rows[0]), *(sign.join(map(str, row.values())) for row in rows)]
        return "\n".join(lines).encode()
    if suffix == ".jsonl":
        return "".join(json.dumps(row) + "\n" for row in rows).encode()
    if suffix == ".json":
        return json.dumps(rows).encode()
    sink = pyarrow.BufferOutputStream()
    if suffix == ".parquet":
        pyarrow.parquet.write_table(table, sink)
    else:
        with pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=700)
    return sink.getvalue().to_pybytes()


def packed(content: bytes, packing: str) -> bytes:
    if packing == ".gz":
        return gzip.compress(content)
    return pyarrow.compress(content, "zstd", asbytes=True) if packing == ".zst" else content


@pytest.mark.parametrize("packing", ["", ".gz", ".zst"])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_kind_is_read_also_packed(suffix: str, packing: str, tmp_path: Path) -> None:
    path = tmp_path / f"mails{suffix}{packing}"
    path.write_bytes(packed(content_of(suffix, ROWS), packing))
    data = Dataset.from_file(path)
    assert list(data) == ROWS
    first = {".csv": 2, ".tsv": 2}.get(suffix, 1)
    assert suffix == ".json" or [data.line_of(n) for n in (0, 2999)] == [first, first + 2999]
    assert Dataset.from_dict(data.as_chat("{text}", "{category}").to_dict()).fingerprint


@pytest.mark.parametrize("compression", [None, "zstd", "lz4"])
@pytest.mark.parametrize("form", [pyarrow.ipc.new_stream, pyarrow.ipc.new_file])
def test_both_forms_of_arrow_are_read_as_pyarrow_reads_them(form: Any, compression: Any, tmp_path: Path) -> None:
    rows = [
        {
            "t": f"text {i}",
            "n": i,
            "f": i / 3,
            "m": [{"role": "user", "content": "é"}],
            "none": None,
            "b": i % 2 == 0,
            "same": "x" * 50,
        }
        for i in range(3000)
    ]
    table = pyarrow.Table.from_pylist(rows)
    table = table.set_column(6, "same", table["same"].dictionary_encode())
    path = tmp_path / "a.arrow"
    options = pyarrow.ipc.IpcWriteOptions(compression=compression)
    with form(str(path), table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=1000)
    assert list(Dataset.from_file(path)) == rows
    content = path.read_bytes()
    for damaged in (content[:-1], content[: len(content) // 2], content[:-8], content + content[-8:], content[:9], b""):
        path.write_bytes(damaged)
        with pytest.raises(DatasetError, match=r"^a\.arrow: "):
            Dataset.from_file(path)


def test_what_datasets_saves_is_read_with_the_names_of_its_classes(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(text=datasets.Value("string"), label=datasets.ClassLabel(names=["no", "yes"]))
    table = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)
    table.save_to_disk(tmp_path / "saved")
    path = next((tmp_path / "saved").glob("*.arrow"))
    assert [row["label"] for row in Dataset.from_file(path)] == ["yes", "no", None]


BOMBS = {
    "dictionary": pyarrow.DictionaryArray.from_arrays(
        pyarrow.array([0] * 3000, pyarrow.int32()), pyarrow.array(["y" * 1_000_000])
    ),
    "zeros": pyarrow.array(["y" * 500_000_000]),
    "nulls": pyarrow.nulls(50_000_000),
    "nulls in lists": pyarrow.LargeListArray.from_arrays(pyarrow.array([0, 50_000_000]), pyarrow.nulls(50_000_000)),
}


@pytest.mark.parametrize("column", BOMBS.values(), ids=BOMBS)
def test_a_small_arrow_file_that_expands_is_refused(column: Any, tmp_path: Path) -> None:
    path = tmp_path / "bomb.arrow"
    table = pyarrow.table({"a": column})
    options = pyarrow.ipc.IpcWriteOptions(compression="zstd")
    with pyarrow.ipc.new_stream(str(path), table.schema, options=options) as writer:
        writer.write_table(table)
    assert path.stat().st_size < 600_000
    with pytest.raises(DatasetError, match=r"^bomb\.arrow: the file would take at least [\d,]+ MiB of memory"):
        Dataset.from_file(path)


def test_types_that_can_expand_unseen_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.arrow"
    runs = pyarrow.RunEndEncodedArray.from_arrays(pyarrow.array([2**40], pyarrow.int64()), pyarrow.array(["a"]))
    table = pyarrow.table({"a": runs.slice(0, 3)})
    with pyarrow.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(DatasetError, match="the column 'a' has the type run_end_encoded"):
        Dataset.from_file(path)


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_column_that_is_there_twice_is_refused(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    table = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], ["t", "t"])
    if suffix == ".parquet":
        pyarrow.parquet.write_table(table, path)
    else:
        with pyarrow.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    with pytest.raises(DatasetError, match="has the column 't' twice"):
        Dataset.from_file(path)


@pytest.mark.parametrize("feature", [{}, {"names": ["a"]}, {"names": 3}, {"names": None}, {"names": {"a": 1}}], ids=str)
def test_metadata_that_does_not_fit_its_classes_is_refused(feature: dict[str, Any], tmp_path: Path) -> None:
    metadata = {
        "huggingface": json.dumps({"info": {"features": {"label": {"_type": "ClassLabel", **feature}, "z": 1}}})
    }
    table = pyarrow.table({"label": [0, 5]}).replace_schema_metadata(metadata)
    pyarrow.parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DatasetError, match="numbers of classes that its metadata doesn't name"):
        Dataset.from_file(tmp_path / "a.parquet")


def test_a_packed_parquet_file_that_expands_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet.gz"
    path.write_bytes(gzip.compress(bytes(300 << 20), compresslevel=1))
    with pytest.raises(DatasetError, match=r"a\.parquet\.gz: the file can't be read: it is larger than 268,435,456"):
        Dataset.from_file(path)
