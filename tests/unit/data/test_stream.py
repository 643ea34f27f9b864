from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
from hub_process import output_with_hub

from ftsdk import Dataset, DatasetError, Eval, FineTuneJob, SpecError
from ftsdk.data import file_content


def line(n: int) -> bytes:
    return json.dumps({"prompt": f"What is {n} + {n}?", "completion": str(2 * n)}).encode() + b"\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    path.write_bytes(b"".join(map(line, range(500))))
    return path


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl.gz", ".parquet", ".arrow"])
def test_a_stream_of_any_kind_begins_with_the_rows_of_the_file(suffix: str, tmp_path: Path) -> None:
    import pandas
    import pyarrow
    import pyarrow.parquet

    frame = pandas.DataFrame({"prompt": [f"q{n}" for n in range(3000)], "completion": [f"a{n}" for n in range(3000)]})
    path = tmp_path / f"rows{suffix}"
    if suffix in (".csv", ".tsv"):
        frame.to_csv(path, index=False, sep="," if suffix == ".csv" else "\t")
    elif suffix == ".json":
        frame.to_json(path, orient="records")
    elif suffix == ".jsonl.gz":
        path.write_bytes(gzip.compress(str(frame.to_json(orient="records", lines=True)).encode()))
    elif suffix == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pandas(frame), path)
    else:
        table = pyarrow.Table.from_pandas(frame)
        with pyarrow.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table)
    whole = Dataset.from_file(path)
    part = Dataset.from_file(path, stream=True).take(1500)
    assert part.fingerprint == whole.take(1500).fingerprint
    assert (part.form, part.line_of(1499)) == (whole.form, whole.line_of(1499))


def test_only_the_rows_that_are_needed_are_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_content, "_BLOCK", 4096)
    content = file.read_bytes()
    file.write_bytes(content + b"{broken\n" + content)
    with pytest.raises(DatasetError, match=r"sums\.jsonl:501"):
        Dataset.from_file(file)
    stream = Dataset.from_file(file, stream=True)
    assert len(stream.take(500)) == 500
    with pytest.raises(DatasetError, match=r"sums\.jsonl:501: the line isn't JSON"):
        stream.take(501)
    assert len(Dataset.from_file(file, stream=True, on_bad="drop").take(501).dropped) == 1
    assert next(iter(stream))["completion"] == "0"
    with pytest.raises(DatasetError, match=r"sums\.jsonl:501"):
        list(stream)


def test_a_file_without_an_end_can_be_streamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def blocks(path: Path, *, is_streamed: bool = False) -> Iterator[bytes]:
        assert is_streamed
        return map(line, count())

    (tmp_path / "a.jsonl").write_bytes(line(0))
    monkeypatch.setattr(file_content, "_blocks", blocks)
    assert len(Dataset.from_file(tmp_path / "a.jsonl", stream=True).take(5000)) == 5000


def test_a_line_without_an_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl").write_bytes(line(0))
    monkeypatch.setattr(file_content, "_blocks", lambda path, **_: islice(iter(lambda: b"x" * (64 << 20), b""), 100))
    with pytest.raises(DatasetError, match=r"a\.jsonl:1: the line is longer than 268,435,456 characters"):
        Dataset.from_file(tmp_path / "a.jsonl", stream=True).take(1)


def test_a_job_reads_as_many_rows_as_its_steps_take(file: Path) -> None:
    stream = Dataset.from_file(file, stream=True)
    job = FineTuneJob(model="org/model", train=stream, max_steps=10, batch_size=8)
    assert len(job.train) == 80
    assert job.train.fingerprint == Dataset.from_file(file).take(80).fingerprint
    assert len(job.replace(max_steps=20).train) == 160
    assert len(job.replace(batch_size=4).train) == 40
    assert job.replace(epochs=2).train is job.train
    assert len(job.replace(max_steps=1000).train) == 500
    again = FineTuneJob.from_dict(job.to_dict())
    assert again.train.fingerprint == job.train.fingerprint
    assert job.train.to_dict(file.parent) == {"file": "sums.jsonl", "stream_rows": 80}
    shorter = job.replace(train=job.train.filter(lambda row: "1" in row["messages"][0]["content"]))
    assert shorter.replace(max_steps=20).train is shorter.train


