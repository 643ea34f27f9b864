from __future__ import annotations

import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hub_process import output_with_hub
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftsdk.data import Dataset
from ftsdk.errors import DatasetError

ROWS = [
    {"text": "Where is my parcel?", "category": "shipping"},
    {"text": 'Refund, "now" –\nplease', "category": "billing"},
]


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return path


def as_csv(rows: list[dict[str, Any]], delimiter: str = ",") -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, fieldnames=list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def as_jsonl(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


CONTENTS = {
    "rows.csv": as_csv(ROWS),
    "rows.tsv": as_csv(ROWS, "\t"),
    "rows.jsonl": as_jsonl(ROWS),
    "rows.json": json.dumps(ROWS, indent=2),
    "wrapped.json": json.dumps({"version": 1, "data": ROWS}),
}


@pytest.mark.parametrize("name", CONTENTS)
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "with byte order mark"])
def test_every_kind_of_text_file_gives_the_same_rows(tmp_path: Path, name: str, mark: bytes) -> None:
    dataset = Dataset.from_file(write(tmp_path, name, mark + CONTENTS[name].encode()))
    assert list(dataset) == ROWS
    assert (dataset.name, dataset.format, dataset.columns) == (name, "table", ("text", "category"))


def test_rows_come_out_of_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "rows.parquet")
    dataset = Dataset.from_file(tmp_path / "rows.parquet")
    assert list(dataset) == ROWS
    assert dataset.line_of(1) == 2


def test_a_broken_parquet_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"rows\.parquet: the file can't be read as Parquet"):
        Dataset.from_file(write(tmp_path, "rows.parquet", b"PAR1 but not really"))


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow", "datasets"])
def test_tables_from_memory_keep_their_rows_and_their_gaps(library: str) -> None:
    module = pytest.importorskip(library)
    columns = {"text": ["a", None], "score": [1, 2]}
    table = {
        "pandas": lambda: module.DataFrame(columns),
        "polars": lambda: module.DataFrame(columns),
        "pyarrow": lambda: module.table(columns),
        "datasets": lambda: module.Dataset.from_dict(columns),
    }[library]()
    dataset = Dataset.from_file(table)
    assert list(dataset) == [{"text": "a", "score": 1}, {"text": None, "score": 2}]


def test_a_missing_number_of_a_data_frame_is_not_the_word_nan() -> None:
    pandas = pytest.importorskip("pandas")
    dataset = Dataset.from_table(pandas.DataFrame({"text": ["a", "b"], "label": [1.0, float("nan")]}))
    with pytest.raises(DatasetError, match="row 2, field 'label': has no value"):
        dataset.as_chat(prompt="{text}", completion="{label}")


