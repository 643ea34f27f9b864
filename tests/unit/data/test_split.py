from __future__ import annotations

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsdk.data import Dataset
from ftsdk.errors import DatasetError

PINNED = ["email 3", "email 6", "email 8", "email 11"]


def dataset(labels: list[str]) -> Dataset:
    rows = [{"text": f"email {i}", "label": label} for i, label in enumerate(labels)]
    return Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{label}")


def texts(part: Dataset | None) -> list[str]:
    return [] if part is None else [row["messages"][0]["content"] for row in part]


def labels_of(part: Dataset | None) -> Counter[str]:
    return Counter(row["messages"][-1]["content"] for row in part or ())


@settings(deadline=None)
@given(
    st.lists(st.sampled_from("abcde"), min_size=4, max_size=60),
    st.one_of(st.none(), st.floats(0.05, 0.4), st.integers(1, 10)),
    st.one_of(st.floats(0.05, 0.4), st.integers(1, 10)),
    st.integers(0, 2**32),
    st.sampled_from(["auto", "label", None]),
)
def test_every_row_lands_in_exactly_one_part(
    labels: list[str], validation: Any, test: Any, seed: int, stratify: str | None
) -> None:
    whole = dataset(labels)
    sizes = [
        size if isinstance(size, int) else round(size * len(labels)) for size in (validation, test) if size is not None
    ]
    if 0 in sizes or sum(sizes) >= len(labels):
        with pytest.raises(DatasetError, match=r"comes to none|leave no row"):
            whole.split(validation=validation, test=test, seed=seed, stratify=stratify)
        return
    parts = whole.split(validation=validation, test=test, seed=seed, stratify=stratify)
    assert sorted(text for part in parts for text in texts(part)) == sorted(texts(whole))
    assert all(part is None or len(part) > 0 for part in parts)
    assert (parts.validation is None) == (validation is None)
    assert len(parts.test or ()) == sizes[-1]
    again = whole.split(validation=validation, test=test, seed=seed, stratify=stratify)
    assert [texts(part) for part in again] == [texts(part) for part in parts]


@settings(deadline=None)
@given(st.lists(st.sampled_from("aaabbc"), min_size=20, max_size=200), st.integers(0, 1000))
def test_stratified_parts_have_each_class_in_proportion(labels: list[str], seed: int) -> None:
    parts = dataset(labels).split(validation=0.2, seed=seed, stratify="label")
    size = round(0.2 * len(labels))
    for label, count in Counter(labels).items():
        assert abs(labels_of(parts.validation)[label] - size * count / len(labels)) < 1


def test_auto_stratifies_completions_that_look_like_labels() -> None:
    parts = dataset(["a"] * 80 + ["b"] * 20).split(validation=10, test=10, seed=1)
    assert labels_of(parts.validation) == labels_of(parts.test) == {"a": 8, "b": 2}


def test_rows_keep_their_order_and_another_seed_gives_other_rows() -> None:
    whole = dataset(["a", "b"] * 50)
    first, second = whole.split(test=20, seed=1), whole.split(test=20, seed=2)
    order = texts(whole)
    assert texts(first.train) == [text for text in order if text in set(texts(first.train))]
    assert set(texts(first.test)) != set(texts(second.test))


def test_a_split_is_the_same_on_every_machine_and_version() -> None:
    """Pinned, because runs and reports of last year must find the same test rows."""
    assert texts(dataset(["a", "b"] * 10).split(test=4, seed=7).test) == PINNED


def test_tables_and_preference_rows_can_be_split_too() -> None:
    table = Dataset.from_rows([{"q": str(i), "good": "x", "bad": "y", "kind": "ab"[i % 2]} for i in range(20)])
    for whole in (table, table.as_preference(prompt="{q}", chosen="{good}", rejected="{bad}")):
        parts = whole.split(test=0.5, stratify="kind")
        assert (len(parts.train), len(parts.test or ()), parts.validation) == (10, 10, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "split needs validation= or test="),
        ({"test": 0.01}, "test=0.01 of 10 rows comes to none"),
        ({"test": 10}, "10 for test leave no row for train: there are 10 rows"),
        ({"validation": 0.5, "test": 5}, "5 for validation + 5 for test leave no row"),
        ({"test": 1.5}, "must be a fraction between 0 and 1"),
        ({"test": 0}, "must be a fraction between 0 and 1"),
        ({"test": -1}, "must be a fraction between 0 and 1"),
        ({"test": math.nan}, "test=nan must be a fraction between 0 and 1"),
        ({"validation": math.nan, "test": 2}, "validation=nan must be a fraction between 0 and 1"),
        ({"test": math.inf}, "must be a fraction between 0 and 1"),
        ({"test": 2, "group": 3}, "group= names the column 3, which doesn't exist"),
        ({"test": True}, "must be a fraction between 0 and 1"),
        ({"test": "0.1"}, "must be a fraction between 0 and 1"),
        (
            {"test": 2, "stratify": "lable"},
            "stratify= names the column 'lable', which doesn't exist; did you mean 'label'?",
        ),
    ],
)
def test_an_impossible_split_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(DatasetError) as caught:
        dataset(["a", "b"] * 5).split(**arguments)
    assert message in str(caught.value)


