"""Fit the time model to published runs, and print the constants as in constants.yaml and devices.yaml.

A prior holds each constant near what data sheets and arithmetic say, so that a constant on which few runs bear doesn't
run away. Errors beyond two spreads count linearly: a run that is off for a reason of its own doesn't bend the rest.

    python benchmarks/fit_training.py
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from training_rows import Row, read_rows

from ftsdk.cost.training.constants import TimeConstants, time_constants
from ftsdk.cost.training.step_time import step_time

PRIORS = {
    # name: (middle, spread of its logarithm)
    "launch_ms": (0.9, 0.5),
    "launch_full": (0.6, 0.3),
    "launch_compiled": (0.6, 0.4),
    "traffic_bytes": (150.0, 0.5),
    "traffic_compiled": (0.35, 0.3),
    "traffic_full": (0.35, 0.3),
    "width_half": (300.0, 0.7),
    "dequantise_bytes": (9.0, 0.7),
    "optimizer_bytes": (28.0, 0.6),
    "deepspeed_bytes": (24.0, 0.8),
    "link_share": (0.5, 0.4),
    "shard_factor": (1.15, 0.2),
    "share:ampere": (0.62, 0.12),
    # Few runs of many stacks: held near what they gave before one slow model was told apart from the card.
    "share:hopper": (0.46, 0.05),
    # From the vendor's own table: Llama 3 8B in fp8 makes 30,624 tokens/s on a B200 and 14,451 on an H100, a ratio of
    # 2.12, which is 0.93 of that of their peaks.
    # https://github.com/NVIDIA-NeMo/Megatron-Bridge/blob/00b7660be0254ac6f95f44164ddd0c3e9cc798ed/docs/performance-summary.md
    "share:blackwell": (0.43, 0.03),
    "share:ada": (0.5, 0.2),
    "share:geforce": (0.75, 0.12),
    # What a model's own code costs on every device, so that it isn't taken for a device's share of its peak.
    "slowdown:google/gemma-4-31B-it": (1.5, 0.5),
}
_SPREAD = 0.10
_BEYOND = 2.0

Fitted = dict[str, float]


def predicted_s(row: Row, fitted: Fitted) -> float:
    constants: TimeConstants = replace(
        time_constants(), **{name: value for name, value in fitted.items() if ":" not in name}
    )
    device = replace(row.device, efficiency=fitted.get(f"share:{row.device.family}", row.device.efficiency))
    shape = replace(row.shape, slowdown=fitted.get(f"slowdown:{row.shape.name}", row.shape.slowdown))
    return step_time(row.step, shape, device, constants).total_s


def error(row: Row, fitted: Fitted) -> float:
    """Relative error of the predicted time."""
    assert row.measured_s is not None
    return predicted_s(row, fitted) / row.measured_s - 1


def fit(rows: Sequence[Row], *, rounds: int = 25, start: Fitted | None = None) -> Fitted:
    """Least squares on log time, in the logarithms of the constants."""

    def off(fitted: Fitted) -> np.ndarray:
        return np.array([math.log(predicted_s(row, fitted) / (row.measured_s or 1)) for row in rows]) / _SPREAD

    return solve(off, PRIORS, rounds=rounds, start=start)


def solve(
    misses: Callable[[Fitted], np.ndarray],
    priors: Mapping[str, tuple[float, float]],
    *,
    rounds: int = 25,
    start: Fitted | None = None,
) -> Fitted:
    """Levenberg and Marquardt's method, in the logarithms of the constants; `misses` counts in spreads."""
    names = list(priors)
    middle = np.array([math.log(priors[name][0]) for name in names])
    width = np.array([priors[name][1] for name in names])
    at = middle if start is None else np.array([math.log(start[name]) for name in names])

    def residuals(at: np.ndarray) -> np.ndarray:
        off = misses({name: math.exp(value) for name, value in zip(names, at, strict=True)})
        size = np.abs(off)
        off = np.where(size <= _BEYOND, off, np.sign(off) * np.sqrt(np.maximum(2 * _BEYOND * size - _BEYOND**2, 0)))
        return np.concatenate([off, (at - middle) / width])

    damping, here = 1e-2, residuals(at)
    for _ in range(rounds):
        slopes = np.empty((len(here), len(at)))
        for column in range(len(at)):
            beside = at.copy()
            beside[column] += 1e-5
            slopes[:, column] = (residuals(beside) - here) / 1e-5
        while damping < 1e6:
            move = -np.linalg.solve(slopes.T @ slopes + damping * np.eye(len(at)), slopes.T @ here)
            there = residuals(at + move)
            if there @ there < here @ here:
                break
            damping *= 4
        else:
            break
        at, here, damping = at + move, there, damping / 3
        if np.abs(move).max() < 1e-4:
            break
    return {name: math.exp(value) for name, value in zip(names, at, strict=True)}


def timed(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.measured_s is not None]


def leaving_one_row_out(rows: Sequence[Row], fitted: Fitted) -> list[float]:
    return [error(row, fit([other for other in rows if other is not row], rounds=6, start=fitted)) for row in rows]


def leaving_one_source_out(rows: Sequence[Row]) -> list[float | None]:
    """Errors on each source by a fit to the others; None where no other source has the kind of device."""
    fits = {source: fit([row for row in rows if row.source != source]) for source in {row.source for row in rows}}
    others = {source: {row.device.family for row in rows if row.source != source} for source in fits}
    return [error(row, fits[row.source]) if row.device.family in others[row.source] else None for row in rows]


if __name__ == "__main__":
    for name, value in fit(timed(read_rows())).items():
        print(f"{name}: {value:.4g}")
