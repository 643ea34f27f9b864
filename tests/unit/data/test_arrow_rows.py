from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsdk.data import Dataset, Store, read_stored_rows
from ftsdk.data.bad_rows import BadRows
from ftsdk.data.json_text import WrittenFloat, json_lines
from ftsdk.data.limits import LIMITS
from ftsdk.data.message_rows import as_lines, message_rows
from ftsdk.data.table import join_tables, table_of
from ftsdk.errors import DatasetError

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec=None), max_size=8)
    | st.sampled_from(["\0", "\0\0null", "\ud800", date(2026, 1, 2), Decimal("1.10"), WrittenFloat("1.10")]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
rows = st.lists(
    st.dictionaries(st.sampled_from(["a", "b", "c", "\ud800", ""]), values, max_size=4), min_size=1, max_size=12
)


@pytest.fixture
def tiny_memory() -> Iterator[None]:
    """Send every batch to the file that is mapped."""
    was = LIMITS.memory_bytes
    object.__setattr__(LIMITS, "memory_bytes", 0)
    yield
    object.__setattr__(LIMITS, "memory_bytes", was)


def written(value: Any) -> Any:
    """Return a value in which numbers are as they are written."""
    if isinstance(value, dict):
        return {key: written(one) for key, one in value.items()}
    if isinstance(value, list):
        return [written(one) for one in value]
    return (float, str(value)) if isinstance(value, float) else (type(value), value)


@settings(max_examples=50)
@given(rows)
def test_rows_come_back_from_arrow_as_they_went_in(found: list[dict[str, Any]]) -> None:
    table = table_of(enumerate(found, start=1), source=None)
    assert written(list(table.rows)) == written(found)
    assert [table.rows[i] for i in range(len(found))] == found
    for name in table.columns:
        assert written(list(table.column(name))) == written([row.get(name) for row in found])


@pytest.mark.usefixtures("tiny_memory")
def test_rows_beyond_the_limit_are_mapped_from_a_file_that_has_no_name(ftsdk_home: Path) -> None:
    found = [{"n": i, "text": "x" * 100, **({"odd": date(2026, 1, 1)} if i % 7 else {})} for i in range(9000)]
    table = table_of(enumerate(found, start=1), source=None)
    assert list(table.rows) == found
    assert list(table.at([8999, 0, 5000, 1]).rows) == [found[8999], found[0], found[5000], found[1]]
    assert list((ftsdk_home / "data").iterdir()) == []


@settings(max_examples=40)
@given(st.lists(st.integers(0, 2999), max_size=40), st.slices(40))
def test_chosen_rows_are_those_of_a_list(positions: list[int], part: slice) -> None:
    table = table_of(((i + 1, {"n": i}) for i in range(3000)), source="a")
    chosen = table.at(positions)
    assert [row["n"] for row in chosen.rows] == positions
    assert [row["n"] for row in chosen.rows[part]] == positions[part]
    assert [place.line for place in chosen.places("a")] == [i + 1 for i in positions]
    both = join_tables((table, "a"), (chosen, "b"))
    assert [row["n"] for row in both.rows][2990:] == [*range(2990, 3000), *positions]
    assert {str(place.source) for place in both.places(None)} == ({"a", "b"} if positions else {"a"})


def test_rows_each_with_columns_of_its_own_stay_affordable() -> None:
    found = [{f"column {i}-{k}": "x" for k in range(50)} for i in range(2000)]
    table = table_of(enumerate(found, start=1), source=None)
    assert len(table.columns) == 100_000
    assert table.rows[1999] == found[1999]


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=30), max_size=20), st.integers(1, 7))
def test_json_lines_are_the_same_however_the_text_is_cut(texts: list[str], size: int) -> None:
    content = "\n".join(json.dumps({"t": text}, ensure_ascii=False) for text in texts)
    blocks = [content[i : i + size] for i in range(0, len(content), size)]
    found = list(json_lines(blocks, "a.jsonl", BadRows()))
    assert found == [(n, {"t": text}) for n, text in enumerate(texts, start=1)]


def test_a_character_cut_by_the_end_of_a_block_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    text = "é" * (3 << 20)
    path.write_text(json.dumps({"prompt": "a" + text, "completion": text}, ensure_ascii=False), encoding="utf-8")
    (row,) = Dataset.from_file(path)
    assert [message["content"] for message in row["messages"]] == ["a" + text, text]


@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_packed_text_is_unpacked_and_damage_is_named(ending: str, tmp_path: Path) -> None:
    content = b'{"prompt": "a", "completion": "b"}\n{"prompt": "c", "completion": "d"}\n'
    packed = gzip.compress(content) if ending == "gz" else pyarrow.compress(content, "zstd", asbytes=True)
    path = tmp_path / f"rows.jsonl.{ending}"
    path.write_bytes(packed)
    assert len(Dataset.from_file(path)) == 2
    path.write_bytes(packed[:-9])
    with pytest.raises(DatasetError, match="is damaged"):
        Dataset.from_file(path)
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=f"rows.jsonl.{ending}: the file can't be read"):
        Dataset.from_file(path)


def test_packed_text_that_expands_too_far_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.csv.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        for _ in range(300):
            file.write(b" " * (1 << 20))
    with pytest.raises(DatasetError, match=r"it is larger than 268,435,456 bytes"):
        Dataset.from_file(path)


def test_rows_that_an_earlier_version_stored_are_found(tmp_path: Path) -> None:
    dataset = Dataset.from_rows([{"prompt": f"a{n}", "completion": "b"} for n in range(5)])
    old = tmp_path / f"{dataset.fingerprint}.jsonl"
    old.write_bytes(dataset.to_bytes())
    assert list(Store(tmp_path).load(dataset.ref())) == list(dataset)
    assert read_stored_rows(Store(tmp_path).get(dataset.fingerprint)) == dataset.rows
    old.write_bytes(dataset.to_bytes().replace(b"a1", b"a9"))
    old.with_suffix(".arrow").unlink()
    with pytest.raises(DatasetError, match="the stored rows were altered"):
        Store(tmp_path).load(dataset.ref())


@pytest.mark.parametrize("content", [b"", b"{}", b"ARROW1\0\0" + b"\0" * 100], ids=["empty", "json", "cut"])
def test_a_stored_file_of_another_kind_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "rows.arrow"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match="the stored rows were altered"):
        read_stored_rows(path)


def test_what_a_caller_changes_in_a_row_stays_there() -> None:
    dataset = Dataset.from_rows([{"prompt": "a", "completion": "b"}])
    dataset.rows[0]["messages"][0]["content"] = "changed"
    next(iter(dataset))["messages"].clear()
    assert dataset.rows[0]["messages"][0]["content"] == "a"


def test_lines_written_by_hand_are_those_of_json() -> None:
    found = [{"messages": [{"role": "user", "content": '\u2028 " \\ é \x01'}, {"role": "assistant", "content": "b"}]}]
    expected = json.dumps(found[0], ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n"
    assert as_lines(message_rows(found)) == expected.encode()


def test_a_number_too_long_to_be_written_is_kept_as_it_is() -> None:
    found = [{"n": 10**5000}, {"n": 1}]
    assert list(table_of(enumerate(found, start=1), source=None).rows) == found


@pytest.mark.parametrize("number", ["inf", "-inf", "nan"])
def test_short_floats_that_json_lacks_stay(number: str) -> None:
    value = numpy.float32(number)
    row = next(iter(Dataset.from_file([{"a": value, "b": [value], "c": numpy.array([0.1, value], numpy.float32)}])))
    assert [str(one) for one in (row["a"], *row["b"], *row["c"])] == [number, number, "0.1", number]
