from __future__ import annotations

import hashlib
import json
import pickle
import re
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ftsdk.data import Dataset, Store
from ftsdk.errors import DatasetError, SpecError

TEMPLATES: dict[str, Any] = {"prompt": "Sort: {text}", "completion": "{category}"}


def emails(count: int = 30) -> list[dict[str, Any]]:
    return [
        {"text": f"email {i}", "category": ("billing", "returns", "shipping")[i % 3], "team": i % 2}
        for i in range(count)
    ]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "support.jsonl"
    path.parent.mkdir()
    path.write_text("".join(json.dumps(row) + "\n" for row in emails()), encoding="utf-8")
    return path


def test_rows_are_given_out_as_copies() -> None:
    dataset = Dataset.from_rows(emails(4)).as_chat(**TEMPLATES)
    before = list(dataset)
    assert len(dataset) == len(list(dataset)) == 4
    assert dataset.head(2) == [dataset[0], dataset[1]]
    assert dataset[-1] == dataset[3]
    dataset[0]["messages"][0]["content"] = "changed"
    next(iter(dataset))["messages"].clear()
    assert list(dataset) == before


def test_as_chat_leaves_the_table_as_it_was_and_can_be_called_again() -> None:
    table = Dataset.from_rows(emails(3))
    chat = table.as_chat(**TEMPLATES)
    assert (table.format, chat.format) == ("table", "chat")
    assert chat.columns == ("text", "category", "team")
    assert chat.as_chat(prompt="{text}", completion="{team}")[1]["messages"][1]["content"] == "1"


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.text(min_size=1), st.text(min_size=1)).filter(lambda pair: all(map(str.strip, pair))),
        min_size=1,
        max_size=4,
    )
)
def test_the_fingerprint_is_the_hash_of_canonical_json_lines(pairs: list[tuple[str, str]]) -> None:
    chat = Dataset.from_rows([{"prompt": a, "completion": b} for a, b in pairs])
    preference = Dataset.from_rows([{"prompt": a, "chosen": b, "rejected": b + "?"} for a, b in pairs])
    for dataset in (chat, preference):
        lines = "".join(
            json.dumps(row, sort_keys=True, ensure_ascii=False, separators=(",", ":")) + "\n" for row in dataset
        )
        assert dataset.to_bytes() == lines.encode()
        assert dataset.fingerprint == hashlib.sha256(lines.encode()).hexdigest()


def test_the_fingerprint_of_the_same_rows_never_changes() -> None:
    chat = [{"prompt": 'Où est "mon" colis ?\n\u2028\x00', "completion": "livraison 😀", "system": "Trie."}]
    assert Dataset.from_rows(chat).fingerprint == "e86c82b7141c26c604f06016a380cf7bb8bd0f22401c04becedcbd4b99b42851"
    pairs = [{"prompt": "a\tb", "chosen": "é", "rejected": "\\"}]
    assert Dataset.from_rows(pairs).fingerprint == "44a95175274a981ea0b4173ce5e9fd597d74255497939725378704c991bffcbf"


def test_rows_are_written_out_once() -> None:
    dataset = Dataset.from_rows(emails()).as_chat(**TEMPLATES)
    assert len(dataset.fingerprint) == 64
    assert hashlib.sha256(dataset.to_bytes()).hexdigest() == dataset.fingerprint


def test_the_fingerprint_depends_on_order_and_not_on_the_source(file: Path) -> None:
    from_file, from_rows = (
        Dataset.from_file(file).as_chat(**TEMPLATES),
        Dataset.from_rows(emails()).as_chat(**TEMPLATES),
    )
    turned = Dataset.from_rows(emails()[::-1]).as_chat(**TEMPLATES)
    assert from_file.fingerprint == from_rows.fingerprint != turned.fingerprint


def test_a_fingerprint_costs_about_as_much_as_json_and_a_hash() -> None:
    ratios: list[float] = []
    for _ in range(5):
        dataset = Dataset.from_rows(emails(10_000)).as_chat(**TEMPLATES)
        start = time.process_time()
        assert len(dataset.fingerprint) == 64
        taken = time.process_time() - start
        start = time.process_time()
        hashlib.sha256("\n".join(json.dumps(row) for row in dataset).encode()).hexdigest()
        ratios.append(taken / (time.process_time() - start))
    assert min(ratios) < 1.5


def test_a_table_has_no_fingerprint_yet_and_says_what_to_do() -> None:
    with pytest.raises(
        DatasetError, match=r"rows: the rows are a table \(columns: text, category, team\).*as_chat.*as_preference"
    ):
        Dataset.from_rows(emails()).ref()


def test_the_ref_names_content_format_rows_and_name(file: Path) -> None:
    dataset = Dataset.from_file(file).as_chat(**TEMPLATES)
    ref = dataset.ref()
    assert (ref.fingerprint, ref.format, ref.rows, ref.name) == (dataset.fingerprint, "chat", 30, "support.jsonl")


def test_the_recipe_is_what_one_would_write_by_hand(file: Path) -> None:
    train = Dataset.from_file(file).as_chat(**TEMPLATES).split(validation=0.1, test=0.1, seed=7).train
    assert train.to_dict(base=file.parent) == {
        "file": "support.jsonl",
        "chat": {"prompt": "Sort: {text}", "completion": "{category}"},
        "split": {"validation": 0.1, "test": 0.1, "seed": 7},
        "part": "train",
    }
    assert train.to_dict(base=file.parent.parent / "jobs")["file"] == "../data/support.jsonl"
    assert Path(train.to_dict(base=Path("/a/b/c/d/e/f/g/h"))["file"]).is_absolute()