def test_a_list_of_dicts_is_a_dataset() -> None:
    assert list(Dataset.from_file(ROWS)) == ROWS


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (object(), "can't read rows from a builtins.object"),
        ([], "there are no rows"),
        ([{"a": 1}, "b"], "row 2: is a str; every row must be a dict"),
        ([{1: "a"}], "row 1: has a column whose name isn't text"),
    ],
)
def test_what_is_not_a_table_is_refused(table: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        Dataset.from_file(table)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "", "a.csv: the file is empty"),
        ("a.jsonl", " \n\n", "a.jsonl: the file is empty"),
        ("a.csv", "text,category\n", "a.csv: has a header and no rows"),
        ("a.json", "[]", "a.json: has no rows"),
        (
            "a.csv",
            "text,category\nhello,x\nhello, world,x\n",
            "a.csv:3: the row has 3 fields, the header has 2 (text, category)",
        ),
        ("a.csv", "text,category\n\nhello\n", "a.csv:3: the row has 1 fields"),
        ("a.csv", 'text,category\n"two\nlines",x\nhello\n', "a.csv:4: the row has 1 fields"),
        ("a.csv", 'text,category\n"open,x\n', "a.csv:2: the row can't be read"),
        ("a.csv", "text;category\nhello;x\n", "a.csv:1: the columns seem to be separated by ';'"),
        ("a.csv", "text,text\na,b\n", "a.csv:1: the header has the column 'text' twice"),
        ("a.csv", "text,\na,b\n", "a.csv:1: a column of the header has no name"),
        ("a.jsonl", '{"a": 1}\n\n{"a": 1,}\n', "a.jsonl:3: the line isn't JSON"),
        ("a.jsonl", '{"a": 1}\n["a"]\n', "a.jsonl:2: the row is an array; every row must be an object"),
        ("a.jsonl", '[\n{"a": 1}\n]', "belongs in a .json file"),
        ("a.json", '[\n{"a": 1},\n{"a": }\n]', "a.json:3: the file isn't JSON"),
        ("a.json", '[\n{"a": 1}\n{"a": 2}\n]', "a.json:3: the file isn't JSON: expected ',' or ']'"),
        ("a.json", '[{"a": 1},', "a.json:1: the file isn't JSON"),
        ("a.json", '[\n{"a": 1},\n7]', "a.json:3: the row is a number"),
        ("a.json", '{"rows": []}', "a.json: holds one object (rows)"),
        ("a.json", '{"a": 1}\n{"a": 2}\n', "name it .jsonl"),
        ("a.json", '{"data": {"a": 1}}', "must hold an array of objects"),
        ("a.json", '"a"', "must hold an array of objects"),
        ("a.json", '[{"a": 1}]\n[{"a": 2}]', "a.json:2: the file has more after its JSON value: '[{\"a\": 2}]'"),
        ("a.json", '[{"a": 1}], {"a": 2}]', "a.json:1: the file has more after its JSON value"),
        ("a.json", "[]garbage", "a.json:1: the file has more after its JSON value"),
        ("a.json", '{"data": [{"a": 1}]}\n{"data": [{"a": 2}]}', "a.json:2: the file has more after its JSON value"),
        ("a.json", '{"data": [{"a": 1}],\n"data": [{"a": 2}]}', "a.json:2: the key 'data' appears twice"),
        ("a.json", '{"n": 1 "data": [{"a": 1}]}', "a.json:1: the file isn't JSON: expected ',' or '}'"),
        ("a.json", '[{"a": 1},\n{"a": 2, "a": 3}]', "a.json:2: the key 'a' appears twice in one object"),
        ("a.jsonl", '{"a": 1}\n{"a": {"b": 1, "b": 2}}\n', "a.jsonl:2: the key 'b' appears twice in one object"),
        ("a.jsonl", '{"a": %s}' % ("9" * 5000), "a.jsonl:1: the line has a number that is too long"),
        ("a.json", '[\n{"a": %s}]' % ("9" * 5000), "a.json:2: the row has a number that is too long"),
        ("a.csv", 'text,n\n"a"b,1\n', "a.csv:2: the row can't be read: text follows a closing quote"),
        ("a.jsonl", b'{"a": "caf\xe9"}\n', "a.jsonl:1: the file isn't in UTF-8: byte 0xe9 at offset 10"),
        ("a.csv", b"\xef\xbb\xbftext\nok\ncaf\xe9\n", "a.csv:3: the file isn't in UTF-8: byte 0xe9 at offset 14"),
        ("a.csv", "text\nhello\n".encode("utf-16"), "iconv -f UTF-16 -t UTF-8 a.csv > a-utf8.csv"),
        ("a.xlsx", "PK", "files that end in '.xlsx' can't be read; known: .csv"),
        ("a", "PK", "can't be read; known: .csv"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(DatasetError) as caught:
        Dataset.from_file(write(tmp_path, name, content))
    assert message in str(caught.value)


def test_json_that_is_nested_a_hundred_thousand_deep_is_refused(tmp_path: Path) -> None:
    deep = '{"a": ' + "[" * 100_000 + "]" * 100_000 + "}"
    for name, content in (("a.jsonl", deep), ("a.json", f"[{deep}]")):
        with pytest.raises(DatasetError, match="nested too deeply"):
            Dataset.from_file(write(tmp_path, name, content))


def test_a_missing_file_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    write(tmp_path, "support_emails.csv", "a\n1\n")
    with pytest.raises(DatasetError, match=r"there is no such file; did you mean 'support_emails\.csv'\?"):
        Dataset.from_file(tmp_path / "suport_emails.csv")
    with pytest.raises(DatasetError, match="no folder"):
        Dataset.from_file(tmp_path / "nowhere" / "a.csv")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match="the folder has no data file"):
        Dataset.from_file(tmp_path / "empty")


def test_lines_are_those_of_an_editor(tmp_path: Path) -> None:
    table = Dataset.from_file(write(tmp_path, "a.csv", 'text,n\r\n"two\r\nlines",1\r\n\r\nb,2\r\n'))
    assert [table.line_of(i) for i in range(2)] == [2, 5]
    lines = Dataset.from_file(write(tmp_path, "a.jsonl", '\n{"a": "\u2028"}\n\n{"a": 2}'))
    assert [lines.line_of(i) for i in range(2)] == [2, 4]
    array = Dataset.from_file(write(tmp_path, "a.json", '{"n": [\n1],\n"data": [\n{"a":\n1}, {"a": 2},\n{"a": 3}]}'))
    assert [array.line_of(i) for i in range(3)] == [4, 5, 6]