def test_rows_that_were_taken_are_an_ordinary_dataset(file: Path) -> None:
    taken = Dataset.from_file(file, stream=True).take(20)
    job = FineTuneJob(model="org/model", train=taken, max_steps=10, batch_size=8)
    assert job.train is taken
    assert Dataset.from_dict(taken.to_dict(file.parent), file.parent).fingerprint == taken.fingerprint


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "is a stream, whose end isn't known, so the job needs max_steps"),
        ({"max_steps": 5, "packing": True}, "with packing it isn't known how many rows a step takes"),
    ],
)
def test_a_job_on_a_stream_needs_to_know_its_rows(fields: dict[str, Any], message: str, file: Path) -> None:
    with pytest.raises(SpecError, match=message):
        FineTuneJob(model="org/model", train=Dataset.from_file(file, stream=True), **fields)


def test_what_needs_all_rows_is_refused_on_a_stream(file: Path) -> None:
    stream = Dataset.from_file(file, stream=True)
    train = stream.take(10)
    for use in (
        lambda: len(stream),
        lambda: stream.split(test=0.1),
        lambda: stream.clean(),
        lambda: stream.filter(bool),
        lambda: stream.fingerprint,
        lambda: stream.ref(),
        lambda: stream.report(),
        lambda: stream.to_dict(),
        lambda: stream + train,
        lambda: Eval.exact_match(stream),
        lambda: FineTuneJob(model="org/model", train=train, validation=stream, max_steps=3),
    ):
        with pytest.raises((ValueError, TypeError), match="stream") as caught:
            use()
        assert "take(" in str(caught.value)
    assert "a stream" in str(stream)
    assert repr(stream) == "Dataset('sums.jsonl', stream)"


def test_a_stream_is_shaped_when_it_is_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        rows = [json.dumps({"q": f"{name}{n}", "a": str(n)}) for n in range(5)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join([*rows, '{"q": "last"}']), encoding="utf-8")
    stream = Dataset.from_file(tmp_path, stream=True).as_chat(prompt="{q}", completion="{a}", on_bad="drop")
    job = FineTuneJob(model="org/model", train=stream, max_steps=4, batch_size=2)
    assert [row["messages"][1]["content"] for row in job.train] == ["0", "1", "2", "3", "4", "0", "1"]
    assert [(row.source, row.line) for row in job.train.dropped] == [("a.jsonl", 6)]
    assert Dataset.from_dict(job.train.to_dict()).fingerprint == job.train.fingerprint


@pytest.mark.parametrize("n", [0, -1, 2.0, True, "3", 501])
def test_a_number_of_rows_must_be_whole_and_there(n: Any, file: Path) -> None:
    with pytest.raises(DatasetError, match="can't take"):
        Dataset.from_file(file, stream=True).take(n)


def test_tables_and_missing_files_are_not_streamed(tmp_path: Path) -> None:
    for path in ([{"prompt": "a", "completion": "b"}], tmp_path / "no.jsonl", tmp_path / "no*.jsonl", "gs://b/a.jsonl"):
        with pytest.raises(DatasetError):
            Dataset.from_file(path, stream=True).take(1)


def test_the_hub_is_streamed_by_its_own_library(tmp_path: Path) -> None:
    """In a process of its own, because `datasets` reads where its cache is when it is imported."""
    folder = tmp_path / "org" / "sums"
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_bytes(b"".join(map(line, range(500))))
    (tmp_path / "elsewhere").mkdir()
    code = (
        "import os\n"
        "from ftsdk.data import Dataset\n"
        "os.chdir('elsewhere')\n"  # where ftsdk finds no folder of this name
        "stream = Dataset.from_file('org/sums', stream=True)\n"
        "os.chdir('..')\n"  # and the hub's library does
        "data = stream.take(80)\n"
        "assert len(data) == 80 and data.form == 'prompt and completion', data\n"
        "assert data.to_dict() == {'hub': 'org/sums', 'stream_rows': 80}, data.to_dict()\n"
    )
    output_with_hub(code, tmp_path)