operations = st.lists(
    st.sampled_from(
        [
            lambda d: d.as_chat(**TEMPLATES),
            lambda d: d.as_chat(prompt="{text}", completion="{category}", system="Be brief."),
            lambda d: d.as_preference(prompt="{text}", chosen="{category}", rejected="{text}"),
            lambda d: d.split(validation=0.2, seed=3).train,
            lambda d: d.split(validation=0.3, test=2, seed=1, stratify="team").validation,
            lambda d: d.split(test=0.5, stratify=None).test,
            lambda d: d.sample(len(d) - 1, seed=5),
            lambda d: d.take(len(d) - 1),
        ]
    ),
    max_size=4,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(operations)
def test_a_recipe_leads_back_to_the_same_rows(file: Path, done: list[Any]) -> None:
    dataset = Dataset.from_file(file)
    try:
        for operation in done:
            dataset = operation(dataset)
    except DatasetError:
        return  # too few rows left for this part
    recipe = dataset.to_dict(base=file.parent)
    again = Dataset.from_dict(json.loads(json.dumps(recipe)), base=file.parent)
    assert list(again) == list(dataset)
    assert [again.line_of(i) for i in range(len(again))] == [dataset.line_of(i) for i in range(len(dataset))]
    assert again.to_dict(base=file.parent) == recipe


def test_rows_from_memory_are_found_in_the_store_by_content() -> None:
    dataset = Dataset.from_rows(emails(), name="emails").as_chat(**TEMPLATES).split(test=5).train
    recipe = dataset.to_dict()
    assert recipe == {"stored": dataset.fingerprint, "format": "chat", "name": "emails"}
    with pytest.raises(DatasetError, match="the store holds no rows with the fingerprint"):
        Dataset.from_dict(recipe)
    Store().put(dataset)
    again = Dataset.from_dict(recipe)
    assert (again.fingerprint, again.name, again.to_dict()) == (dataset.fingerprint, "emails", recipe)


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"file": "a.csv", "chatt": {}}, "unknown option 'chatt'; did you mean 'chat'?"),
        ({"file": "a.csv", "chat": {"promt": "x"}}, "unknown option 'promt'; did you mean 'prompt'?"),
        ({"file": "a.csv", "split": {"validation": "0.1"}, "part": "train"}, "split.validation"),
        ({"file": "a.csv", "part": "train"}, "split and part go together"),
        ({"file": "a.csv", "hub": "a/b"}, "must name one source, file, hub, included, concat or stored, not file and"),
        ({"chat": {}}, "must name one source"),
        ({"file": "a.csv", "revision": "main"}, "revision belongs to hub, and this is file data"),
        ({"stored": "0" * 64}, "stored data needs format"),
        ({"file": "a.csv", "chat": {}, "steps": []}, "chat is given beside steps"),
        (
            {"file": "a.csv", "chat": {}, "preference": {"chosen": "a", "rejected": "b"}},
            "unpaired: only one of these",
        ),
        (
            {"file": "a.csv", "steps": [{"take": 1, "chat": {}}]},
            "must do one of chat, preference, unpaired, split, sample, take, slice,",
        ),
        ({"file": "a.csv", "steps": [{"split": {"test": 1}}]}, "split and part go together"),
    ],
)
def test_a_bad_recipe_is_refused(recipe: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Dataset.from_dict(recipe)
    assert message in str(caught.value)


def test_a_recipe_cannot_take_a_part_that_its_split_lacks(file: Path) -> None:
    with pytest.raises(DatasetError, match="the part 'test' of a split that has none"):
        Dataset.from_dict({"file": str(file), "split": {"validation": 3}, "part": "test"})


def test_the_summary_shows_size_lengths_and_classes() -> None:
    dataset = Dataset.from_rows([*emails(30), emails(1)[0]]).as_chat(**TEMPLATES)
    text, page = str(dataset), dataset._repr_html_()
    for shown in ("31", "chat", "text, category, team", "14 characters (median)", "billing", "35.5%", "1 row repeats"):
        assert shown in text
    assert re.search(r">billing</td><td [^>]*>11</td>", page)
    assert repr(dataset) == "Dataset('rows', chat, 31 rows)"
    assert dataset.summary().to_dict()["classes"] == {"billing": 11, "returns": 10, "shipping": 10}


def test_the_summary_lists_no_classes_of_free_text() -> None:
    table = Dataset.from_rows(emails())
    assert table.as_chat(prompt="{category}", completion="{text}").summary().classes == ()
    assert "as_chat(" in str(table)


def test_untrusted_text_reaches_neither_terminal_nor_page() -> None:
    dataset = Dataset.from_rows([{"prompt": "a", "completion": "\x1b[2J<script>"}] * 2, name="<b>\x1b]0;x\x07")
    assert "\x1b" not in str(dataset)
    assert "\x07" not in str(dataset)
    assert "<script>" not in dataset._repr_html_()
    assert "<b>" not in dataset._repr_html_()


def test_a_dataset_pickles() -> None:
    dataset = Dataset.from_rows(emails()).as_chat(**TEMPLATES)
    assert pickle.loads(pickle.dumps(dataset)).fingerprint == dataset.fingerprint
