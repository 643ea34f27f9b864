"""Examples in groups that are alike: the groups, not the examples, are what was drawn by chance."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from ftsdk.errors import SpecError

__all__ = ["ClusteredMean", "Groups", "clustered_mean", "positions_by_group"]

Groups = Sequence[Hashable] | None
"""The group of each example; examples of one group are alike, such as the mails of one customer. None: no groups."""


@dataclass(frozen=True)
class ClusteredMean:
    """A mean of grouped values and how sure it is."""

    mean: float
    standard_error: float
    """Infinite for a single group."""
    degrees: float
    """Degrees of freedom of Student's t."""
    clusters: int
    skewness: float
    """Of the sums of the groups' deviations."""


def positions_by_group(n: int, groups: Groups) -> list[list[int]]:
    """Return the positions of each group's examples; without groups, each example is one.

    Raises:
        SpecError: Not one group for each example.
    """
    if groups is None:
        return [[index] for index in range(n)]
    if len(groups) != n:
        raise SpecError(f"groups must have one entry for each of the {n} examples; got {len(groups)}")
    found: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        found.setdefault(group, []).append(index)
    return list(found.values())


def clustered_mean(values: Sequence[float], groups: Groups) -> ClusteredMean:
    """Return the mean of all values with a standard error that holds where the values of a group are alike.

    Without groups these are the usual standard error and n - 1 degrees of freedom.

    Source: Miller, "Adding Error Bars to Evals" (2024), section 2.2, corrected for few groups of different sizes: the
    variance CR2 and its degrees of freedom by Bell and McCaffrey, Survey Methodology 28 (2002) 169-181, worked out for
    a mean.
    """
    clusters = positions_by_group(len(values), groups)
    n, mean = len(values), math.fsum(values) / len(values)
    if len(clusters) < 2:
        return ClusteredMean(mean, math.inf, 0.0, 1, 0.0)
    shares = [len(cluster) / n for cluster in clusters]
    # 1 / (1 - share) makes the variance unbiased where values of a group are not alike after all.
    deviations = [
        math.fsum(values[index] - mean for index in cluster) / math.sqrt(1 - share)
        for cluster, share in zip(clusters, shares, strict=True)
    ]
    # As parts of the largest, whose square may be too large for a float.
    largest = max(map(abs, deviations)) or 1.0
    squares = math.fsum((deviation / largest) ** 2 for deviation in deviations)
    # The degrees of freedom are (sum b_gg)^2 / sum b_gh^2 for the products b of the groups' weights.
    diagonal = math.fsum(share**2 for share in shares)
    ratios = math.fsum(share**2 / (1 - share) for share in shares)
    own = math.fsum((share**2 / (1 - share)) ** 2 for share in shares)
    degrees = 1 / (diagonal + ratios**2 - own)
    typical = largest * math.sqrt(squares / len(deviations))
    cubes = math.fsum((deviation / typical) ** 3 for deviation in deviations) if typical > 0 else 0.0
    error = largest * math.sqrt(squares) / n
    return ClusteredMean(mean, error, degrees, len(clusters), cubes / len(deviations))
