"""What a model learns from and is judged by at once."""

from __future__ import annotations

import random

import pytest

from ftsdk.data import Dataset, JudgedBy, data_notes, leaks_of
from ftsdk.errors import DatasetError


def chat(pairs: list[tuple[str, str]]) -> Dataset:
    return Dataset.from_rows([{"prompt": prompt, "completion": answer} for prompt, answer in pairs])


def words(seed: int, count: int = 40) -> str:
    draw = random.Random(seed)
    return " ".join(f"word{draw.randrange(3000)}" for _ in range(count))


TRAIN = chat([("a", "1"), ("b", "2"), ("c", "3")])
ALL = ("validation", "evals.accuracy", "evals.x")


def test_parts_without_overlap_have_no_notes() -> None:
    other = chat([("d", "1"), ("e", "2")])
    assert data_notes(TRAIN, other, [JudgedBy("evals.x", chat([("f", "1")]).rows)]) == ()


def test_rows_and_prompts_in_two_parts_are_counted() -> None:
    validation = chat([("a", "1"), ("b", "other"), ("d", "4")])
    judged = JudgedBy("evals.accuracy", chat([("c", "3"), ("d", "4")]).rows)
    notes = data_notes(TRAIN, validation, [judged], allow_leaks=ALL)
    assert [note.partition(":")[0] for note in notes] == [
        "2 of the 3 prompts of validation are also in train, 1 with the same answer",
        "1 of the 2 prompts of the eval 'accuracy' is also in train, 1 with the same answer",
        "1 of the 2 prompts of the eval 'accuracy' is also in validation, 1 with the same answer",
    ]
    assert "(its row 1 and row 1; its row 2 and row 2)" in notes[0]


def test_prompts_of_pairs_and_of_chats_are_compared() -> None:
    pairs = Dataset.from_rows([{"prompt": "a", "chosen": "x", "rejected": "y"}])
    notes = data_notes(pairs, None, [JudgedBy("evals.x", TRAIN.rows)])
    assert [note.partition(":")[0] for note in notes] == [
        "1 of the 3 prompts of the eval 'x' is also in train, 0 with the same answer"
    ]


def test_the_same_row_in_two_parts_is_refused_by_name() -> None:
    judged = JudgedBy("evals.accuracy", chat([("A ", "1"), ("z", "2")]))
    with pytest.raises(DatasetError) as caught:
        data_notes(TRAIN, chat([("b", "2")]), [judged])
    message = str(caught.value)
    assert "validation has 1 row that train also has (its row 1 and row 2)" in message
    assert "the eval 'accuracy' has 1 row that train also has (its row 1 and row 1)" in message
    assert "allow_leaks=['validation', 'evals.accuracy'] trains all the same" in message
    with pytest.raises(DatasetError, match=r"allow_leaks=\['evals.accuracy'\]"):
        data_notes(TRAIN, chat([("b", "2")]), [judged], allow_leaks=["validation"])


def test_an_almost_equal_prompt_with_the_same_answer_is_refused() -> None:
    train = chat([(words(n), "yes") for n in range(20)])
    judged = JudgedBy("evals.x", chat([(words(3) + " indeed", "yes"), (words(4) + " indeed", "no")]))
    assert [(leak.kind, leak.position, leak.other) for leak in leaks_of(judged, train)] == [
        ("near row", 0, 3),
        ("near prompt", 1, 4),
    ]
    with pytest.raises(DatasetError, match=r"1 near-duplicate of rows in train .*row 1 and row 4, similarity 0\.97"):
        data_notes(train, None, [judged])


def test_short_answers_and_prompts_of_one_template_are_no_leak() -> None:
    task = words(0, 60)
    train = chat([(f"{task} {words(n, 5)}", "billing") for n in range(1, 40)])
    judged = JudgedBy("evals.x", chat([(f"{task} {words(n, 5)}", "billing") for n in range(40, 60)]))
    assert data_notes(train, None, [judged]) == ()


def test_parts_of_a_split_are_never_refused() -> None:
    # Three templates, whose rows are near-duplicates of each other.
    rows = [{"prompt": f"{words(n % 3, 60)} order {n}", "completion": "yes"} for n in range(90)]
    for seed in range(3):
        parts = Dataset.from_rows(rows).split(validation=0.2, test=0.2, seed=seed)
        assert data_notes(parts.train, parts.validation, [JudgedBy("evals.x", parts.test)]) == ()


def test_a_chain_of_near_duplicates_too_long_to_stay_together_is_noted() -> None:
    # Each row shares 50 of its 60 words with the next: one cluster of all rows, which no split can keep together.
    text = words(0, 7050).split()
    rows = [{"prompt": " ".join(text[10 * n : 10 * n + 60]), "completion": "yes"} for n in range(700)]
    parts = Dataset.from_rows(rows).split(test=0.2)
    judged = JudgedBy("evals.x", parts.test)
    (note,) = data_notes(parts.train, None, [judged])
    assert "near-duplicates of one in train" in note
    # The same rows that come from elsewhere are refused.
    with pytest.raises(DatasetError, match="near-duplicates of rows in train with the same answer"):
        data_notes(parts.train, None, [judged._replace(rows=Dataset.from_rows(list(parts.test)))])


def test_labels_that_are_probably_one_are_noted() -> None:
    train = chat([(str(i), "billing " if i % 3 else "billing") for i in range(9)])
    assert data_notes(train, None, [])[0].startswith("train has labels that differ by case or blanks alone")
