"""A report on much data: read in batches of Arrow with the results of single rows, sampled where it says so."""

from __future__ import annotations

import random

import numpy
import pytest

from ftsdk import Dataset
from ftsdk.data.duplicates.prompts import prompt_duplicates
from ftsdk.data.quality import broken_json, cut_off, label_sample, unusual_lengths
from ftsdk.data.report.coverage import coverage_finding
from ftsdk.data.report.row_texts import RowTexts, read_chunks
from ftsdk.data.text_column import TextColumn


def conversations() -> Dataset:
    draw = random.Random(5)
    found: list[dict[str, object]] = []
    for n in range(5_000):
        turns = draw.choice((1, 1, 1, 2))
        messages = [{"role": "system", "content": "Be brief."}] * (n % 3 == 0)
        for turn in range(turns):
            messages += [
                {"role": "user", "content": f"Was kostet ÄÖ{draw.randrange(99)}?"},
                {"role": "assistant", "content": f"{n} {turn}" if n % 7 else "\nJa."},
            ]
        if n == 4_000:  # one batch can't be read as plain messages
            messages[-1]["reasoning_content"] = "Hm."
        found.append({"messages": messages})
    return Dataset.from_rows(found)


def test_chunks_in_arrow_equal_those_of_single_rows() -> None:
    rows = conversations().canonical
    assert list(read_chunks(rows, "chat")) == list(read_chunks(list(rows), "chat"))


def test_chunks_of_single_questions_equal_those_of_single_rows() -> None:
    rows = Dataset.from_rows({"prompt": f"ask {n}", "completion": f"answer {n}"} for n in range(3_000)).canonical
    assert list(read_chunks(rows, "chat")) == list(read_chunks(list(rows), "chat"))


def test_texts_of_all_rows_equal_those_of_chunks() -> None:
    rows = conversations().canonical
    texts = RowTexts.of_messages(rows, "chat")
    chunks = list(read_chunks(rows, "chat"))
    assert list(texts.prompts) == [text for chunk in chunks for text in chunk.prompts]
    assert list(texts.answers) == [text for chunk in chunks for text in chunk.answers]


def test_checks_of_texts_are_the_same_in_arrow_and_in_lists() -> None:
    draw = random.Random(2)
    texts = [
        draw.choice(("Ünd so.", "a b c d e f g h i", "a b c d e f g h i.", '{"n": 1}', "x" * 4_000)) for _ in range(400)
    ]
    texts += ['{"n": 1}'] * 2_000
    column = TextColumn(texts)
    assert unusual_lengths(column) == unusual_lengths(texts)
    assert cut_off(column) == cut_off(texts)
    assert broken_json(column) == broken_json(texts) != []
    answers = [draw.choice(("A", "a ", "b")) for _ in texts]
    assert prompt_duplicates(column, TextColumn(answers)) == prompt_duplicates(texts, answers)


def test_a_sample_for_label_errors_is_bounded_and_has_all_classes() -> None:
    labels = [f"class {n % 100 if n % 1_000 else 100}" for n in range(200_000)]
    short = label_sample(numpy.full(len(labels), 40), labels)
    long = label_sample(numpy.full(len(labels), 4_000), labels)
    assert short is not None
    assert long is not None
    assert len(short) == 50_000
    assert len(long) == 2_000
    assert {labels[row] for row in short} == set(labels)
    assert short == tuple(sorted(set(short))) == label_sample(numpy.full(len(labels), 40), labels)
    assert label_sample(numpy.full(15_000, 40), [f"class {n % 150}" for n in range(15_000)]) is None


def test_a_report_says_of_which_sample_label_errors_are(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.setattr("ftsdk.data.quality.label_samples._MOST_ROWS", 60)
    monkeypatch.setattr("ftsdk.data.quality.label_samples._FEWEST_ROWS", 60)
    words = ("invoice payment refund", "parcel delivery courier", "login password account")
    rows = [{"prompt": f"{words[n % 3]} number {n}", "completion": f"class {n % 3}"} for n in range(300)]
    for n in range(0, 300, 10):
        rows[n]["completion"] = f"class {(n + 1) % 3}"
    report = Dataset.from_rows(rows).report()
    (found,) = [one for one in report.findings if one.code == "label_errors"]
    assert found.detail == "of a sample of 60 rows, with each class in proportion"
    assert found.share == found.rows / 60
    assert {row % 10 for row in found.positions} == {0}
    assert found.examples[0].row in found.positions
    assert any("label errors in 240 rows: a sample of 60 was checked" in one for one in report.not_checked)


def test_coverage_names_how_many_prompts_it_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.setattr("ftsdk.data.report.coverage._MOST_PROMPTS", 10)
    found = coverage_finding([f"where is my parcel {n}" for n in range(40)], ["cook rice"])
    assert found is not None
    assert found.detail == "of 1 queries, compared with 10 of 40 prompts, evenly spread"
