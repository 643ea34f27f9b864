"""Which rows a plan renders."""

from __future__ import annotations

from ftsdk.data.render_trial import sample_of


def _rows(lengths: list[int]) -> list[dict[str, object]]:
    return [{"messages": [{"role": "user", "content": "x" * length}]} for length in lengths]


def test_small_data_is_rendered_whole() -> None:
    assert sample_of(_rows([10] * 2000)) == (list(range(2000)), [])


def test_large_data_is_sampled_from_everywhere_with_its_longest_rows() -> None:
    lengths = [10] * 100_000
    lengths[54_321] = 5000
    sample, longest = sample_of(_rows(lengths))
    assert len(sample) == 500
    assert sample[0] == 0
    assert sample[-1] >= 99_000
    assert 54_321 in longest
    assert len(longest) == 10


def test_the_sample_of_long_rows_is_bounded_by_characters() -> None:
    sample, longest = sample_of(_rows([100_000] * 1000))
    assert len(sample) == 20
    assert len(longest) == 10
    assert sample_of(_rows([5_000_000] * 2)) == ([0], [])
