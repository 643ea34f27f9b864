"""One rule says which completions are labels: what the report advises does something, and the split agrees."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from ftsdk import Dataset
from ftsdk.data.asked import labels_of
from ftsdk.data.labels import are_labels, label_variants

TEXTS = (
    "where is my parcel", "the app crashes when I log in", "please refund my last order", "how do I change my name",
    "the invoice shows a wrong sum", "can I pay by card",
)  # fmt: skip


def rows_of(classes: int, rows: int, label: str = "class {}") -> list[dict[str, str]]:
    found = [
        {"prompt": f"{TEXTS[n % 6]} {n} of {n % classes}", "completion": label.format(n % classes)} for n in range(rows)
    ]
    found[0]["completion"] = found[0]["completion"].upper()
    return found


@pytest.mark.parametrize(
    ("classes", "rows", "label", "expected"),
    [
        (2, 20, "class {}", True),
        (50, 100, "class {}", True),
        (50, 99, "class {}", False),
        (51, 153, "class {}", True),
        (51, 152, "class {}", False),
        (400, 1200, "class {}", True),
        (3, 60, "class {} " + "x" * 192, True),
        (3, 60, "class {} " + "x" * 193, False),
    ],
)
def test_report_summary_split_and_cleaning_agree_on_labels(classes: int, rows: int, label: str, expected: bool) -> None:
    data = Dataset.from_rows(rows_of(classes, rows, label))
    counts = labels_of(data.canonical)
    assert are_labels(counts, rows) is bool(label_variants(counts)) is expected
    assert bool(data.summary().classes) is bool(data.summary().label_variants) is expected
    report = data.report()
    advised = {one.code: one.fix for one in report.findings if one.code in ("label_variants", "label_errors")}
    assert ("label_variants" in advised) is bool(report.classes) is expected
    assert len(data.clean("labels").changed) == int(expected)
    for fix in advised.values():
        step = re.fullmatch(r'dataset\.clean\("(\w+)"\)', fix)
        assert step is not None
        cleaned = data.clean(step[1])
        assert len(cleaned.changed) + len(cleaned.removed) > 0


def test_a_wrong_label_that_the_report_finds_is_removed_by_what_it_advises() -> None:
    pytest.importorskip("sklearn")
    rows = [{"prompt": f"{TEXTS[n % 3]}, please, number {n}", "completion": f"class {n % 3}"} for n in range(150)]
    rows[9]["completion"], rows[12]["completion"] = "class 1", "Class 0"
    data = Dataset.from_rows(rows)
    found = next(one for one in data.report().findings if one.code == "label_errors")
    assert found.fix == 'dataset.clean("label_errors")'
    assert found.positions == (9,)
    assert [row.line for row in data.clean("label_errors").removed] == [10]


def test_a_split_keeps_the_mix_of_many_classes() -> None:
    train, _, test = Dataset.from_rows(rows_of(60, 600)).split(test=0.5)
    assert test is not None
    for part in (train, test):
        counts = Counter(row["messages"][-1]["content"].lower() for row in part)
        assert set(counts.values()) == {5}
