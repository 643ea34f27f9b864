from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="the extra 'local' isn't installed")
from ftsdk.backends.trainers.trl.order import StepsSortedByBeginning, StepsSortedByLength

lengths = st.lists(st.integers(1, 500), min_size=1, max_size=60)


@given(lengths, st.integers(1, 9), st.integers(0, 99), st.integers(0, 3))
def test_every_row_comes_once_an_epoch_and_steps_run_from_long_to_short(
    sizes: list[int], step: int, seed: int, epoch: int
) -> None:
    order = StepsSortedByLength(sizes, step_rows=step, seed=seed)
    order.set_epoch(epoch)
    rows = list(order)
    assert sorted(rows) == list(range(len(sizes)))
    for start in range(0, len(rows), step):
        in_step = [sizes[row] for row in rows[start : start + step]]
        assert in_step == sorted(in_step, reverse=True)


@given(lengths, st.integers(0, 99))
def test_sorting_changes_no_steps_rows(sizes: list[int], seed: int) -> None:
    def steps(of: list[int]) -> list[set[int]]:
        rows = list(StepsSortedByLength(of, step_rows=4, seed=seed))
        return [set(rows[start : start + 4]) for start in range(0, len(rows), 4)]

    assert steps(sizes) == steps([1] * len(sizes))


def test_an_epoch_has_an_order_of_its_own_that_can_be_had_again() -> None:
    order = StepsSortedByLength([1] * 50, step_rows=1, seed=3)
    first = list(order)
    order.set_epoch(1)
    second = list(order)
    order.set_epoch(0)
    assert first != second
    assert list(order) == first


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=40), st.integers(1, 9))
def test_neighbours_in_a_step_begin_alike_and_steps_keep_their_rows(ids: list[list[int]], step: int) -> None:
    by_beginning = list(StepsSortedByBeginning(ids, step_rows=step, seed=1))
    by_length = list(StepsSortedByLength([len(row) for row in ids], step_rows=step, seed=1))
    for start in range(0, len(ids), step):
        in_step = by_beginning[start : start + step]
        assert set(in_step) == set(by_length[start : start + step])
        assert [ids[row] for row in in_step] == sorted(ids[row] for row in in_step)


def test_pairs_of_several_processes_are_shared_out_with_both_of_their_answers() -> None:
    ids = [[n] * 4 for n in range(8)]
    besides = [100, 100, 100, 100, 0, 0, 0, 0]

    def heaviest(extra: list[int] | None) -> int:
        order = list(StepsSortedByBeginning(ids, step_rows=8, seed=0, processes=2, besides_N=extra))
        return max(sum(besides[row] for row in share) for share in (order[:4], order[4:]))

    assert heaviest(None) == 400
    assert heaviest(besides) == 200
