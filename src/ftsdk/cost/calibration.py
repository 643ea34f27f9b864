"""Constants measured on the machine at hand, by device and software: from probe steps, and from each run that ends."""

from __future__ import annotations

import hashlib
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ftsdk.cost.hardware import Device
from ftsdk.cost.shapes import ModelShape
from ftsdk.cost.training_time import MicroStep, step_time
from ftsdk.errors import SpecError
from ftsdk.home import home
from ftsdk.spec import Value

__all__ = ["Calibration", "Probe", "calibration_file", "fitted", "read_calibration", "software_version", "write_calibration"]

Factor = Annotated[float, Field(gt=0)]


class Probe(Value):
    """One measured step: how long it was said to take, and took; and the same of memory."""

    tokens: float
    predicted_s: Factor
    measured_s: Factor
    predicted_gb: Factor | None = None
    measured_gb: Factor | None = None


class Calibration(Value):
    """What a device is off by, with one version of the software."""

    device: str
    software: str
    """Such as `torch 2.13.0`."""
    measured_at: float
    """Seconds since the epoch."""
    probes: int
    time_factor: Factor
    """Measured time over predicted time."""
    memory_factor: Factor = 1.0

    @property
    def source(self) -> str:
        """For the lines of an estimate."""
        day = time.strftime("%Y-%m-%d", time.gmtime(self.measured_at))
        return f"measured on {self.device} with {self.software}, {self.probes} steps, {day}"

    def applied(self, device: Device) -> Device:
        """Give the device as it is here: slower or faster in every term by the same factor."""
        return replace(
            device,
            efficiency=device.efficiency / self.time_factor,
            bandwidth_gb_per_s=device.bandwidth_gb_per_s / self.time_factor,
            host_factor=device.host_factor * self.time_factor,
            rows=max(1, self.probes),
            source=self.source,
        )


def fitted(probes: Sequence[Probe], *, device: str, software: str, clock: Callable[[], float] = time.time) -> Calibration:
    """Fit a calibration to probe steps: the median of what they are off by, so that one disturbed step doesn't count.

    Args:
        probes: At least one.
        device: The device's name, as the plan has it.
        software: Its version.
        clock: Seconds since the epoch.

    Raises:
        SpecError: There are no probes.
    """
    if not probes:
        raise SpecError("there is nothing to calibrate from: no step was measured")
    ratios = [math.log(probe.measured_s / probe.predicted_s) for probe in probes]
    sizes = [math.log(p.measured_gb / p.predicted_gb) for p in probes if p.measured_gb is not None and p.predicted_gb is not None]
    return Calibration(
        device=device,
        software=software,
        measured_at=clock(),
        probes=len(probes),
        time_factor=math.exp(statistics.median(ratios)),
        memory_factor=math.exp(statistics.median(sizes)) if sizes else 1.0,
    )


def software_version() -> str:
    """Name the software that the constants hold for: another version of torch may be faster or slower."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"torch {version('torch')}"
    except PackageNotFoundError:
        return "no torch"


def predicted_step_s(step: MicroStep, shape: ModelShape, device: Device) -> float:
    """What the packaged constants say of a step, before any calibration."""
    return step_time(step, shape, device).total_s


def calibration_file(device: str, folder: Path | None = None) -> Path:
    """Say where the calibration of a device is kept."""
    name = hashlib.sha256(device.encode()).hexdigest()[:16]
    return (folder or home() / "calibration") / f"{name}.json"


def write_calibration(calibration: Calibration, folder: Path | None = None) -> Path:
    """Keep it, in place of an older one of the same device and software; those of other software stay."""
    path = calibration_file(calibration.device, folder)
    kept = [other for other in _read_all(path) if other.software != calibration.software]
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps([other.to_dict() for other in (*kept, calibration)], indent=1), encoding="utf-8")
    beside.replace(path)
    return path


def read_calibration(device: str, *, software: str | None = None, folder: Path | None = None) -> Calibration | None:
    """Find the calibration of a device: of this software, or None.

    Args:
        device: As in the plan's hardware.
        software: Its version; None takes the newest of any.
        folder: Where they are kept; None is ftsdk's home.
    """
    found = [each for each in _read_all(calibration_file(device, folder)) if each.device == device and software in (None, each.software)]
    return max(found, key=lambda each: each.measured_at) if found else None


def _read_all(path: Path) -> list[Calibration]:
    try:
        return [Calibration.from_dict(row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, SpecError):
        return []  # a damaged file is worth less than a new measurement
