"""Leaks between two sets: every planted one is found, and templates and labels are none."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ftsdk.data.duplicates.containment import contained_answers
from ftsdk.data.duplicates.leaks import Asked, find_leaks


def text(seed: int, count: int = 40) -> str:
    draw = random.Random(seed)
    return " ".join(f"word{draw.randrange(3000)}" for _ in range(count))


PLANTED = st.tuples(st.integers(0, 99), st.sampled_from(["row", "near row", "prompt", "near prompt"]))
LEARNED = Asked([text(n) for n in range(100)], ["ab"[n % 2] for n in range(100)])


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.tuples(st.integers(0, 99), st.sampled_from(["row", "near row", "prompt", "near prompt"])), max_size=20)
)
def test_every_planted_leak_is_found_with_its_row(planted: list[tuple[int, str]]) -> None:
    judged = Asked(
        [LEARNED.prompts[row].upper() + (" indeed" if "near" in kind else "") for row, kind in planted] + [text(999)],
        [LEARNED.answers[row] if "row" in kind else "c" for row, kind in planted] + ["a"],
    )
    found = find_leaks(judged, LEARNED)
    assert [(leak.position, leak.other, leak.kind) for leak in found] == [
        (position, row, kind) for position, (row, kind) in enumerate(planted)
    ]
    assert all(leak.is_certain == ("row" in leak.kind) and 0.7 <= leak.similarity <= 1 for leak in found)


def test_an_answer_inside_another_row_is_found_by_n_grams() -> None:
    learned = Asked(["q1", "q2", f"context: {text(3, 20)}"], [text(1, 30), f"well, {text(2, 30)} and so on", "ok"])
    judged = Asked(["x", "y", "z", "u"], [text(1, 30), text(2, 30), text(3, 10), "ok"])
    assert [leak[:3] for leak in find_leaks(judged, learned)] == [
        ("13-gram answer", 0, 0),
        ("13-gram answer", 1, 1),
        ("8-gram answer", 2, 2),
    ]


def test_labels_and_standard_replies_are_no_leak() -> None:
    reply = text(5, 30)
    learned = Asked([text(n) for n in range(5)], [reply, reply, "billing", "billing", "returns"])
    judged = Asked([text(n) for n in range(10, 14)], [reply, reply, "billing", "returns"])
    assert find_leaks(judged, learned) == ()


def test_a_template_with_the_same_label_is_no_leak() -> None:
    task = text(0, 60)
    asked = [f"{task} {text(n, 8)}" for n in range(1, 61)]
    assert find_leaks(Asked(asked[:20], ["yes"] * 20), Asked(asked[20:], ["yes"] * 40)) == ()


def test_of_rows_with_one_wording_the_one_with_the_same_answer_is_named() -> None:
    learned = Asked([text(1)] * 12 + [text(2)], [*"abcdefghijkl", "x"])
    (leak,) = find_leaks(Asked([text(1) + " indeed"], ["k"]), learned)
    assert (leak.kind, leak.other) == ("near row", 10)


@pytest.mark.parametrize("judged", [Asked([], []), Asked([""], [""]), Asked([text(7)], [text(8)])])
@pytest.mark.parametrize("learned", [Asked([], []), Asked(["x"], ["y"])])
def test_empty_sets_have_no_leaks(judged: Asked, learned: Asked) -> None:
    assert find_leaks(judged, learned) == ()


def test_containment_is_a_share_of_different_n_grams() -> None:
    (one,) = contained_answers(["a b c d e f g h x"], ["no", "A b c d  e f g h"], n=3, at_least=0.5)
    assert one[:2] == (0, 1)
    assert one.share == pytest.approx(6 / 7)
