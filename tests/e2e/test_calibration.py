"""Probe steps of a real training: the device is learned, and the next estimate is nearer."""

from __future__ import annotations

from pathlib import Path

import pytest
from forked_workers import ForkedLocal

from ftsdk import Dataset, FineTuneJob, LoRA
from ftsdk.cost.training.calibration import read_calibration, software_version
from ftsdk.job.calibrate import calibrate

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


def test_probe_steps_bring_the_estimate_of_the_same_work_near_the_truth(
    tiny_model: Path, forked_local: ForkedLocal, ftsdk_home: Path
) -> None:
    found = calibrate(str(tiny_model), steps=20, backend=forked_local, progress=False)
    assert found.software == software_version()
    rows = [{"text": "the order came late and a cup was broken " * 2 + str(n), "label": "ab"[n % 2]} for n in range(48)]
    train = Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{label}")
    job = FineTuneJob(model=str(tiny_model), train=train, tuning=LoRA(), epochs=1, batch_size=4, backend=forked_local)
    estimate = job.estimate()
    assert estimate.tokens is not None
    assert estimate.tokens.low == estimate.tokens.high
    line = next(line for line in estimate.time_lines if line.label == "training")
    assert f"measured on {found.device}" in line.source
    run = job.submit().wait(progress=False, poll_s=0.05)
    compared = {c.quantity: c for c in run.costs().comparisons}
    # What was counted is what was trained on.
    assert compared["tokens"].actual == pytest.approx(estimate.tokens.likely, rel=0.001)
    assert compared["seconds"].actual > 0
    again = read_calibration(found.device, software=found.software)
    assert again is not None
    assert again.measured_at > found.measured_at
    assert compared["GB"].actual > 0.01
    assert {probe.tuning for probe in again.probes} == {"lora"}
    assert len(again.probes) == 3
