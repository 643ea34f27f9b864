"""Sets of rows that were joined pair by pair."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ftsdk.data.duplicates.shingles import Positions

__all__ = ["Components"]


class Components:
    """Sets of rows that were joined; the smallest member names each."""

    def __init__(self, count: int) -> None:
        """Begin with so many rows, each alone."""
        self._parent = np.arange(count)

    def roots(self, members: Positions | None = None) -> Positions:
        """Return the name of each row's set. None: of all rows."""
        found = self._parent if members is None else members
        while True:
            above = self._parent[found]
            if np.array_equal(above, found):
                return found
            found = above

    def are_joined(self, left: Positions, right: Positions) -> NDArray[np.bool_]:
        """Return of each pair whether it is in one set."""
        return self.roots(left) == self.roots(right)

    def apart(self, left: Positions, right: Positions) -> Iterator[tuple[Positions, Positions]]:
        """Return those of the pairs that aren't joined, if any."""
        is_apart = ~self.are_joined(left, right)
        if is_apart.any():
            yield left[is_apart], right[is_apart]

    def join(self, left: Positions, right: Positions) -> None:
        """Join the sets of each pair."""
        one, other = self.roots(left), self.roots(right)
        while not np.array_equal(one, other):
            low, high = np.minimum(one, other), np.maximum(one, other)
            # Roots point to a smaller root; where several pairs ask for it, the smallest wins and the rest goes on.
            np.minimum.at(self._parent, high, low)
            one, other = self.roots(left), self.roots(right)
