"""Measurements on this machine, by device and software: of probe steps, and of each run that ended."""

from __future__ import annotations

import hashlib
import json
import math
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from ftsdk._files import replace_file
from ftsdk._home import home
from ftsdk._rich_text import rich_text
from ftsdk.cost.facts.devices import Device
from ftsdk.cost.training.constants import time_constants
from ftsdk.cost.training.fitting import Fit, MemoryFit, MemorySample, Priors, Sample, fit_memory, fit_time
from ftsdk.errors import SpecError
from ftsdk.protocol.estimates import StepParts
from ftsdk.spec import Value

__all__ = ["Calibration", "Probe", "calibration_file", "learn", "read_calibration", "software_version"]

_KEPT = 24
"""Newest probes of one device and software that are kept: drivers and disks change."""

_STEP = 2
"""Counts up whenever our step, or the prediction of it, changes by more than a few percent. 2: what rows share is
computed once."""

Positive = Annotated[float, Field(gt=0)]


class Probe(Value):
    """The median step of one run, its start and its checkpoints, each with its prediction."""

    tuning: str
    """Kind of tuning, such as `lora`."""
    step: StepParts
    measured_s: Positive
    """Seconds of one optimizer step: the median."""
    steps: int
    at: float
    """Time of the measurement, in seconds since the epoch."""
    fixed_gb: Annotated[float, Field(ge=0)] = 0.0
    varying_gb: Annotated[float, Field(ge=0)] = 0.0
    peak_gb: Positive | None = None
    """Measured peak memory of one device, in GB."""
    start_s: Positive | None = None
    """Measured seconds from the worker's first event to the first step, that step excluded."""
    predicted_start_s: Positive | None = None
    checkpoint_s: Positive | None = None
    """Measured seconds of one checkpoint."""
    predicted_checkpoint_s: Positive | None = None

    def __str__(self) -> str:
        parts = [f"a step takes {self.measured_s:.2f} s (predicted: {self.step.seconds:.2f} s)"]
        if self.peak_gb is not None:
            parts.append(f"peak {self.peak_gb:.1f} GB ({self.fixed_gb + self.varying_gb:.1f} GB)")
        if self.start_s is not None and self.predicted_start_s is not None:
            parts.append(f"start {self.start_s:.0f} s ({self.predicted_start_s:.0f} s)")
        if self.checkpoint_s is not None and self.predicted_checkpoint_s is not None:
            parts.append(f"a checkpoint {self.checkpoint_s:.1f} s ({self.predicted_checkpoint_s:.1f} s)")
        return f"{self.tuning}: {', '.join(parts)}"

    __rich__ = rich_text


class Calibration(Value):
    """Measurements on a device with one version of the software."""

    device: str
    software: str
    """Such as `torch 2.13.0, step 2`."""
    probes: tuple[Probe, ...]

    @model_validator(mode="after")
    def _has_probes(self) -> Calibration:
        if not self.probes:
            raise ValueError("a calibration holds at least one probe")
        return self

    @property
    def measured_at(self) -> float:
        """Time of the newest probe, in seconds since the epoch."""
        return max(probe.at for probe in self.probes)

    @property
    def steps(self) -> int:
        """Number of measured steps."""
        return sum(probe.steps for probe in self.probes)

    @property
    def source(self) -> str:
        """Source, as the lines of an estimate cite it."""
        day = time.strftime("%Y-%m-%d", time.gmtime(self.measured_at))
        return f"measured on {self.device} with {self.software}, {self.steps} steps of {len(self.probes)} runs, {day}"

    def __str__(self) -> str:
        return "\n".join((self.source, *map(str, self.probes)))

    __rich__ = rich_text

    def time_fit(self, tuning: str, device: Device) -> Fit:
        """Return the factors by which the parts of a step are off here.

        Args:
            tuning: Kind of tuning to predict; probes of another kind count less.
            device: The device, as its data sheet describes it.
        """
        samples = [
            Sample(parts=p.step, measured_s=p.measured_s, is_same_tuning=p.tuning == tuning) for p in self.probes
        ]
        return fit_time(samples, _priors(device))

    def memory_fit(self, tuning: str, *, spread: float) -> MemoryFit:
        """Return how far the predicted peak is off here.

        Args:
            tuning: Kind of tuning to predict.
            spread: Spread of the prediction: standard deviation of log(measured / predicted).
        """
        samples = [
            MemorySample(
                fixed_gb=p.fixed_gb, varying_gb=p.varying_gb, measured_gb=p.peak_gb, is_same_tuning=p.tuning == tuning
            )
            for p in self.probes
            if p.peak_gb is not None
        ]
        return fit_memory(samples, spread=spread)

    @property
    def start_factor(self) -> float | None:
        """Measured over predicted time to the first step."""
        return _ratio((p.start_s, p.predicted_start_s) for p in self.probes)

    @property
    def checkpoint_factor(self) -> float | None:
        """Measured over predicted time of a checkpoint."""
        return _ratio((p.checkpoint_s, p.predicted_checkpoint_s) for p in self.probes)


