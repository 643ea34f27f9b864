"""Which rows a search for label errors looks at where there are too many for all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ftsdk.data.split import choose

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["label_sample"]

_MOST_ROWS = 50_000
_MOST_BYTES = 10_000_000
"""Of all texts together: their features take about 70 bytes each."""
_MOST_SCORES = 7_500_000
"""Rows times classes; each table of them has 8 bytes for one."""
_MOST_WORK = 400_000_000
"""Bytes times classes: about half a minute of processor time."""
_FEWEST_ROWS, _FEWEST_PER_CLASS = 2_000, 10
"""Rows below which a classifier learns too little; they are looked at whatever they cost."""


def label_sample(sizes: NDArray[Any], labels: Sequence[str], seed: int = 0) -> tuple[int, ...] | None:
    """Return the rows to look at, ascending, with each label in proportion; None: all of them.

    It bounds time and memory: 50,000 rows at most, fewer where texts are longer or classes more.

    Args:
        sizes: The bytes of each text.
        labels: The label of each text.
        seed: The same seed draws the same rows.
    """
    classes, bytes_of_all = len(set(labels)), max(1, int(sizes.sum()))
    limits = (
        _MOST_ROWS,
        _MOST_SCORES // classes,
        _MOST_BYTES * len(labels) // bytes_of_all,
        _MOST_WORK * len(labels) // (bytes_of_all * classes),
    )
    rows = max(min(limits), _FEWEST_ROWS, _FEWEST_PER_CLASS * classes)
    return None if len(labels) <= rows else choose(len(labels), [rows], seed, labels)[0]
