"""Malformed data files: each ends in a DatasetError, or in the rows that Python's own readers return."""

from __future__ import annotations

import csv
import io
import json
import random
from collections.abc import Callable
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
ENDINGS = (".csv", ".tsv", ".jsonl", ".json", ".parquet")


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
            assert repr(list(dataset)) == repr(READERS[ending](path))
        elif dataset is not None and ending != ".parquet":
            assert len(dataset) + len(dataset.dropped) == _records(ending, path)
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


READERS: dict[str, Callable[[Path], Any]] = {
    ".csv": _separated,
    ".tsv": _separated,
    ".jsonl": _lines,
    ".json": _array,
    ".parquet": _columns,
}


def _records(ending: str, path: Path) -> int:
    if ending == ".jsonl":
        return sum(bool(line.strip()) for line in path.read_bytes().decode("utf-8-sig").split("\n"))
    return len(_array(path)) if ending == ".json" else len(_split(path)) - 1
