"""Rows left out, changed, joined and taken apart; nothing is lost without a record."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ftsdk.data import Dataset, Store
from ftsdk.errors import DatasetError

TEMPLATES: dict[str, Any] = {"prompt": "{text}", "completion": "{label}"}


def rows(count: int = 6) -> list[dict[str, Any]]:
    return [{"text": f"email {i}", "label": "ab"[i % 2]} for i in range(count)]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mails.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
    return path


def is_a(row: dict[str, Any]) -> bool:
    return row["messages"][-1]["content"] == "a"


def shout(row: dict[str, Any]) -> dict[str, Any]:
    return {**row, "label": row["label"].upper()}


def test_an_error_lists_ten_bad_rows_and_counts_all() -> None:
    data = Dataset.from_rows([{"text": "x", "label": None if i % 2 else "a"} for i in range(40)])
    with pytest.raises(DatasetError) as caught:
        data.as_chat(**TEMPLATES)
    text = str(caught.value)
    assert text.startswith("row 2, field 'label': has no value.")
    assert "20 of 40 rows can't be used" in text
    assert "row 20, field 'label'" in text
    assert "row 22" not in text
    assert "... and 10 more" in text
    assert (caught.value.line, caught.value.field, caught.value.bad_rows) == (2, "label", 20)
    assert [problem.path for problem in caught.value.problems][:2] == ["row 2, field 'label'", "row 4, field 'label'"]


def test_bad_rows_can_be_dropped_and_are_kept_aside() -> None:
    data = Dataset.from_rows([{"text": "x", "label": "a"}, {"text": "y", "label": None}, {"text": "z", "label": " "}])
    kept = data.as_chat(**TEMPLATES, on_bad="drop")
    assert [row["messages"][0]["content"] for row in kept] == ["x"]
    assert [(row.line, row.row["text"]) for row in kept.dropped] == [(2, "y"), (3, "z")]
    assert kept.dropped[0].reason.startswith("field 'label': has no value.")
    assert kept.columns == ("text", "label")
    with pytest.raises(DatasetError, match="2 of 2 rows can't be used"):
        data[1:].as_chat(**TEMPLATES, on_bad="drop")
    with pytest.raises(DatasetError, match="on_bad='skip' isn't known"):
        data.as_chat(**TEMPLATES, on_bad="skip")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("a.jsonl", '{"t":1}\n{"t":\n3\n{"t":1,"t":2}\n{"t":' + "[" * 200 + "]" * 200 + "}\n", [2, 3, 4, 5]),
        ("a.json", '[{"t": 1},\n3,\n{"t": 1, "t": 2},\n{"t": ' + "9" * 5000 + "}]", [2, 3, 4]),
        ("a.csv", "t,u\n1,2\n3\n4,5,6\n", [3, 4]),
    ],
)
def test_a_file_is_read_without_its_bad_rows(name: str, content: str, lines: list[int], tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DatasetError, match=f"^{name}:{lines[0]}: .*\n{len(lines)} of {len(lines) + 1} rows"):
        Dataset.from_file(path)
    data = Dataset.from_file(path, on_bad="drop")
    assert len(data) == 1
    assert [row.line for row in data.dropped] == lines
    again = Dataset.from_dict(json.loads(json.dumps(data.to_dict(tmp_path))), tmp_path)
    assert (list(again), again.dropped) == (list(data), data.dropped)


def test_filter_keeps_what_the_function_says(file: Path) -> None:
    data = Dataset.from_file(file).as_chat(**TEMPLATES)
    kept = data.filter(is_a)
    assert [kept.line_of(i) for i in range(len(kept))] == [1, 3, 5]
    assert [(row.line, row.reason) for row in kept.dropped] == [
        (2, "filter is_a"),
        (4, "filter is_a"),
        (6, "filter is_a"),
    ]
    with pytest.raises(DatasetError, match="filter keeps none of the 6 rows"):
        data.filter(lambda row: False)
    with pytest.raises(DatasetError, match=r"mails\.jsonl:1: the function of filter returned None"):
        data.filter(lambda row: None)


def test_map_changes_rows_and_a_table_can_become_chat(file: Path) -> None:
    table = Dataset.from_file(file)
    assert table.map(shout)[1] == {"text": "email 1", "label": "B"}
    chat = table.map(lambda row: {"prompt": row["text"], "completion": row["label"]})
    assert (chat.format, chat.fingerprint) == ("chat", table.as_chat(**TEMPLATES).fingerprint)
    with pytest.raises(DatasetError, match=r"mails\.jsonl:1: the function of map returned a NoneType, not a row"):
        table.map(lambda row: None)  # type: ignore[arg-type,return-value]
    with pytest.raises(KeyError) as caught:
        table.map(lambda row: {"x": row["none"]})
    assert caught.value.__notes__ == ["in the function of map, at mails.jsonl:1"]


async def coroutine(row: dict[str, Any]) -> bool:
    return False


async def async_generator(row: dict[str, Any]) -> AsyncIterator[bool]:
    yield False


def generator(row: dict[str, Any]) -> Iterator[bool]:
    yield False


@pytest.mark.parametrize("function", [coroutine, async_generator, generator])
def test_an_async_or_generator_function_is_refused(file: Path, function: Callable[[Any], Any]) -> None:
    table = Dataset.from_file(file)
    with pytest.raises(DatasetError, match=rf"mails\.jsonl:1: .* a {function.__name__}, which is always true"):
        table.filter(function)
    with pytest.raises(DatasetError, match=rf"mails\.jsonl:1: .* a {function.__name__}, not a row"):
        table.map(function)


def test_a_filter_that_returns_a_method_is_told_to_call_it(file: Path) -> None:
    with pytest.raises(DatasetError, match=r"always true\. Call it"):
        Dataset.from_file(file).filter(lambda row: row["text"].isupper)


def test_a_verdict_without_a_truth_value_names_its_row(file: Path) -> None:
    with pytest.raises(ValueError, match="ambiguous") as caught:
        Dataset.from_file(file).filter(lambda row: np.array([True, False]))
    assert caught.value.__notes__ == ["in the function of filter, at mails.jsonl:1"]


def test_a_column_of_map_without_a_text_name_is_refused(file: Path) -> None:
    with pytest.raises(DatasetError, match=r"mails\.jsonl:1: .* the column 1, whose name isn't text"):
        Dataset.from_file(file).map(lambda row: {1: row["text"]})  # type: ignore[arg-type,return-value]


def holding_itself() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


def nested(levels: int) -> Any:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("value", [holding_itself(), nested(200), nested(100_000)], ids=["itself", "200", "100000"])
def test_a_row_without_an_end_is_refused_from_memory_and_map(file: Path, value: Any) -> None:
    with pytest.raises(DatasetError, match=r"^row 2: .*nested"):
        Dataset.from_rows([{"a": 1}, {"a": value}])
    with pytest.raises(DatasetError, match=r"mails\.jsonl:1: .*nested"):
        Dataset.from_file(file).map(lambda row: {"a": {"b": value}})


def test_functions_are_in_the_lineage_by_name_and_source(file: Path) -> None:
    data = Dataset.from_file(file).map(shout).as_chat(**TEMPLATES)
    source, called, made = data.lineage
    assert source == {"file": file.as_posix()}
    assert (called["map"]["name"], called["map"]["rows_before"], called["map"]["rows_after"]) == ("shout", 6, 6)
    assert len(called["map"]["source_sha256"]) == 64
    assert made == {"chat": TEMPLATES}
    recipe = data.to_dict(file.parent)
    assert recipe["stored"] == data.fingerprint
    assert recipe["lineage"][0] == {"file": "mails.jsonl"}
    Store().put(data)
    again = Dataset.from_dict(json.loads(json.dumps(recipe)), file.parent)
    assert (again.fingerprint, again.to_dict(file.parent)) == (data.fingerprint, recipe)


def test_joined_rows_know_their_own_file(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "more.jsonl"
    other.write_text('{"text": "new", "label": "c"}\n{"text": "newer", "label": null}\n', encoding="utf-8")
    both = Dataset.from_file(file) + Dataset.from_file(other)
    assert (len(both), both.name, both.line_of(6)) == (8, "mails.jsonl + more.jsonl", 1)
    with pytest.raises(DatasetError, match=r"^more\.jsonl:2, field 'label': has no value"):
        both.as_chat(**TEMPLATES)
    chat = both.as_chat(**TEMPLATES, on_bad="drop")
    recipe = chat.to_dict(tmp_path)
    assert recipe["concat"] == [{"file": "mails.jsonl"}, {"file": "more.jsonl"}]
    again = Dataset.from_dict(json.loads(json.dumps(recipe)), tmp_path)
    assert (again.fingerprint, again.lineage, len(again)) == (chat.fingerprint, chat.lineage, 7)
    with pytest.raises(DatasetError, match="chat rows can't be joined with the table rows"):
        _ = chat + Dataset.from_file(other)


def test_repeated_rows_and_prompts_can_be_dropped() -> None:
    data = Dataset.from_rows(
        [
            {"text": "a", "label": "x"},
            {"text": "a", "label": "x"},
            {"text": "a", "label": "y"},
            {"text": 1, "label": "x"},
        ]
    )
    assert len(data.drop_duplicates()) == 3
    chat = data.as_chat(**TEMPLATES)
    assert len(chat.drop_duplicates()) == 3
    once = chat.drop_duplicates(by="prompt")
    assert [(row.line, row.reason) for row in once.dropped] == [
        (2, "repeats the prompt of row 1"),
        (3, "repeats the prompt of row 1"),
    ]
    with pytest.raises(DatasetError, match="not yet something to learn from"):
        data.drop_duplicates(by="prompt")


def test_equal_rows_are_the_same_for_all_that_counts_them() -> None:
    texts = ["caf\u00e9", "cafe\u0301", "caf\u00e9 ", "CAF\u00c9", "1"]
    table = Dataset.from_rows([{"text": text, "label": "x", "n": n % 2} for n, text in enumerate([*texts, *texts, 1])])
    pairs = table.as_preference("{text}", "{label}", "no")
    for data in (table, table.as_chat(**TEMPLATES), pairs):
        once = data.drop_duplicates()
        cleaned = data.clean("exact_duplicates")
        assert once.to_pandas().equals(cleaned.to_pandas())
        assert [row[:3] for row in once.dropped] == [
            (row.source, row.line, row.reason.removeprefix("exact_duplicates: ")) for row in cleaned.removed
        ]
        assert data.summary().duplicate_rows == len(once.dropped)


def test_slices_are_datasets_and_keep_their_recipe(file: Path) -> None:
    data = Dataset.from_file(file).as_chat(**TEMPLATES)
    for part, lines in ((data[1:3], [2, 3]), (data[-2:], [5, 6]), (data[::-1], [6, 5, 4, 3, 2, 1])):
        assert [part.line_of(i) for i in range(len(part))] == lines
        again = Dataset.from_dict(json.loads(json.dumps(part.to_dict(file.parent))), file.parent)
        assert again.fingerprint == part.fingerprint
    with pytest.raises(DatasetError, match="none of the 6 rows"):
        data[6:]
    assert len(data[np.int64(4) :]) == 2
    for wrong in (slice(1.5, None), slice("label", None)):
        with pytest.raises(TypeError, match="slice indices must be integers"):
            _ = data[wrong]


@pytest.mark.parametrize("count", [2.0, "3", None, float("nan"), 0, -1, 7])
def test_a_number_of_rows_must_be_whole_and_there(file: Path, count: Any) -> None:
    data = Dataset.from_file(file)
    for choose in (data.take, data.sample):
        with pytest.raises(DatasetError, match=rf"can't take {count!r} of 6 rows. Pass a whole number"):
            choose(count)


def test_a_pandas_table_and_back_is_the_same() -> None:
    data = Dataset.from_rows([{"n": 1, "x": 0.5, "t": "007"}, {"n": None, "x": 1.0, "t": "a"}])
    frame = data.to_pandas()
    assert list(frame.columns) == ["n", "x", "t"]
    assert list(Dataset.from_table(frame)) == list(data)


@pytest.mark.parametrize(
    ("row", "hint"),
    [
        ({"Question": "a", "Answer": "b"}, 'as_chat(prompt="{Question}", completion="{Answer}")'),
        ({"talk": [{"role": "user", "content": "a"}], "id": 1}, "as_chat(messages='talk')"),
        ({"chosen": "a", "rejected": "b"}, 'as_preference(chosen="{chosen}", rejected="{rejected}")'),
        ({"text": "once upon a time"}, "Plain text in 'text' has no answer to learn"),
        ({"foo": 1, "bar": 2}, 'as_chat(prompt="...{foo}...", completion="{bar}")'),
    ],
)
def test_a_table_says_how_it_becomes_trainable(row: dict[str, Any], hint: str) -> None:
    table = Dataset.from_rows([row])
    with pytest.raises(DatasetError) as caught:
        table.ref()
    assert hint in str(caught.value)
    assert hint.split("\\n")[0] in str(table)


def test_an_os_error_of_the_function_stays_what_it_is(file: Path) -> None:
    def opens(row: dict[str, Any]) -> dict[str, Any]:
        return {"text": Path(f"/nowhere/{len(row)}").read_text(encoding="utf-8")}

    with pytest.raises(FileNotFoundError, match="nowhere"):
        Dataset.from_file(file).map(opens)
