"""Constants measured on the machine at hand, by device and software: from probe steps, and from each run that ends."""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

from pydantic import Field

from ftsdk.backends.estimates import StepParts
from ftsdk.cost.facts.devices import Device
from ftsdk.cost.training.constants import time_constants
from ftsdk.errors import SpecError
from ftsdk.home import home
from ftsdk.spec import Value

__all__ = ["Calibration", "Probe", "calibration_file", "fitted", "read_calibration", "software_version", "write_calibration"]

Factor = Annotated[float, Field(gt=0)]


class Probe(Value):
    """One measured step, beside what it was taken for."""

    step: StepParts
    measured_s: Factor
    predicted_gb: Factor | None = None
    measured_gb: Factor | None = None

    @property
    def is_bound_by_host(self) -> bool:
        """Does the host need longer than the device? Then the step says little about the device, and else little about the host."""
        return self.step.host_s > self.step.device_s


class Calibration(Value):
    """What a device and its host are off by, with one version of the software; None: not measured yet."""

    device: str
    software: str
    """Such as `torch 2.13.0`."""
    measured_at: float
    """Seconds since the epoch."""
    steps: int
    device_factor: Factor | None = None
    """Measured time over predicted time, of steps that the device is the slower part of."""
    host_factor: Factor | None = None
    """The same where the host is: small models, short rows."""
    memory_offset_gb: float = 0.0
    """Measured peak less the predicted one: libraries and allocator, which are the same whatever is trained."""

    @property
    def source(self) -> str:
        """For the lines of an estimate."""
        day = time.strftime("%Y-%m-%d", time.gmtime(self.measured_at))
        return f"measured on {self.device} with {self.software}, {self.steps} steps, {day}"

    def applied(self, device: Device) -> Device:
        """Give the device as it is here."""
        by = self.device_factor or 1.0
        return replace(
            device,
            efficiency=device.efficiency / by,
            bandwidth_gb_per_s=device.bandwidth_gb_per_s / by,
            host_factor=device.host_factor * (self.host_factor or 1.0),
        )

    def covers(self, step: StepParts) -> bool:
        """Was the part measured that such a step is bound by? What a small model shows of the host says nothing of a large one."""
        device_s = step.device_s * (self.device_factor or 1.0)
        host_s = step.host_s * (self.host_factor or 1.0)
        return (self.host_factor if host_s > device_s else self.device_factor) is not None


def fitted(
    probes: Sequence[Probe],
    *,
    device: str,
    software: str,
    steps: int | None = None,
    before: Calibration | None = None,
    clock: Callable[[], float] = time.time,
) -> Calibration:
    """Fit a calibration to probes: medians of what they are off by, so that one that was disturbed doesn't count.

    Args:
        probes: At least one.
        device: The device's name, as the plan has it.
        software: Its version.
        steps: How many steps were measured; None: the number of probes.
        before: An older one of the same device and software, which keeps what these probes say nothing of.
        clock: Seconds since the epoch.

    Raises:
        SpecError: There are no probes.
    """
    if not probes:
        raise SpecError("there is nothing to calibrate from: no step was measured")
    overlap = time_constants().overlap
    known_device, known_host = (None, None) if before is None else (before.device_factor, before.host_factor)

    def left(probe: Probe, other_s: float) -> float:
        """What remains of a measured step for the part that it is bound by, beside the other."""
        return max(probe.measured_s * 0.05, max(0.0, probe.measured_s**overlap - other_s**overlap) ** (1 / overlap))

    of_device = [left(p, p.step.host_s * (known_host or 1.0)) / p.step.device_s for p in probes if not p.is_bound_by_host]
    of_host = [left(p, p.step.device_s * (known_device or 1.0)) / p.step.host_s for p in probes if p.is_bound_by_host]
    sizes = [p.measured_gb - p.predicted_gb for p in probes if p.measured_gb is not None and p.predicted_gb is not None]
    factors = {
        "device_factor": statistics.median(of_device) if of_device else known_device,
        "host_factor": statistics.median(of_host) if of_host else known_host,
    }
    offset = statistics.median(sizes) if sizes else 0.0 if before is None else before.memory_offset_gb
    return Calibration(
        device=device,
        software=software,
        measured_at=clock(),
        steps=steps if steps is not None else len(probes),
        memory_offset_gb=offset,
        **{name: factor for name, factor in factors.items() if factor is not None},
    )


def software_version() -> str:
    """Name the software that the constants hold for: another version of torch may be faster or slower."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"torch {version('torch')}"
    except PackageNotFoundError:
        return "no torch"


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
