from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ftsdk.data.forest import Forest, TrainedRow, computed_tokens, cut, plant

token = st.integers(0, 2)
"""Few kinds, so that rows have much in common."""


@st.composite
def a_row(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    ids = [*draw(st.sampled_from([[], [0] * 9, [0] * 9 + [1] * 9])), *draw(st.lists(token, min_size=1, max_size=12))]
    return ids, [id_ if draw(st.booleans()) else -100 for id_ in ids]


rows = st.lists(a_row(), min_size=1, max_size=8)


def trained(rows: list[tuple[list[int], list[int]]]) -> list[TrainedRow]:
    return [TrainedRow.of(ids, [label != -100 for label in labels]) for ids, labels in rows]


def seen_by(forest: Forest, at: int) -> set[int]:
    """What the token at an index sees, by the ranges of the segments."""
    return {
        earlier
        for segment in forest.segments
        for earlier in range(segment.start, segment.end)
        if earlier <= at < segment.subtree_end
    }


@given(rows, st.sampled_from([1, 8]))
def test_a_forest_has_every_row_and_its_tokens_see_nothing_else(
    given_rows: list[tuple[list[int], list[int]]], saved_at_least: int
) -> None:
    rows = trained(given_rows)
    forest = plant(rows, saved_at_least=saved_at_least)
    for n, row in enumerate(rows):
        places = forest.places(n)
        assert tuple(forest.tokens[at] for at in places) == row.tokens
        assert [forest.positions[at] for at in places] == list(range(len(row.tokens)))
        for position, at in enumerate(places):
            assert seen_by(forest, at) == set(places[: position + 1])
    assert len(forest.tokens) <= sum(len(row.tokens) for row in rows)


@given(rows)
def test_what_is_trained_is_what_the_labels_say(given_rows: list[tuple[list[int], list[int]]]) -> None:
    forest = plant(trained(given_rows))
    found = list(zip(forest.owners, forest.sources, forest.targets, strict=True))
    for n, (ids, labels) in enumerate(given_rows):
        places = forest.places(n)
        expected = [(n, places[k - 1], labels[k]) for k in range(1, len(ids)) if labels[k] != -100]
        assert [one for one in found if one[0] == n] == expected


def besides_beginning(rows: list[TrainedRow]) -> int:
    """The tokens of a piece, but for a beginning that all its rows share."""
    first, last = min(row.tokens for row in rows), max(row.tokens for row in rows)
    shared = next((n for n, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return len(plant(rows).tokens) - (shared if shared >= 8 else 0)


@given(rows, st.integers(1, 60))
def test_pieces_have_all_rows_and_no_more_tokens_than_a_row_or_the_most(
    given_rows: list[tuple[list[int], list[int]]], most: int
) -> None:
    rows = trained(given_rows)
    pieces = list(cut(rows, most))
    assert sorted(n for piece in pieces for n in piece) == list(range(len(rows)))
    for piece in pieces:
        # A shared segment that saves too little isn't shared.
        assert len(piece) == 1 or besides_beginning([rows[n] for n in piece]) < most + 8 * len(piece)


@given(rows, st.integers(1, 60))
def test_rows_that_belong_together_are_in_one_piece(given_rows: list[tuple[list[int], list[int]]], most: int) -> None:
    rows = [row for row in trained(given_rows) for _ in range(2)]
    pieces = list(cut(rows, most, together=2))
    assert sorted(n for piece in pieces for n in piece) == list(range(len(rows)))
    for piece in pieces:
        assert [n // 2 for n in piece[0::2]] == [n // 2 for n in piece[1::2]]
        assert all(n % 2 == 0 for n in piece[0::2])
        # Both of a pair are the same row, and so computed once.
        assert len(piece) == 2 or besides_beginning([rows[n] for n in piece]) < most + 8 * len(piece)


def test_the_instruction_of_a_step_is_computed_once() -> None:
    rows = [TrainedRow(tokens=(*range(70), 100 + n, 200 + n), targets=((71, 5),), length=73) for n in range(16)]
    assert computed_tokens(rows, 1000) == 70 + 2 * 16


def test_a_beginning_longer_than_a_piece_is_computed_once_too() -> None:
    rows = [
        TrainedRow(tokens=(*range(3000), *range(10000 * n, 10000 * n + 60)), targets=(), length=3061)
        for n in range(1, 17)
    ]
    assert computed_tokens(rows, 1024) == 3000 + 60 * 16
    assert computed_tokens(rows, 512) == 2 * 3000 + 60 * 16


def test_rows_that_continue_one_another_are_one_path() -> None:
    turns = [
        TrainedRow(tokens=tuple(range(10 * n)), targets=((10 * n - 1, 7),), length=10 * n + 1) for n in range(1, 30)
    ]
    forest = plant(turns)
    assert forest.tokens == tuple(range(290))
    assert forest.sources == tuple(10 * n - 1 for n in range(1, 30))


def test_a_beginning_too_short_to_pay_is_not_shared() -> None:
    rows = [TrainedRow(tokens=(1, 2, 3, n), targets=(), length=4) for n in range(2)]
    assert len(plant(rows).segments) == 2