def _ratio(pairs: Iterable[tuple[float | None, float | None]]) -> float | None:
    found = [measured / predicted for measured, predicted in pairs if measured is not None and predicted is not None]
    return statistics.median(found) if found else None


def _priors(device: Device) -> Priors:
    """What the published runs leave open: more for a device of a family that none of them had."""
    spreads = time_constants().spreads
    usual, unknown = spreads.new_stack, 0.0
    if device.rows == 0:
        unknown = spreads.unknown_cpu if device.family == "cpu" else spreads.unknown_device
    return Priors(
        device=math.hypot(usual.traffic, unknown),
        # What a CPU needs to start its own kernels isn't known from hosts of GPUs.
        host=math.hypot(usual.host, 2 * unknown if device.family == "cpu" else 0.0),
        optimizer=math.hypot(usual.optimizer, unknown),
    )


def software_version() -> str:
    """Return the software that a measurement holds for: another version of torch may be faster or slower.

    So may another way to compute a step, or to predict it.
    """
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"torch {version('torch')}, step {_STEP}"
    except PackageNotFoundError:
        return "no torch"


def calibration_file(device: str, folder: Path | None = None) -> Path:
    """Return the file of a device's calibration."""
    name = hashlib.sha256(device.encode()).hexdigest()[:16]
    return (folder or home() / "calibration") / f"{name}.json"


def learn(probe: Probe, *, device: str, software: str, folder: Path | None = None) -> Calibration:
    """Add a probe to the calibration of a device with one version of the software; those of other versions stay.

    Args:
        probe: The measurement.
        device: Name of the device, as in the plan's hardware.
        software: Its version.
        folder: Folder of the calibrations; None: in ftsdk's home.

    Returns:
        The calibration, the probe included.
    """
    path = calibration_file(device, folder)
    there = _read_all(path)
    before = next((each for each in there if (each.device, each.software) == (device, software)), None)
    probes = (*(before.probes if before is not None else ()), probe)[-_KEPT:]
    found = Calibration(device=device, software=software, probes=probes)
    kept = [other for other in there if (other.device, other.software) != (device, software)]
    replace_file(path, json.dumps([each.to_dict() for each in (*kept, found)], indent=1).encode())
    return found


def read_calibration(device: str, *, software: str | None = None, folder: Path | None = None) -> Calibration | None:
    """Return the calibration of a device with this software, or None.

    Args:
        device: Name of the device, as in the plan's hardware.
        software: Version of the software; None takes the newest calibration with any.
        folder: Folder of the calibrations; None: in ftsdk's home.
    """
    found = [
        each
        for each in _read_all(calibration_file(device, folder))
        if each.device == device and software in (None, each.software)
    ]
    return max(found, key=lambda each: each.measured_at) if found else None


def _read_all(path: Path) -> list[Calibration]:
    try:
        return [Calibration.from_dict(row) for row in json.loads(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, SpecError):
        return []  # a damaged file is replaced by the next measurement