def test_samples_keep_the_mix_and_takes_keep_the_front() -> None:
    whole = dataset(["a"] * 30 + ["b"] * 10)
    assert labels_of(whole.sample(8, seed=3)) == {"a": 6, "b": 2}
    assert texts(whole.sample(8, seed=3)) == texts(whole.sample(8, seed=3))
    assert texts(whole.take(2)) == ["email 0", "email 1"]
    for impossible in (0, 41):
        with pytest.raises(DatasetError, match=f"can't take {impossible} of 40 rows"):
            whole.take(impossible)
        with pytest.raises(DatasetError, match=f"can't take {impossible} of 40 rows"):
            whole.sample(impossible)


def test_parts_know_their_lines() -> None:
    part = dataset(["a", "b"] * 10).split(test=4, seed=7).test
    assert part is not None
    assert [f"email {part.line_of(i) - 1}" for i in range(4)] == texts(part)


def prompts(part: Dataset | None) -> set[str]:
    return {" ".join(text.split()).casefold() for text in texts(part)}


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["q1", "Q1", " q1 ", *map(str, range(12))]), st.sampled_from("xyz")), min_size=12
    ),
    st.integers(0, 1000),
    st.sampled_from(["auto", "label", None]),
)
def test_equal_prompts_stay_in_one_part(pairs: list[tuple[str, str]], seed: int, stratify: str | None) -> None:
    rows = [{"text": text, "label": label} for text, label in pairs]
    whole = Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{label}")
    try:
        parts = whole.split(validation=3, test=2, seed=seed, stratify=stratify)
    except DatasetError as error:
        assert len(prompts(whole)) < 3, error  # noqa: PT017
        return
    sets = [prompts(part) for part in parts]
    assert sum(map(len, sets)) == len(set.union(*sets)) == len(prompts(whole))
    assert sum(len(part or ()) for part in parts) == len(whole)


def test_duplicates_leave_a_part_about_as_large_as_asked() -> None:
    labels = [{"text": f"email {i // 2}", "label": "ab"[i % 4 // 2]} for i in range(200)]
    parts = Dataset.from_rows(labels).as_chat(prompt="{text}", completion="{label}").split(test=0.2, seed=3)
    assert len(parts.test or ()) == 40
    assert labels_of(parts.test) == {"a": 20, "b": 20}


def test_rows_of_one_group_stay_in_one_part_and_groups_can_be_ignored() -> None:
    rows = [{"text": f"email {i % 30}", "label": "x", "customer": i % 7} for i in range(60)]
    whole = Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{label}")
    with pytest.raises(DatasetError, match=r"test would be empty|train would be empty"):
        whole.split(test=10, group="customer")  # each customer shares prompts with the next
    table = Dataset.from_rows(rows).drop_duplicates(by="row")
    parts = table.split(test=10, seed=1, group="customer")
    assert not {row["customer"] for row in parts.train} & {row["customer"] for row in parts.test or ()}
    alone = whole.split(test=10, seed=1, group=None)
    assert prompts(alone.train) & prompts(alone.test)
    with pytest.raises(DatasetError, match="group= names the column 'custmer', which doesn't exist; did you mean"):
        whole.split(test=10, group="custmer")


def test_a_single_prompt_cannot_be_split() -> None:
    whole = Dataset.from_rows([{"text": "same", "label": "ab"[i % 2]} for i in range(10)])
    with pytest.raises(DatasetError, match="the 10 rows have 1 distinct prompts or groups"):
        whole.as_chat(prompt="{text}", completion="{label}").split(test=2)


def test_labels_that_differ_by_blanks_or_case_count_as_one_class() -> None:
    whole = dataset(["billing"] * 9 + ["billing "] + ["Returns"] * 6 + ["returns"] * 4)
    assert whole.summary().label_variants == (("billing", "billing "), ("Returns", "returns"))
    assert "'billing' and 'billing ' differ by case or blanks alone" in str(whole)
    assert sum(labels_of(whole.split(test=4, seed=2).test)[text] for text in ("billing", "billing ")) == 2
    assert dataset(["a", "b"]).summary().label_variants == ()
