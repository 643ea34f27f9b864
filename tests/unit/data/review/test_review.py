"""Reviews: fair samples, verdicts by content, rows without the bad ones, and Label Studio's JSON both ways."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ftsdk import Dataset, DatasetError
from ftsdk.data.review import (
    ReviewSession,
    RowVerdict,
    read_verdicts,
    review_sample,
    row_ids,
    summarise_review,
    update_verdicts,
    write_verdicts,
)
from ftsdk.evals import wilson_interval


def numbered(count: int, answer: str = "Answer {n}.") -> Dataset:
    rows = [{"prompt": f"Question {n}?", "completion": answer.format(n=n)} for n in range(count)]
    return Dataset.from_rows(rows, name="rows")


def begun(count: int) -> tuple[ReviewSession, dict[str, RowVerdict], list[str]]:
    verdicts: dict[str, RowVerdict] = {}
    ids = [f"row{n}" for n in range(count)]
    at = datetime(2026, 11, 27, 23, 30, tzinfo=UTC)
    return ReviewSession(ids, verdicts, lambda: None, clock=lambda: at), verdicts, ids


def test_a_sample_has_every_class_in_proportion_and_in_random_order() -> None:
    rows = [{"prompt": f"q{n}", "completion": "rare" if n < 10 else "often"} for n in range(100)]
    chosen, by = review_sample(Dataset.from_rows(rows), 20)
    assert by == "label"
    assert Counter(position < 10 for position in chosen) == {False: 18, True: 2}
    assert list(chosen) != sorted(chosen)
    assert review_sample(Dataset.from_rows(rows), 20)[0] == chosen
    assert review_sample(Dataset.from_rows(rows), 20, seed=1)[0] != chosen


def test_rows_without_labels_are_stratified_by_length() -> None:
    rows = Dataset.from_rows([{"prompt": "q" * n, "completion": f"a{n}"} for n in range(1, 101)])
    chosen, by = review_sample(rows, 10)
    assert by == "length"
    assert Counter(position // 20 for position in chosen) == dict.fromkeys(range(5), 2)
    assert len(review_sample(rows, 1_000)[0]) == 100
    assert len(review_sample(Dataset.from_rows([{"x": "1"}, {"x": "22"}]), 2)[0]) == 2


def test_keys_move_through_the_rows_and_back() -> None:
    session, verdicts, _ = begun(3)
    assert session.press("b", "wrong") == "moved"
    assert session.place == 1
    assert session.press("x") == "unknown"
    session.press("z")
    assert (session.place, session.current) == (
        0, RowVerdict(verdict="bad", note="wrong", on="2026-11-27T23:30:00Z", by="terminal"),
    )  # fmt: skip
    session.press("g")
    assert session.place == 1
    assert session.press("n", "unsure") == "noted"
    assert session.place == 1
    session.press("s")
    session.press("g")
    assert session.place is None
    assert session.press("q") == "quit"
    assert {name: (one.verdict, one.note) for name, one in verdicts.items()} == {
        "row0": ("good", "wrong"), "row1": ("skip", "unsure"), "row2": ("good", ""),
    }  # fmt: skip


def test_a_review_goes_on_where_it_ended(tmp_path: Path) -> None:
    rows, file = numbered(5), tmp_path / "rows.review.json"
    ids = list(row_ids(rows))
    write_verdicts(file, {ids[0]: RowVerdict(verdict="good"), ids[1]: RowVerdict(note="only noted")})
    session = ReviewSession(ids, read_verdicts(file), lambda: None)
    assert session.place == 1
    assert file.stat().st_mode & 0o077 == 0
    assert read_verdicts(tmp_path / "none.json") == {}
    for content in ("nonsense", "[]", '{"version": 2, "rows": {}}', '{"version": 1, "rows": {"a": {"verdict": "x"}}}'):
        file.write_text(content)
        with pytest.raises(DatasetError, match="isn't a file of verdicts"):
            read_verdicts(file)


def test_the_summary_has_an_interval_that_rests_on_what_was_judged() -> None:
    verdicts = {f"row{n}": RowVerdict(verdict="bad" if n < 3 else "good") for n in range(40)}
    verdicts["row40"] = RowVerdict(verdict="skip")
    found = summarise_review([f"row{n}" for n in range(50)], verdicts, rows=1_000)
    assert (found.good, found.bad, found.skipped, found.judged) == (37, 3, 1, 40)
    assert found.interval == wilson_interval(3, 40)
    assert "2.6% to 19.9% (95% interval, Wilson)" in str(found)
    assert "9 left" in str(found)
    assert summarise_review(["a"], {}, rows=1).interval is None


def test_bad_rows_are_removed_with_their_note_in_any_order(tmp_path: Path) -> None:
    rows, file = numbered(6), tmp_path / "v.json"
    ids = list(row_ids(rows))
    write_verdicts(
        file,
        {
            ids[1]: RowVerdict(verdict="bad", note="wrong \x1b[31mcity"),
            ids[2]: RowVerdict(verdict="bad"),
            ids[3]: RowVerdict(verdict="bad", completion="Better."),
            ids[4]: RowVerdict(verdict="good"),
            ids[5]: RowVerdict(verdict="skip"),
        },
    )
    found = rows[::-1].reviewed(file)
    assert [row["messages"][-1]["content"] for row in found] == ["Answer 5.", "Answer 4.", "Better.", "Answer 0."]
    assert {row.line: row.reason for row in found.removed} == {
        2: "review: wrong ␛[31mcity", 3: "review: judged bad",
    }  # fmt: skip
    (change,) = found.changed
    assert (change.line, change.reason) == (4, "review: a better answer")
    assert change.after["messages"][-1]["content"] == "Better."
    step = found.steps[-1].review
    assert step is not None
    assert (step.kind, step.reviewed, step.removed, step.corrected) == ("verdicts", 5, 2, 1)
    assert len(rows.reviewed(file, only_good=True)) == 2
    with pytest.raises(DatasetError, match="undo reviewed"):
        found.as_chat(prompt="{prompt}", completion="{completion}")
    with pytest.raises(DatasetError, match="none of its 5 verdicts is about these rows"):
        numbered(6, answer="Other {n}.").reviewed(file)
    with pytest.raises(DatasetError, match="can't be read as verdicts"):
        rows.reviewed(tmp_path / "none.json")


def exported(tasks: list[dict[str, Any]], *results: Any, **more: Any) -> list[dict[str, Any]]:
    """As Label Studio exports annotated tasks in its JSON format."""
    done = []
    for number, (task, result) in enumerate(zip(tasks, results, strict=True), start=1):
        annotation = {
            "id": 1000 + number, "result": result, "was_cancelled": False, "ground_truth": False,
            "created_at": "2026-11-27T21:00:00Z", "updated_at": "2026-11-27T22:00:00Z", "lead_time": 4.288,
            "task": number, "completed_by": 10, **more,
        }  # fmt: skip
        done.append({"id": number, "project": 83, "predictions": [], "annotations": [annotation], **task})
    return done


def choice(value: str) -> dict[str, Any]:
    return {
        "from_name": "verdict", "to_name": "completion", "id": "a1", "type": "choices", "origin": "manual",
        "value": {"choices": [value]},
    }  # fmt: skip


def text(name: str, value: str) -> dict[str, Any]:
    return {
        "from_name": name, "to_name": "completion", "id": "b2", "type": "textarea", "origin": "manual",
        "value": {"text": [value]},
    }  # fmt: skip


def test_label_studio_takes_tasks_and_gives_verdicts_and_corrections(tmp_path: Path) -> None:
    rows = numbered(4)
    config = rows.to_label_studio(tmp_path / "tasks.json")
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    view = ET.parse(config).getroot()
    variables = {one.get("value", "")[1:] for one in view.iter("Text")}
    assert variables <= set(tasks[0]["data"])
    assert {one.get("name") for one in view.iter() if one.tag in ("Choices", "TextArea")} == {
        "verdict", "corrected", "note",
    }  # fmt: skip
    assert tasks[2]["data"]["prompt"] == "Question 2?"
    export = tmp_path / "export.json"
    export.write_text(
        json.dumps(
            exported(
                tasks,
                [choice("good")],
                [choice("bad"), text("note", "wrong city")],
                [choice("bad"), text("corrected", "The better one.")],
                [],
            )
        )
    )
    found = rows.reviewed(export)
    answers = [row["messages"][-1]["content"] for row in found]
    assert answers == ["Answer 0.", "The better one.", "Answer 3."]
    assert found.removed[0].reason == "review: wrong city"
    assert len(found.changed) == 1


def test_of_several_annotations_the_newest_that_was_not_cancelled_counts(tmp_path: Path) -> None:
    rows = numbered(2)
    rows.to_label_studio(tmp_path / "tasks.json", rows=2)
    tasks = json.loads((tmp_path / "tasks.json").read_text())
    export = exported(tasks, [choice("bad")], [choice("good")])
    newer = exported(tasks, [choice("good")], [choice("bad")], updated_at="2026-11-27T23:00:00Z")
    cancelled = exported(
        tasks, [choice("bad")], [choice("good")], updated_at="2026-11-28T23:00:00Z", was_cancelled=True
    )
    for one, two, three in zip(export, newer, cancelled, strict=True):
        one["annotations"] = [*two["annotations"], *three["annotations"], *one["annotations"]]
    (tmp_path / "export.json").write_text(json.dumps(export))
    found = rows.reviewed(tmp_path / "export.json")
    assert len(found) == 1
    assert next(row_ids(found)) == tasks[0]["data"]["row"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([{"data": {"row": "a"}}], "Export, JSON"),
        ([{"id": 1, "prompt": "q", "verdict": "good"}], "data.row"),
        ([{"data": {"row": "a"}, "annotations": [{"result": [choice("great")]}]}], "verdict 'great'"),
        ([{"data": {"row": "a"}, "annotations": 7}], "annotations"),
        ([7], "data.row"),
    ],
)
def test_a_foreign_export_is_refused(content: Any, message: str, tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=message):
        numbered(2).reviewed(tmp_path / "export.json")


def test_tables_have_no_tasks_but_can_be_reviewed(tmp_path: Path) -> None:
    table = Dataset.from_rows([{"x": "1"}, {"x": "2"}, {"x": "3"}])
    with pytest.raises(DatasetError, match="table"):
        table.to_label_studio(tmp_path / "tasks.json")
    write_verdicts(tmp_path / "v.json", {list(row_ids(table))[1]: RowVerdict(verdict="bad")})
    assert [row["x"] for row in table.reviewed(tmp_path / "v.json")] == ["1", "3"]


def test_two_reviewers_of_one_file_keep_the_verdicts_of_each_other(tmp_path: Path) -> None:
    file = tmp_path / "rows.review.json"
    good, bad = RowVerdict(verdict="good"), RowVerdict(verdict="bad")
    update_verdicts(file, {"a": good, "b": good})
    update_verdicts(file, {"c": bad})
    update_verdicts(file, {"b": bad})
    assert read_verdicts(file) == {"a": good, "b": bad, "c": bad}
