from __future__ import annotations

import random

from hypothesis import given
from hypothesis import strategies as st

from ftsdk.data.fair_shares import shared_out
from ftsdk.data.forest import TrainedRow, plant


def computed(rows: list[list[int]]) -> int:
    return len(plant([TrainedRow(tokens=tuple(row), targets=(), length=len(row)) for row in rows]).tokens)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=30), min_size=1, max_size=6), st.integers(1, 3))
def test_each_share_has_as_many_rows_in_order(rows: list[list[int]], shares: int) -> None:
    rows = rows * shares
    found = shared_out(rows, shares)
    assert sorted(n for share in found for n in share) == list(range(len(rows)))
    for share in found:
        assert len(share) == len(rows) // shares
        assert [rows[n] for n in share] == sorted(rows[n] for n in share)


def test_no_process_has_much_more_to_compute_than_another() -> None:
    draw = random.Random(0)
    # Half of the rows have a long beginning in common, and the others are long.
    beginning = list(range(100))
    rows = [[*beginning, *(draw.randrange(1000, 2000) for _ in range(10))] for _ in range(8)]
    rows += [[draw.randrange(1000, 2000) for _ in range(draw.randrange(60, 200))] for _ in range(8)]
    in_order = sorted(rows)
    sorted_only = [computed(in_order[:8]), computed(in_order[8:])]
    weights = [computed([rows[n] for n in share]) for share in shared_out(rows, 2)]
    assert max(sorted_only) > 1.5 * min(sorted_only)
    assert max(weights) < 1.1 * min(weights)
    assert max(weights) < max(sorted_only)
