"""Malformed data files: each ends in a DatasetError, or in the rows that Python's own readers return."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from fuzzing import FuzzCases, Tally, limits

from ftsdk import Dataset, DatasetError

pytestmark = pytest.mark.fuzz

WORDS = (
    "",
    "parcel",
    "Où est-il ?",
    "a,b",
    'say "no"',
    "two\nlines",
    "\t",
    "\u2028",
    "😀",
    "007",
    "1.10",
    "NA",
    "x" * 300,
)
PIECES = (
    b'"', b"'", b",", b"\t", b"\n", b"\r", b"\r\n", b"\0", b"\\", b"{", b"}", b"[", b"]", b":", b"null",
    b"NaN", b"-Infinity",
    b"1e999", b"9" * 5000, b"\xef\xbb\xbf", b"\xff\xfe", b"\xff", b"\x80", b"\xed\xa0\xbd", b"\\ud83d",
    b'"text":1,', b"[" * 200,
    b"[" * 5000, b'{"a":' * 300, b"\x1f\x8b", b"PK\x03\x04", b"PAR1", b"\xe2\x80\xa8", b"}{", b"][", b"=cmd()",
    b"\x1b[2J",
    b"," * 2000, b'""', b'"""',
)  # fmt: skip
ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet", ".arrow")
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".zst": lambda content: pyarrow.compress(content, "zstd", asbytes=True),
}


def test_a_malformed_file_is_refused_or_read_as_python_reads_it(fuzz_cases: FuzzCases, tmp_path: Path) -> None:
    tally = Tally("data files")
    for rng in fuzz_cases:
        ending = rng.choice(ENDINGS)
        path = tmp_path / f"data{ending}"
        path.write_bytes(_mutated(_content(ending, rng), rng))
        on_bad: Any = rng.choice(("raise", "drop"))
        with limits(seconds=10, mib=400) as used:
            try:
                dataset = Dataset.from_file(path, on_bad=on_bad)
                str(dataset).encode()
                tally.read += 1
            except DatasetError:
                dataset = None
                tally.refused += 1
        tally.add(used)
        if dataset is not None and dataset.format == "table" and not dataset.dropped:
            assert _shown(dataset) == _shown(READERS[ending](path))
        elif dataset is not None and ending not in (".parquet", ".arrow"):
            assert len(dataset) + len(dataset.dropped) == _records(ending, path)
    tally.show()


def test_a_malformed_packed_file_or_folder_is_refused_or_read_whole(fuzz_cases: FuzzCases, tmp_path: Path) -> None:
    tally = Tally("packed files and folders")
    for rng in fuzz_cases:
        ending, packing = rng.choice(ENDINGS), rng.choice(tuple(PACKINGS))
        folder = tmp_path / f"{rng.random()}"
        folder.mkdir()
        content = _content(ending, rng)
        packed = _mutated(PACKINGS[packing](_mutated(content, rng) if rng.random() < 0.5 else content), rng)
        path = folder / f"data{ending}{packing}"
        path.write_bytes(packed)
        shards = [path]
        if rng.random() < 0.5:
            other = rng.choice((f"more{ending}", f"more{ending}{packing}", "notes.txt", ".more.jsonl", f"data{ending}"))
            (folder / other).write_bytes(_mutated(_content(ending, rng), rng))
            shards = [folder]
        with limits(seconds=10, mib=400) as used:
            try:
                dataset = Dataset.from_file(shards[0], on_bad=rng.choice(("raise", "drop")))
                str(dataset).encode()
                tally.read += 1
            except DatasetError:
                dataset = None
                tally.refused += 1
        tally.add(used)
        if dataset is not None and shards == [path] and not dataset.dropped and dataset.format == "table":
            plain = tmp_path / f"plain{ending}"
            plain.write_bytes(UNPACK[packing](packed))
            assert _shown(dataset) == _shown(READERS[ending](plain))
    tally.show()


FORMS: tuple[dict[str, Any], ...] = (
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 1}]},
    {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}], "id": "7"},
    {"instruction": "a", "input": "", "output": "b", "history": [["c", "d"]], "text": "a b"},
    {"prompt": "a", "completion": "b", "label": True},
    {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]},
    {"prompt": "a", "chosen": "b", "rejected": "c", "score": 0.5},
    {"chosen": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "rejected": []},
    {"input": {"messages": [], "tools": []}, "preferred_output": [], "non_preferred_output": []},
    {"text": "a"},
)
VALUES: tuple[Any, ...] = (
    None, "", " ", "b", 0, 1, 1.5, True, [], {}, [None], [[]], [{}], [{"role": "user"}], {"role": "gpt"}, "\ud83d",
    [{"from": "human", "value": 3}], [{"role": ["user"], "content": "a"}], {"messages": [3]}, [["a", "b", "c"]],
)  # fmt: skip


