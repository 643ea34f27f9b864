"""A trainer that trains on paper: TRL's plans, and a recurrence in place of a model, in a worker that loads no torch.

For tests of where workers run, which start many of them. Its weights depend on every step and its order, so a run that
was interrupted ends with those of one that wasn't only if it went on where it should.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftsdk.backends.hosted.checkpoints import seal_checkpoint
from ftsdk.backends.hosted.trainer import Cancelled, Context, Interrupted, TrainingResult, TrainingStopped
from ftsdk.backends.trainers.trl import TRLTrainer
from ftsdk.errors import Diagnosis
from ftsdk.protocol import CheckpointEvent, StepEvent

__all__ = ["STEP_S", "PaperTrainer", "install_paper_trainer", "paper_weights"]

STEP_S = "FTSDK_PAPER_STEP_S"
"""Environment variable: seconds that a step takes."""
_STARTS = "FTSDK_PAPER_STARTS"


class PaperTrainer(TRLTrainer):
    name = "paper"

    def train(self, request: Mapping[str, Any], context: Context, into: Path) -> TrainingResult:
        if request["max_length"] == 8:
            raise TrainingStopped(Diagnosis("data", "no row fits into eight tokens", None))
        steps, weight, first = request["max_steps"] or 6, 0.5, 0
        if context.resume_from is not None:
            kept = json.loads((context.resume_from / "weight.json").read_text())
            weight, first = kept["weight"], kept["step"]
        for step in range(first + 1, steps + 1):
            time.sleep(float(os.environ.get(STEP_S, "0.001")))
            weight = next_weight(weight, step)
            context.emit(StepEvent(step=step, total_steps=steps, loss=round(1 / step, 6)))
            if context.is_cancelled():
                raise Cancelled
            is_leaving = context.is_interrupted()
            if is_leaving or step % (request["checkpoint_steps"] or 100) == 0:
                folder = context.folder / "checkpoints" / f"checkpoint-{step}"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "weight.json").write_text(json.dumps({"weight": weight, "step": step}))
                seal_checkpoint(folder)
                context.emit(CheckpointEvent(step=step, path=folder.name))
            if is_leaving:
                raise Interrupted
        (into / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 8}))
        header = json.dumps({"w": {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]}}).encode()
        content = struct.pack("<Q", len(header)) + header + struct.pack("<d", weight)
        (into / "adapter_model.safetensors").write_bytes(content)
        return TrainingResult(kind="adapter", base="tiny", info={"steps": steps})


def next_weight(weight: float, step: int) -> float:
    return 3.7 * weight * (1 - weight) * 0.999 + 1e-4 / step


def paper_weights(steps: int) -> float:
    """The weights of a run that nothing interrupted."""
    weight = 0.5
    for step in range(1, steps + 1):
        weight = next_weight(weight, step)
    return weight


def read_weights(folder: Path) -> float:
    return struct.unpack("<d", (folder / "adapter_model.safetensors").read_bytes()[-8:])[0]


def install_paper_trainer(site: Path) -> dict[str, str]:
    """Make it known to this process's children, and count the workers that are started.

    Returns:
        The variables that a process needs to find it.
    """
    info = site / "ftsdk_paper-0.1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ftsdk-paper\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[ftsdk.trainers]\npaper = paper_trainer:PaperTrainer\n")
    (site / "sitecustomize.py").write_text(_COUNT)
    path = [str(site), str(Path(__file__).parent), *(p for p in sys.path if p.endswith("src"))]
    return {"PYTHONPATH": os.pathsep.join(path), _STARTS: str(site / "starts")}


_COUNT = """\
import os, sys
if any(m in sys.orig_argv for m in ("ftsdk.backends.hosted.worker", "ftsdk.backends.launchers.slurm.entry")):
    with open(os.environ["FTSDK_PAPER_STARTS"], "a") as file:
        file.write(f"{os.getpid()}\\n")
"""
