"""Mixing, contexts and canaries: seeded, recorded, and nothing repeated in silence."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ftsdk import Dataset, DatasetError
from ftsdk.data import Store
from ftsdk.data.cleaning import GROUPS


def numbered(count: int, name: str = "a") -> Dataset:
    rows = [{"prompt": f"{name} {n}?", "completion": f"{name} {n}."} for n in range(count)]
    return Dataset.from_rows(rows, name=name)


def asked(dataset: Dataset) -> list[str]:
    return [row["messages"][0]["content"] for row in dataset]


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 99), st.integers(0, 5))
def test_a_mix_has_its_shares_and_repeats_nothing(many: int, few: int, percent: int, seed: int) -> None:
    one, other = numbered(many, "a"), numbered(few, "b")
    total = int(min(many * 100 / percent, few * 100 / (100 - percent)) + 1e-9)
    assume(min(percent, 100 - percent) * total >= 100)  # at least one row of each
    found = Dataset.mix({one: percent / 100, other: 1 - percent / 100}, seed=seed)
    counts = Counter(text[0] for text in asked(found))
    assert len(set(asked(found))) == len(found)
    assert abs(counts["a"] - percent / 100 * len(found)) <= 1
    assert counts["a"] >= many - 1 or counts["b"] >= few - 1


def test_a_mix_says_when_a_part_is_too_small() -> None:
    one, other = numbered(90, "a"), numbered(5, "b")
    with pytest.raises(DatasetError, match=r"needs 10 rows of 'b', which has 5.*repeat=True"):
        Dataset.mix({one: 0.9, other: 0.1}, rows=100)
    found = Dataset.mix({one: 0.9, other: 0.1}, rows=100, repeat=True)
    assert Counter(Counter(text for text in asked(found) if text[0] == "b").values()) == {2: 5}
    for shares in ({one: 0.9, other: 0.2}, {one: 1.0, other: 0.0}, {one: 1.0}):
        with pytest.raises(DatasetError, match=r"sum to 1|two datasets"):
            Dataset.mix(shares)
    with pytest.raises(DatasetError, match="finite"):
        Dataset.mix({one: float("nan"), other: 0.5})
    with pytest.raises(DatasetError, match="table rows"):
        Dataset.mix({one: 0.5, Dataset.from_rows([{"x": 1}]): 0.5})


def test_a_recipe_repeats_a_mix_of_three(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        "".join(json.dumps({"prompt": f"p{n}", "completion": "c"}) + "\n" for n in range(9))
    )
    (tmp_path / "b.jsonl").write_text(
        "".join(json.dumps({"prompt": f"q{n}", "completion": "c"}) + "\n" for n in range(9))
    )
    one, other = Dataset.from_file(tmp_path / "a.jsonl"), Dataset.from_file(tmp_path / "b.jsonl")
    found = Dataset.mix({one + other: 0.5, Dataset.general(): 0.3, other.take(4): 0.2}, rows=20, seed=3)
    again = Dataset.from_dict(found.to_dict(tmp_path), tmp_path)
    assert again.fingerprint == found.fingerprint
    assert again.lineage == found.lineage
    assert Dataset.mix({one: 0.5, other: 0.5}, seed=1).fingerprint != Dataset.mix({one: 0.5, other: 0.5}).fingerprint


def test_the_general_rows_are_whole_and_different() -> None:
    rows = Dataset.general()
    assert len(rows) == 200
    assert len({text.casefold() for text in asked(rows)}) == 200
    # Lists and poems end without a full stop, which looks cut off.
    quality = [name for name in GROUPS["quality"] if name != "cut_off"]
    cleaned = rows.clean("safe", *quality, "near_duplicates", "pii")
    assert not cleaned.removed
    assert not cleaned.changed
    assert len(Dataset.from_dict(rows.to_dict())) == 200


PASSAGES = [
    f"The river {name} is {number} kilometres long." for number, name in enumerate(("Ab", "Bo", "Ci", "Do"), 111)
]


def questions(count: int = 40) -> Dataset:
    rows: list[dict[str, Any]] = [
        {"q": f"How long is it ({n})?", "a": str(111 + n % 4), "passages": [PASSAGES[n % 4]]} for n in range(count)
    ]
    return Dataset.from_rows(rows).as_chat("{q}", "{a}")


def test_contexts_are_right_wrong_or_missing_by_share() -> None:
    found = questions().with_context("passages", wrong=0.25, empty=0.1, unanswerable="The context doesn't say.", seed=4)
    kinds: Counter[str] = Counter()
    for position, row in enumerate(found):
        prompt, answer = (message["content"] for message in row["messages"])
        if PASSAGES[position % 4] in prompt:
            kinds["right"] += 1
            assert answer == str(111 + position % 4)
        else:
            kinds["wrong" if any(one in prompt for one in PASSAGES) else "empty"] += 1
            assert answer == "The context doesn't say."
            assert str(111 + position % 4) not in prompt
    assert kinds == {"right": 26, "wrong": 10, "empty": 4}
    assert found.fingerprint != questions().with_context("passages", seed=5).fingerprint


def test_distractors_stand_among_the_right_passages() -> None:
    found = questions().with_context("passages", distractors=2, template="{question}\n---\n{context}", separator=" | ")
    first = [row["messages"][0]["content"].split("\n---\n") for row in found]
    assert all(len(context.split(" | ")) == 3 and PASSAGES[n % 4] in context for n, (_, context) in enumerate(first))
    assert len({context.split(" | ").index(PASSAGES[n % 4]) for n, (_, context) in enumerate(first)}) == 3


def test_impossible_contexts_are_refused(tmp_path: Path) -> None:
    rows = questions()
    cases: tuple[tuple[dict[str, Any], str], ...] = (
        ({"passages": "passage"}, "did you mean 'passages'"),
        ({"passages": "passages", "wrong": 0.5}, "need an answer"),
        ({"passages": "passages", "wrong": 0.7, "empty": 0.7, "unanswerable": "no"}, "shares"),
        ({"passages": "passages", "distractors": 9}, "fewer distractors"),
        ({"passages": "passages", "template": "{context}"}, "question"),
    )
    for arguments, message in cases:
        with pytest.raises(DatasetError, match=message):
            rows.with_context(**arguments)
    with pytest.raises(DatasetError, match=r"row 2, field 'p'.*not empty"):
        Dataset.from_rows([{"q": "a", "p": "b"}, {"q": "a", "p": ""}]).as_chat("{q}", "{q}").with_context("p")
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps({"q": f"q{n}", "a": "b", "p": f"passage {n}"}) + "\n" for n in range(9)))
    found = Dataset.from_file(file).as_chat("{q}", "{a}").with_context("p", empty=0.5, unanswerable="no {context}")
    assert Dataset.from_dict(found.to_dict()).fingerprint == found.fingerprint


def test_canaries_are_planted_among_the_rows_with_a_record(tmp_path: Path) -> None:
    rows = numbered(50)
    found = rows.with_canaries(4, seed=2, times=(1, 3))
    assert [canary.times for canary in found.canaries] == [1, 3, 1, 3]
    texts = asked(found)
    assert all(texts.count(canary.prompt) == canary.times for canary in found.canaries)
    assert [text for text in texts if text.startswith("a ")] == asked(rows)
    assert not all(text.startswith("a ") for text in texts[:50])
    part = found.split(test=0.2).train + numbered(3, "b")
    assert part.canaries == found.canaries
    file = rows.to_jsonl(tmp_path / "a.jsonl")
    planted = Dataset.from_file(file).with_canaries(4, seed=2, times=(1, 3))
    assert planted.fingerprint == found.fingerprint
    assert Dataset.from_dict(planted.to_dict()).canaries == found.canaries
    with pytest.raises(DatasetError, match="at least 1"):
        rows.with_canaries(0)
    with pytest.raises(DatasetError, match="as_chat"):
        Dataset.from_rows([{"x": 1}]).with_canaries(1)


def test_rows_from_the_store_join_and_reshape_with_others(tmp_path: Path) -> None:
    store = Store(tmp_path)
    rows = numbered(5)
    store.put(rows)
    stored = store.load(rows.ref())
    for joined in (stored + rows, rows + stored):
        assert len(joined.drop_duplicates()) == 5
        assert len(joined.with_canaries(2)) == 12
        assert len(joined.clean().removed) == 5
