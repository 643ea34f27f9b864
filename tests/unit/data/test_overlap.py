"""Overlap between what a model learns from and what it is judged by."""

from __future__ import annotations

from ftsdk.data import Dataset, JudgedBy, data_notes


def chat(pairs: list[tuple[str, str]]) -> Dataset:
    return Dataset.from_rows([{"prompt": prompt, "completion": answer} for prompt, answer in pairs])


TRAIN = chat([("a", "1"), ("b", "2"), ("c", "3")])


def test_parts_without_overlap_have_no_notes() -> None:
    other = chat([("d", "1"), ("e", "2")])
    assert data_notes(TRAIN, other, [JudgedBy("the eval 'x'", chat([("f", "1")]).rows, "chat")]) == ()


def test_rows_and_prompts_in_two_parts_are_counted() -> None:
    validation = chat([("a", "1"), ("b", "other"), ("d", "4")])
    judged = JudgedBy("the eval 'accuracy'", chat([("c", "3"), ("d", "4")]).rows, "chat")
    notes = data_notes(TRAIN, validation, [judged])
    assert [note.partition(":")[0] for note in notes] == [
        "2 of the 3 prompts of validation are also in train, 1 with the same answer",
        "1 of the 2 prompts of the eval 'accuracy' is also in train, 1 with the same answer",
        "1 of the 2 prompts of the eval 'accuracy' is also in validation, 1 with the same answer",
    ]


def test_prompts_of_pairs_and_of_chats_are_compared() -> None:
    pairs = Dataset.from_rows([{"prompt": "a", "chosen": "x", "rejected": "y"}])
    notes = data_notes(pairs, None, [JudgedBy("the eval 'x'", TRAIN.rows, "chat")])
    assert [note.partition(":")[0] for note in notes] == [
        "1 of the 3 prompts of the eval 'x' is also in train, 0 with the same answer"
    ]


def test_labels_that_are_probably_one_are_noted() -> None:
    train = chat([(str(i), "billing " if i % 3 else "billing") for i in range(9)])
    assert data_notes(train, None, [])[0].startswith("train has labels that differ by case or blanks alone")
