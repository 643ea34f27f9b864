"""How much electricity a training took, and what it emitted: an estimate with an interval, since nothing is metered."""

from __future__ import annotations

import functools
from importlib import resources
from typing import Any

from ftsdk.cost.facts.devices import find_device
from ftsdk.errors import SpecError
from ftsdk.spec import Range, Value
from ftsdk.spec.base import nearest

__all__ = ["EnergyEstimate", "estimate_energy", "known_regions"]


class EnergyEstimate(Value):
    """Electricity and emissions of a training. The ends of an interval take every assumption at its end."""

    kwh: Range
    """From the grid, with the machine around the devices and the cooling."""
    co2_kg: Range
    """CO2 equivalents, in kg."""
    region: str | None = None
    """Whose grid; None: not known."""
    assumptions: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


def known_regions() -> tuple[str, ...]:
    """Return the countries whose grid is known, by ISO code."""
    return tuple(_facts()["grids"]["regions"])


def estimate_energy(
    device: str, *, devices: int, seconds: float, region: str | None = None, power_w: float | None = None
) -> EnergyEstimate | None:
    """Estimate the electricity of a training, and its emissions.

    Args:
        device: The name of the device.
        devices: How many trained together.
        seconds: How long.
        region: The ISO code of a country, such as `"DE"`; None: not known, so that any grid may be meant.
        power_w: Mean power of the whole machine in watts, where it was measured; None: estimated.

    Returns:
        The estimate; None if the device's power isn't known.

    Raises:
        SpecError: The grid of the region isn't known.
    """
    facts = _facts()
    grids, assumed = facts["grids"], facts["assumptions"]
    if region is not None and region.upper() not in grids["regions"]:
        raise SpecError(
            f"no carbon intensity is known for region {region!r}{nearest(region.upper(), set(grids['regions']))}. "
            f"Known: {', '.join(grids['regions'])}"
        )
    pue = Range(low=assumed["pue"][0], likely=assumed["pue"][1], high=assumed["pue"][2])
    said, sources = [f"power usage effectiveness {pue}"], [str(assumed["pue_source"])]
    if power_w is not None:
        watts = (power_w, power_w, power_w)
        said.insert(0, f"{power_w:g} W, as given")
    else:
        row = _power_of(device)
        if row is None:
            return None
        loads, around = assumed["load"], assumed["around"]
        low, likely, high = (devices * row["watts"] * loads[n] * (1 + around[n]) for n in range(3))
        watts = (low, likely, high)
        said.insert(
            0, f"{devices} x {row['name']} of {row['watts']} W at most, at {loads[0]:.0%} to {loads[2]:.0%} of it"
        )
        said.insert(1, f"the machine around takes {around[0]:.0%} to {around[2]:.0%} on top")
        sources.insert(0, str(row["source"]))
    hours = seconds / 3600
    ends = [hours * watt / 1000 * effect for watt, effect in zip(watts, (pue.low, pue.likely, pue.high), strict=True)]
    all_grids = sorted(grids["regions"].values())
    if region is None:
        grams = (all_grids[0], grids["world"], all_grids[-1])
        said.append(
            f"region not known: from the cleanest to the dirtiest of {len(all_grids)} grids, likely the world's mean"
        )
    else:
        grams = (grids["regions"][region.upper()],) * 3
        said.append(f"{grams[1]} g of CO2 equivalents per kWh in {region.upper()}, the mean of {grids['year']}")
    sources.append(str(grids["source"]))
    return EnergyEstimate(
        kwh=Range(low=ends[0], likely=ends[1], high=ends[2]),
        co2_kg=Range(**{k: kwh * g / 1000 for k, kwh, g in zip(("low", "likely", "high"), ends, grams, strict=True)}),
        region=None if region is None else region.upper(),
        assumptions=tuple(said),
        sources=tuple(sources),
    )


def _power_of(device: str) -> dict[str, Any] | None:
    try:
        name = find_device(device).name
    except SpecError:
        return None
    return next((row for row in _facts()["devices"] if row["name"] == name), None)


@functools.cache
def _facts() -> dict[str, Any]:
    import yaml

    text = (resources.files("ftsdk.cost.facts") / "energy.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text)
