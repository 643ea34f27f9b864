"""Texts as points, and how far the mean of some lies from the mean of others: the maximum mean discrepancy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field

from ftsdk.deploy.drift.sketch import BUCKETS
from ftsdk.deploy.drift.tails import weighted_chi_square_above
from ftsdk.spec import Value

__all__ = ["Discrepancy", "Embedding"]

_FREQUENCIES = 64
_SEED = 20_261_128
_MOST_PAIRS = 2_000


class Discrepancy(Value):
    """How far the texts of a window lie from those of the training data."""

    share: float
    """The squared distance of the two means, without what chance adds, over the variance of the training texts: 0 for
    the same texts. A fifth of the texts from another field made 0.001 to 0.03 in our measurements, more where the
    training texts are alike."""
    p_value: float


class Embedding(Value):
    """What is kept of the training texts: the mean of their points, and how they scatter.

    The points are random Fourier features of a Gaussian kernel on sketches, whose mean determines the maximum mean
    discrepancy (Gretton et al., JMLR 13 (2012) 723-773; Rahimi and Recht, NIPS 2007).
    """

    rows: int
    bandwidth: Annotated[float, Field(gt=0)]
    """Of the kernel: the median distance of two training texts."""
    mean: tuple[float, ...]
    eigenvalues: tuple[float, ...]
    """Of the covariance of the points, the largest first."""

    @classmethod
    def of(cls, sketches: Any) -> Embedding | None:
        """Describe texts; None if all are alike.

        Args:
            sketches: Array of shape (n, 64), as `decode_sketch` returns them.
        """
        import numpy as np

        chance = np.random.default_rng(_SEED)
        one, other = chance.integers(0, len(sketches), size=(2, _MOST_PAIRS))
        distances = np.linalg.norm(sketches[one] - sketches[other], axis=1)
        apart = distances[distances > 1e-9]
        if not len(apart):
            return None
        bandwidth = float(np.median(apart))
        points = _points(sketches, bandwidth)
        eigenvalues = np.linalg.eigvalsh(np.cov(points, rowvar=False))[::-1]
        return cls(
            rows=len(sketches),
            bandwidth=bandwidth,
            mean=tuple(points.mean(axis=0).tolist()),
            eigenvalues=tuple(np.maximum(eigenvalues, 0.0).tolist()),
        )

    def compare(self, sketches: Any) -> Discrepancy:
        """Return how far other texts lie from these.

        Args:
            sketches: Array of shape (n, 64).
        """
        import numpy as np

        difference = _points(sketches, self.bandwidth).mean(axis=0) - np.asarray(self.mean)
        squared = float(difference @ difference)
        noise = 1 / len(sketches) + 1 / self.rows
        # Estimated from so many rows, the variances may be too small by chance; the far tail would show it.
        safety = 1 + 2 / self.rows**0.5
        total = sum(self.eigenvalues)
        return Discrepancy(
            share=max(0.0, squared - noise * total) / total,
            p_value=weighted_chi_square_above(squared / noise, [safety * value for value in self.eigenvalues]),
        )

    def most_typical(self, sketches: Any, n: int) -> Sequence[int]:
        """Return the positions of the texts that show most clearly how a window differs, the clearest first.

        Args:
            sketches: The texts of the window, array of shape (n, 64).
            n: How many.
        """
        import numpy as np

        points = _points(sketches, self.bandwidth)
        witness = points @ (points.mean(axis=0) - np.asarray(self.mean))
        return np.argsort(-witness, kind="stable")[:n].tolist()


def _points(sketches: Any, bandwidth: float) -> Any:
    import numpy as np

    frequencies = np.random.default_rng(_SEED).standard_normal((BUCKETS, _FREQUENCIES)) / bandwidth
    angles = np.asarray(sketches) @ frequencies
    return np.hstack([np.cos(angles), np.sin(angles)]) / _FREQUENCIES**0.5
