"""Rules that compare a text with the rest of its dataset."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ftsdk.data.quality import (
    broken_json,
    class_balance,
    cut_off,
    label_issues,
    languages,
    normal_labels,
    unusual_lengths,
    wrong_roles,
)

SHARED_DATA = Path(__file__).parents[5] / "shared" / "data"
SENTENCES = [f"This is sentence number {n} of a small dataset, and it ends well." for n in range(100)]


def test_texts_far_from_the_usual_length_are_named() -> None:
    found = unusual_lengths([*SENTENCES, "n/a", "word " * 1_000, ""])
    assert (found.short, found.long) == ([100], [101])
    assert found.shortest < len(SENTENCES[0]) < found.longest


def test_a_text_that_stops_in_mid_sentence_is_cut_off() -> None:
    assert cut_off(
        [*SENTENCES, "This one stops in the middle of its last sent", "It ends: (see table 3 of the report)"]
    ) == [100]


def test_texts_that_never_end_with_a_period_are_not_cut_off() -> None:
    assert cut_off([text.rstrip(".") for text in SENTENCES]) == []


def test_broken_json_is_found_where_most_is_json() -> None:
    texts = [json.dumps({"n": n}) for n in range(20)]
    assert broken_json([*texts, '{"n": 1', "sorry", '{"n": NaN}', ""]) == [20, 21, 22]
    assert broken_json(["not JSON", "{either"]) == broken_json([]) == []
    assert broken_json([f"```json\n{text}\n```" for text in texts] + ["```json\n{\n```"]) == [20]


def test_labels_that_differ_by_case_or_blanks_are_one() -> None:
    labels = ["Refund"] * 5 + ["refund ", "billing", "billing"]
    assert normal_labels(labels) == {5: "Refund"}
    assert normal_labels(["a", "b", "a"]) == {}


def test_class_balance_counts() -> None:
    found = class_balance(["a"] * 30 + ["b"] * 10 + ["c"] * 5)
    assert found.counts == {"a": 30, "b": 10, "c": 5}
    assert (found.majority, found.imbalance, found.rare) == (30 / 45, 6.0, ("c",))
    with pytest.raises(ValueError, match="no labels"):
        class_balance([])


@pytest.mark.parametrize(
    ("roles", "fault"),
    [
        ("system user assistant", None),
        ("user assistant tool tool assistant user assistant", None),
        ("assistant user", "starts with"),
        ("user user assistant", "message 2 is from 'user' after 'user'"),
        ("system user assistant system", "message 4"),
        ("user", "ends with 'user'"),
        ("system", "nothing but"),
        ("", "no messages"),
    ],
)
def test_the_order_of_roles(roles: str, fault: str | None) -> None:
    found = wrong_roles([roles.split()]).get(0)
    assert found is None if fault is None else fault in (found or "")


def test_rows_in_another_language_are_named() -> None:
    pytest.importorskip("py3langid", reason="the extra 'data' isn't installed")
    german = "Dies ist ein deutscher Satz, der lang genug ist, um ihn sicher zu erkennen."
    found = languages([*SENTENCES, german, "ok"])
    assert (found.main, found.others, found.checked) == ("en", {100: "de"}, 101)


def test_planted_label_errors_are_found() -> None:
    pytest.importorskip("sklearn", reason="the extra 'data' isn't installed")
    draw = random.Random(2)
    topics = {
        "sea": "ship wave harbour sail coast",
        "sky": "cloud plane wing star wind",
        "land": "road hill farm tree field",
    }
    labels = [draw.choice(sorted(topics)) for _ in range(600)]
    texts = [" ".join(draw.choices(topics[label].split(), k=6)) for label in labels]
    wrong = set(draw.sample(range(600), 30))
    for position in wrong:
        labels[position] = draw.choice([topic for topic in topics if topic != labels[position]])
    found = {issue.position for issue in label_issues(texts, labels, seed=0)}
    assert len(found & wrong) >= 0.9 * len(wrong)
    assert len(found & wrong) >= 0.9 * len(found)


def test_label_errors_are_the_same_at_each_call_and_in_each_thread() -> None:
    pytest.importorskip("sklearn", reason="the extra 'data' isn't installed")
    draw = random.Random(7)
    words = [f"word{n}" for n in range(60)]
    labels = [draw.choice("abcdefgh") for _ in range(1_500)]
    texts = [" ".join(draw.choices(words[6 * "abcdefgh".index(label) :][:12], k=5)) for label in labels]
    labels[::20] = [draw.choice("abcdefgh") for _ in labels[::20]]
    first = label_issues(texts, labels, seed=3)
    assert len(first) > 5
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda _: label_issues(texts, labels, seed=3), range(2))) == [first, first]


def test_labels_that_cannot_be_learned_are_not_called_wrong() -> None:
    pytest.importorskip("sklearn", reason="the extra 'data' isn't installed")
    for seed in range(6):
        draw = random.Random(seed)
        texts = [" ".join(draw.choices([f"word{n}" for n in range(300)], k=8)) for _ in range(240)]
        assert label_issues(texts, [draw.choice("abcdefgh") for _ in texts]) == []


@pytest.mark.slow
def test_planted_label_errors_of_150_classes_are_found() -> None:
    pytest.importorskip("sklearn", reason="the extra 'data' isn't installed")
    file = SHARED_DATA / "clinc150" / "train.jsonl"
    if not file.exists():
        pytest.skip("no real data beside this checkout: shared/data has no CLINC150")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    labels = [row["intent"] for row in rows]
    draw = random.Random(4)
    wrong = set(draw.sample(range(len(rows)), len(rows) // 20))
    for position in wrong:
        labels[position] = draw.choice(sorted({row["intent"] for row in rows} - {labels[position]}))
    found = {issue.position for issue in label_issues([row["text"] for row in rows], labels, seed=4)}
    assert len(found & wrong) >= 0.9 * len(wrong)
    assert len(found & wrong) >= 0.9 * len(found)


def test_labels_that_teach_nothing_have_no_issues() -> None:
    pytest.importorskip("sklearn", reason="the extra 'data' isn't installed")
    assert label_issues(["a", "b"], ["x", "x"]) == []
    assert label_issues(["", "", "", "", "", ""], ["x", "x", "x", "y", "y", "y"]) == []
    with pytest.raises(ValueError, match="one per text"):
        label_issues(["a"], [])