def test_a_long_csv_field_is_read(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    dataset = Dataset.from_file(write(tmp_path, "a.csv", "text\n" + "x" * 300_000 + "\n"))
    assert len(dataset[0]["text"]) == 300_000
    assert csv.field_size_limit() == before


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(st.lists(st.fixed_dictionaries({"text": st.text(), "label": st.text()}), min_size=1, max_size=5))
def test_any_text_survives_every_text_format(tmp_path: Path, rows: list[dict[str, str]]) -> None:
    for name, content in (("h.jsonl", as_jsonl(rows)), ("h.json", json.dumps(rows))):
        assert list(Dataset.from_file(write(tmp_path, name, content))) == rows
    assert list(Dataset.from_file(write(tmp_path, "h.csv", as_csv(rows)))) == rows


@pytest.mark.parametrize("text", ["\0\n", "\0", "a\0b", "\x01\x02\x03"])
def test_control_characters_in_a_field_do_not_make_another_encoding(text: str, tmp_path: Path) -> None:
    rows = [{"text": "", "label": text}]
    assert list(Dataset.from_file(write(tmp_path, "a.csv", as_csv(rows)))) == rows


def test_arguments_of_the_hub_are_refused_for_files(tmp_path: Path) -> None:
    path = write(tmp_path, "a.jsonl", as_jsonl(ROWS))
    with pytest.raises(DatasetError, match="split='test' is only for datasets on the hub, and this is a file"):
        Dataset.from_file(path, split="test")


def test_a_hub_id_that_cannot_be_reached_is_named() -> None:
    with pytest.raises(
        DatasetError, match=r"no-such-org/no-such-data: can't be loaded from the Hugging Face hub \(split='train'"
    ):
        Dataset.from_file("no-such-org/no-such-data")


def test_rows_and_recipe_come_from_the_hub_library(tmp_path: Path) -> None:
    """In a process of its own, because `datasets` reads the place of its cache when it is imported.

    A folder stands in for the hub.
    """
    folder = tmp_path / "org" / "emails"
    folder.mkdir(parents=True)
    write(folder, "train.jsonl", as_jsonl(ROWS))
    code = (
        "from ftsdk.data import Dataset\n"
        "d = Dataset.from_hub('org/emails')\n"
        "assert len(d) == 2 and d.name == 'org/emails', d\n"
        "recipe = d.as_chat(prompt='{text}', completion='{category}').to_dict()\n"
        "assert recipe == {'hub': 'org/emails', 'chat': {'prompt': '{text}', 'completion': '{category}'}}, recipe\n"
        "assert Dataset.from_dict(recipe).fingerprint == d.as_chat(prompt='{text}', "
        "completion='{category}').fingerprint\n"
        "try:\n    Dataset.from_hub('org/emails', split='test')\n"
        "except ValueError as error:\n    print(error)\n"
    )
    printed = output_with_hub(code, tmp_path)
    assert "split='test'" in printed


csv_text = st.text(st.sampled_from('ab,"\r\n \0é\u2028'), max_size=30)


@settings(max_examples=300, deadline=None)
@given(csv_text)
def test_csv_is_read_as_the_standard_library_reads_it(text: str) -> None:
    from ftsdk.data.csv_text import _records

    def ours() -> list[list[str]] | None:
        try:
            return [record for _, record in _records(text, "a.csv", ",")]
        except DatasetError:
            return None

    try:
        theirs = [record for record in csv.reader(io.StringIO(text, newline=""), strict=True) if record]
    except csv.Error:
        theirs = None
    assert ours() == theirs


def test_threads_read_long_csv_fields_without_the_process_limit(tmp_path: Path) -> None:
    path, limit = write(tmp_path, "a.csv", "q,a\n" + "x" * 200_000 + ",b\n"), csv.field_size_limit()
    with ThreadPoolExecutor(8) as pool:
        assert {len(found) for found in pool.map(lambda _: Dataset.from_file(path), range(32))} == {1}
    assert csv.field_size_limit() == limit


def test_a_header_of_a_hundred_thousand_columns_is_read(tmp_path: Path) -> None:
    columns = 100_000
    path = write(tmp_path, "a.csv", ",".join(f"c{n}" for n in range(columns)) + "\n" + ",".join("1" * columns))
    assert len(Dataset.from_file(path).columns) == columns


@pytest.mark.parametrize("way", ["datasets", "parquet"])
def test_classes_of_a_set_are_read_as_their_names(tmp_path: Path, way: str) -> None:
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=["negative", "positive"])
    table = datasets.Dataset.from_dict(
        {"text": ["nice", "awful", "?"], "label": [1, 0, -1]},
        features=datasets.Features(text=datasets.Value("string"), label=names),
    )
    source: Any = table
    if way == "parquet":
        source = tmp_path / "a.parquet"
        table.to_parquet(source)
    assert [row["label"] for row in Dataset.from_file(source)] == ["positive", "negative", None]


def test_classes_inside_of_lists_are_read_as_their_names() -> None:
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=["B", "I"])
    features = datasets.Features(tags=datasets.Sequence(names), info={"tag": names})
    table = datasets.Dataset.from_dict({"tags": [[1, 0]], "info": [{"tag": 1}]}, features=features)
    assert list(Dataset.from_file(table)) == [{"tags": ["I", "B"], "info": {"tag": "I"}}]


def test_whole_numbers_with_a_gap_and_arrays_stay_what_they_are() -> None:
    pandas = pytest.importorskip("pandas")
    numpy = pytest.importorskip("numpy")
    talk = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    frame = pandas.DataFrame({"n": [1, None], "x": [1.5, None], "talk": [numpy.array(talk), numpy.array(talk)]})
    rows = Dataset.from_table(frame)
    assert [(row["n"], row["x"], row["talk"]) for row in rows] == [(1, 1.5, talk), (None, None, talk)]
    assert isinstance(rows[0]["n"], int)
    assert rows.as_chat(messages="talk")[0] == {"messages": talk}
