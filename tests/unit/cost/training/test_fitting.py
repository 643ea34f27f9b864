"""What measured steps and peaks say of a device, and what they leave open."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ftsdk.cost.training.fitting import MemorySample, Priors, Sample, fit_memory, fit_time
from ftsdk.protocol.estimates import StepParts

WIDE = Priors(device=0.8, host=1.8, optimizer=1.5)
SHORT = StepParts(device_s=0.5, host_s=0.5, optimizer_s=0.01, overlap=1.5)
LONG = StepParts(device_s=8.0, host_s=0.5, optimizer_s=0.01, overlap=1.5)


def taken(parts: StepParts, device: float, host: float) -> float:
    return parts.replace(device_s=parts.device_s * device, host_s=parts.host_s * host).seconds


def sample(parts: StepParts, seconds: float, *, same: bool = True) -> Sample:
    return Sample(parts=parts, measured_s=seconds, is_same_tuning=same)


@given(device=st.floats(0.25, 4), host=st.floats(0.25, 4))
def test_short_and_long_rows_together_tell_the_device_from_its_host(device: float, host: float) -> None:
    fit = fit_time([sample(parts, taken(parts, device, host)) for parts in (SHORT, LONG)], WIDE)
    for tokens in (0.7, 2.0, 6.0):
        between = SHORT.replace(device_s=tokens)
        assert fit.seconds(between) == pytest.approx(taken(between, device, host), rel=0.08)
        assert fit.spread(between) < 0.15


def test_nothing_measured_is_what_was_known_before() -> None:
    fit = fit_time([], WIDE)
    assert (fit.device, fit.host, fit.optimizer) == (1, 1, 1)
    assert fit.seconds(LONG) == pytest.approx(LONG.seconds)
    assert fit.spread(LONG) > 0.7


def test_host_delays_narrow_nothing_for_device_time() -> None:
    tiny = StepParts(device_s=0.02, host_s=1.0, overlap=1.5)
    fit = fit_time([sample(tiny, 3.0)] * 5, WIDE)
    assert fit.host == pytest.approx(3.0, rel=0.05)
    assert fit.spread(tiny) < 0.1
    assert fit.device == pytest.approx(1.0, abs=0.1)
    assert fit.spread(StepParts(device_s=500.0, host_s=1.0, overlap=1.5)) > 0.75


def test_a_measurement_of_another_tuning_moves_less_and_leaves_more_open() -> None:
    own = fit_time([sample(LONG, 2 * LONG.seconds)], WIDE)
    other = fit_time([sample(LONG, 2 * LONG.seconds, same=False)], WIDE)
    assert 1 < other.seconds(LONG) / LONG.seconds < own.seconds(LONG) / LONG.seconds
    assert own.spread(LONG) < other.spread(LONG) < fit_time([], WIDE).spread(LONG)


def test_one_disturbed_run_hardly_counts_beside_three_others() -> None:
    fit = fit_time([*[sample(LONG, 2 * LONG.seconds)] * 3, sample(LONG, 20 * LONG.seconds)], WIDE)
    assert fit.seconds(LONG) == pytest.approx(2 * LONG.seconds, rel=0.1)


@given(count=st.integers(1, 8))
def test_more_measurements_narrow_the_interval_down_to_the_runs_spread(count: int) -> None:
    some, more = (fit_time([sample(LONG, LONG.seconds)] * n, WIDE).spread(LONG) for n in (count, count + 1))
    assert 0.06 <= more <= some + 1e-9


@given(offset=st.floats(-0.4, 1.5), factor=st.floats(0.6, 1.6))
def test_two_peaks_tell_what_is_always_there_from_what_grows(offset: float, factor: float) -> None:
    def peak(varying: float) -> float:
        return 2.0 + offset + varying * factor

    fit = fit_memory(
        [MemorySample(fixed_gb=2, varying_gb=v, measured_gb=peak(v), is_same_tuning=True) for v in (0.5, 4.0)],
        spread=0.12,
    )
    assert fit.gb(2.0, 2.0) == pytest.approx(peak(2.0), rel=0.06)
    assert fit.spread(2.0, 2.0) < 0.1


def test_one_peak_is_met_and_the_rest_stays_open() -> None:
    fit = fit_memory([MemorySample(fixed_gb=2, varying_gb=0.5, measured_gb=3.5, is_same_tuning=True)], spread=0.12)
    assert fit.gb(2.0, 0.5) == pytest.approx(3.5, rel=0.05)
    assert fit.spread(2.0, 20.0) > 2 * fit.spread(2.0, 0.5)


def test_a_peak_is_never_nothing() -> None:
    fit = fit_memory([MemorySample(fixed_gb=2, varying_gb=0.5, measured_gb=0.2, is_same_tuning=True)] * 4, spread=0.12)
    assert fit.gb(0.5, 0.0) > 0
    assert math.isfinite(fit.spread(0.5, 0.0))
