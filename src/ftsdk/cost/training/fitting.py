"""How far predictions are off on a device, from steps measured on it: the most likely factors and their uncertainty.

Pure.

A step has three parts: device, host and optimizer. Each is off by a factor of its own, whose prior is the spread of the
time model. A measured step informs the factor of the part that it is bound by, and the others little; short and long
rows together separate the parts. So what a small model shows of the host doesn't narrow the interval of a large one,
which is bound by the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ftsdk.protocol.estimates import StepParts

__all__ = ["Fit", "MemoryFit", "MemorySample", "Priors", "Sample", "fit_memory", "fit_time"]

_OWN = 0.06
"""Standard deviation of log(measured / predicted) of one probe with the same tuning."""
_OTHER = 0.45
"""The same with another tuning: adapters, 4-bit weights and full fine-tuning run other kernels."""
_HELD = 2.0
"""Standard deviations beyond which a probe counts less: something else was running."""
_ROUNDS = 30


@dataclass(frozen=True, kw_only=True)
class Priors:
    """Standard deviations of the logarithms of the factors, before anything was measured."""

    device: float
    host: float
    optimizer: float


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One measured step."""

    parts: StepParts
    measured_s: float
    is_same_tuning: bool


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Factors by which each part of a step takes longer than predicted, and their uncertainty."""

    device: float
    host: float
    optimizer: float
    covariance: tuple[tuple[float, float, float], ...]
    """Covariance of the logarithms of the three factors."""
    residual: float
    """Standard deviation that remains, however much was measured."""

    def seconds(self, parts: StepParts) -> float:
        """Return the seconds of a step of these parts."""
        return _seconds(parts, (math.log(self.device), math.log(self.host), math.log(self.optimizer)))

    def spread(self, parts: StepParts) -> float:
        """Return the standard deviation of log(measured / predicted) for a step of these parts."""
        shares = _shares(parts, (math.log(self.device), math.log(self.host), math.log(self.optimizer)))
        known = sum(shares[i] * shares[j] * self.covariance[i][j] for i in range(3) for j in range(3))
        return math.sqrt(max(0.0, known) + self.residual**2)


def fit_time(samples: Sequence[Sample], priors: Priors) -> Fit:
    """Find the most likely factors, and their covariance (Gauss-Newton on logarithms; outliers count less).

    Args:
        samples: Measured steps; without any, the priors are returned.
        priors: What is known before anything was measured.
    """

    def terms(theta: Sequence[float]) -> list[_Term]:
        now = (theta[0], theta[1], theta[2])
        return [
            _Term(
                math.log(s.measured_s / _seconds(s.parts, now)),
                _OWN if s.is_same_tuning else _OTHER,
                _shares(s.parts, now),
            )
            for s in samples
        ]

    theta, covariance = _most_likely((priors.device, priors.host, priors.optimizer), terms)
    is_own = any(sample.is_same_tuning for sample in samples)
    return Fit(
        device=math.exp(theta[0]),
        host=math.exp(theta[1]),
        optimizer=math.exp(theta[2]),
        covariance=tuple((row[0], row[1], row[2]) for row in covariance),
        residual=_OWN if is_own else _OTHER,
    )


@dataclass(frozen=True, kw_only=True)
class MemorySample:
    """One measured peak, in GB."""

    fixed_gb: float
    """Predicted: weights, optimizer states, context."""
    varying_gb: float
    """Predicted: what grows with the tokens of a micro-batch."""
    measured_gb: float
    is_same_tuning: bool


@dataclass(frozen=True, kw_only=True)
class MemoryFit:
    """How far the peak is off: an offset, and a factor on what grows with the tokens."""

    offset_gb: float
    factor: float
    covariance: tuple[tuple[float, float], ...]
    """Covariance of the offset in GB and the logarithm of the factor."""
    residual: float

    def gb(self, fixed_gb: float, varying_gb: float) -> float:
        """Return the peak in GB."""
        return max(0.05, fixed_gb + self.offset_gb + varying_gb * self.factor)

    def spread(self, fixed_gb: float, varying_gb: float) -> float:
        """Return the standard deviation of log(measured / predicted)."""
        peak, grows = self.gb(fixed_gb, varying_gb), varying_gb * self.factor
        (a, b), (_, c) = self.covariance
        return math.sqrt(max(0.0, a + 2 * b * grows + c * grows**2) / peak**2 + self.residual**2)


def fit_memory(samples: Sequence[MemorySample], *, spread: float) -> MemoryFit:
    """Find the most likely offset and factor.

    Args:
        samples: Measured peaks.
        spread: Standard deviation of log(measured / predicted) before anything was measured.
    """
    own, other = 0.03, 0.15
    largest = max((sample.measured_gb for sample in samples), default=1.0)

    def terms(theta: Sequence[float]) -> list[_Term]:
        found: list[_Term] = []
        for sample in samples:
            grows = sample.varying_gb * math.exp(theta[1])
            off = sample.measured_gb - (sample.fixed_gb + theta[0] + grows)
            found.append(_Term(off, (own if sample.is_same_tuning else other) * sample.measured_gb, (1.0, grows)))
        return found

    theta, covariance = _most_likely((max(0.5, spread * largest), max(0.4, 2 * spread)), terms)
    is_own = any(sample.is_same_tuning for sample in samples)
    return MemoryFit(
        offset_gb=theta[0],
        factor=math.exp(theta[1]),
        covariance=tuple((row[0], row[1]) for row in covariance),
        residual=own if is_own else other,
    )


class _Term(NamedTuple):
    """One measurement, linearised."""

    off: float
    """Measured less predicted."""
    sigma: float
    slope: Sequence[float]
    """Change of the prediction with each unknown."""


def _most_likely(
    spreads: Sequence[float], terms: Callable[[Sequence[float]], list[_Term]]
) -> tuple[list[float], list[list[float]]]:
    """Find the unknowns and their covariance (Gauss-Newton; outliers count less).

    Args:
        spreads: Standard deviations of the unknowns around 0 before anything was measured.
        terms: The measurements, linearised at given unknowns.
    """
    import numpy as np

    before = np.array(spreads) ** -2.0
    theta: Any = np.zeros(len(spreads))
    precision: Any = np.diag(before)
    for _ in range(_ROUNDS):
        precision, gradient = np.diag(before), -before * theta
        for off, sigma, slope in terms(theta.tolist()):
            weight = min(1.0, _HELD * sigma / abs(off)) / sigma**2 if off else 1 / sigma**2
            precision = precision + weight * np.outer(slope, slope)
            gradient = gradient + weight * off * np.array(slope)
        # Never far at once: the model isn't linear where a factor is far off.
        change = np.clip(np.linalg.solve(precision, gradient), -1.0, 1.0)
        theta = theta + change
        if float(np.abs(change).max()) < 1e-9:
            break
    return theta.tolist(), np.linalg.inv(precision).tolist()


def _seconds(parts: StepParts, theta: tuple[float, float, float]) -> float:
    device, host = parts.device_s * math.exp(theta[0]), parts.host_s * math.exp(theta[1])
    return (device**parts.overlap + host**parts.overlap) ** (1 / parts.overlap) + parts.optimizer_s * math.exp(theta[2])


def _shares(parts: StepParts, theta: tuple[float, float, float]) -> tuple[float, float, float]:
    """Return the change of log(time) with the logarithm of each factor."""
    device, host, optimizer = (
        parts.device_s * math.exp(theta[0]),
        parts.host_s * math.exp(theta[1]),
        parts.optimizer_s * math.exp(theta[2]),
    )
    powers = device**parts.overlap, host**parts.overlap
    busy = sum(powers) ** (1 / parts.overlap)
    whole = busy + optimizer
    return busy / whole * powers[0] / sum(powers), busy / whole * powers[1] / sum(powers), optimizer / whole
