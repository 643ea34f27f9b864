"""Electricity and emissions: intervals, from dated facts with a source."""

from __future__ import annotations

import pytest

from ftsdk import SpecError
from ftsdk.cost.facts import energy as energy_module
from ftsdk.cost.facts.energy import estimate_energy, known_regions


def test_electricity_of_a_gpu_is_an_interval_around_its_power() -> None:
    found = estimate_energy("NVIDIA H100 80GB HBM3", devices=2, seconds=3600, region="fr")
    assert found is not None
    # Two devices of 700 W for an hour: 40% to all of it, the machine around, and the cooling.
    assert found.kwh.low == pytest.approx(1.4 * 0.4 * 1.1 * 1.1)
    assert found.kwh.high == pytest.approx(1.4 * 1.6 * 1.58)
    assert found.co2_kg.likely == pytest.approx(found.kwh.likely * 0.056)
    assert found.region == "FR"
    assert all(source.startswith("https://") for source in found.sources)
    assert any("700 W" in said for said in found.assumptions)


def test_power_that_was_measured_leaves_the_cooling_only() -> None:
    found = estimate_energy("some CPU", devices=1, seconds=7200, power_w=100)
    assert found is not None
    assert (found.kwh.low, found.kwh.high) == (pytest.approx(0.22), pytest.approx(0.316))
    # Any grid may be meant.
    assert found.co2_kg.high > 20 * found.co2_kg.low
    assert any("region not known" in said for said in found.assumptions)


def test_a_device_without_a_source_is_not_guessed() -> None:
    assert estimate_energy("some CPU", devices=1, seconds=3600) is None
    assert estimate_energy("B200", devices=1, seconds=3600) is None


def test_an_unknown_region_is_refused_by_name() -> None:
    with pytest.raises(SpecError, match="'XX'"):
        estimate_energy("L4", devices=1, seconds=1, region="XX")


def test_every_fact_has_a_source_and_a_day() -> None:
    facts = energy_module._facts()
    assert all(row["source"].startswith("https://") and row["read"] for row in facts["devices"])
    assert facts["grids"]["source"].startswith("https://")
    assert facts["grids"]["read"]
    assert {"DE", "NO", "US"} <= set(known_regions())