def test_rows_that_are_nearly_in_a_form_are_refused_or_read_whole(fuzz_cases: FuzzCases, tmp_path: Path) -> None:
    tally = Tally("forms")
    path = tmp_path / "rows.jsonl"
    for rng in fuzz_cases:
        rows: list[dict[str, Any]] = []
        for _ in range(rng.randrange(1, 5)):
            row = {**rng.choice(FORMS), **(rng.choice(FORMS) if rng.random() < 0.2 else {})}
            for name in list(row):
                if rng.random() < 0.15:
                    row[name] = rng.choice(VALUES)
                elif rng.random() < 0.05:
                    del row[name]
            rows.append(row)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        with limits(seconds=10, mib=400) as used:
            try:
                dataset = Dataset.from_file(path, on_bad=rng.choice(("raise", "drop")))
                assert len(dataset) + len(dataset.dropped) == len(rows)
                str(dataset).encode()
                dataset.ref()
                tally.read += 1
            except DatasetError:
                tally.refused += 1
        tally.add(used)
    tally.show()


def _content(ending: str, rng: random.Random) -> bytes:
    rows = [
        {
            "id": rng.choice((rng.randrange(10**6), 2**63 - 1, -1)),
            "text": rng.choice(WORDS),
            "score": rng.choice((rng.random(), 1.0, 1e300)),
            "tags": [rng.choice(WORDS) for _ in range(rng.randrange(3))],
            "note": rng.choice((None, "n")),
        }
        for _ in range(rng.randrange(1, 8))
    ]
    if ending == ".parquet":
        sink = io.BytesIO()
        pyarrow.parquet.write_table(
            pyarrow.Table.from_pylist(rows), sink, compression=rng.choice(("none", "snappy", "zstd"))
        )
        return sink.getvalue()
    if ending == ".arrow":
        sink = io.BytesIO()
        table = pyarrow.Table.from_pylist(rows)
        options = pyarrow.ipc.IpcWriteOptions(compression=rng.choice((None, "lz4", "zstd")))
        form = rng.choice((pyarrow.ipc.new_stream, pyarrow.ipc.new_file))
        with form(sink, table.schema, options=options) as writer:
            writer.write_table(table, max_chunksize=rng.randrange(1, 8))
        return sink.getvalue()
    if ending == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=rng.random() < 0.5) + "\n" for row in rows).encode()
    if ending == ".json":
        return json.dumps(
            rng.choice((rows, {"data": rows}, {"n": 1, "data": rows})), indent=rng.choice((None, 1))
        ).encode()
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="\t" if ending == ".tsv" else ",", lineterminator=rng.choice(("\n", "\r\n")))
    writer.writerow(rows[0])
    writer.writerows([row.values() for row in rows])
    return text.getvalue().encode(rng.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32")))


def _mutated(content: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.randrange(5)):
        at, other = sorted(rng.randrange(len(content) + 1) for _ in range(2))
        match rng.randrange(6):
            case 0:
                content = content[:at] + rng.choice(PIECES) + content[at:]
            case 1:
                content = content[:at] + content[other:]
            case 2:
                content = content[:other]
            case 3:
                content = content[:other] + content[at:other] + content[other:]
            case 4 if content:
                place = rng.randrange(len(content))
                content = content[:place] + bytes([rng.randrange(256)]) + content[place + 1 :]
            case _:
                content = content + rng.choice(PIECES) + content
    return content


def _shown(rows: Iterable[dict[str, Any]]) -> str:
    """Return rows as text that shows their types too. Rows of JSON Lines may have their columns in another order."""
    return repr([dict(sorted(row.items())) for row in rows])


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().decode("utf-8-sig").split("\n") if line.strip()]


def _array(path: Path) -> Any:
    found = json.loads(path.read_bytes().decode("utf-8-sig"))
    return found["data"] if isinstance(found, dict) else found


def _separated(path: Path) -> list[dict[str, str]]:
    header, *records = _split(path)
    return [dict(zip([name.strip() for name in header], record, strict=True)) for record in records]


def _split(path: Path) -> list[list[str]]:
    csv.field_size_limit(1 << 30)
    text = io.StringIO(path.read_bytes().decode("utf-8-sig"), newline="")
    return [record for record in csv.reader(text, delimiter="\t" if path.suffix == ".tsv" else ",") if record]


def _columns(path: Path) -> Any:
    return pyarrow.parquet.read_table(path).to_pylist()


def _arrow(path: Path) -> Any:
    content = path.read_bytes()
    if not content.startswith(b"ARROW1"):
        return pyarrow.ipc.open_stream(pyarrow.py_buffer(content)).read_all().to_pylist()
    try:
        return pyarrow.ipc.open_file(pyarrow.py_buffer(content)).read_all().to_pylist()
    except OSError:  # only the offsets in its footer are damaged: from front to end it is a whole stream
        return pyarrow.ipc.open_stream(pyarrow.py_buffer(content[8:])).read_all().to_pylist()


def _unpacked_zstd(content: bytes) -> bytes:
    return pyarrow.CompressedInputStream(pyarrow.BufferReader(content), "zstd").read()


UNPACK: dict[str, Callable[[bytes], bytes]] = {".gz": gzip.decompress, ".zst": _unpacked_zstd}
READERS: dict[str, Callable[[Path], Any]] = {
    ".csv": _separated,
    ".tsv": _separated,
    ".jsonl": _lines,
    ".json": _array,
    ".parquet": _columns,
    ".arrow": _arrow,
}


def _records(ending: str, path: Path) -> int:
    if ending == ".jsonl":
        return sum(bool(line.strip()) for line in path.read_bytes().decode("utf-8-sig").split("\n"))
    return len(_array(path)) if ending == ".json" else len(_split(path)) - 1
