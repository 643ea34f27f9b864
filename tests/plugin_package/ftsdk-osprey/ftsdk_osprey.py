"""A trainer that only counts: everything that ftsdk asks of one, and no more."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftsdk.backends.hosted.launcher import Hardware
from ftsdk.backends.hosted.trainer import Cancelled, Context, TrainingPlan, TrainingResult
from ftsdk.data import read_stored_rows
from ftsdk.protocol import Capabilities, StepEvent
from ftsdk.spec import JobSpec


class OspreyTrainer:
    """Reports a step for each row, and writes an adapter with one number."""

    name = "osprey"
    extra = "local"
    capabilities = Capabilities(
        methods=frozenset({"sft"}),
        tunings=frozenset({"lora"}),
        formats=frozenset({"chat"}),
        model_sources=frozenset({"hub", "folder"}),
        fields=frozenset({"seed"}),
    )

    def translate(self, spec: JobSpec, hardware: Hardware) -> TrainingPlan:
        """Plan the training: the number of steps, and the seed."""
        del hardware
        return TrainingPlan(request={"model": spec.model.to_dict(), "steps": spec.train.rows, "seed": spec.seed})

    def train(self, request: Mapping[str, Any], context: Context, into: Path) -> TrainingResult:
        """Count the rows."""
        rows = read_stored_rows(context.folder / "data" / "train.arrow")
        for step in range(1, len(rows) + 1):
            if context.is_cancelled():
                raise Cancelled
            context.emit(StepEvent(step=step, total_steps=request["steps"], loss=1 / step))
        into.mkdir(parents=True, exist_ok=True)
        header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
        (into / "adapter_model.safetensors").write_bytes(
            struct.pack("<Q", len(header)) + header + struct.pack("<f", len(rows))
        )
        (into / "adapter_config.json").write_text("{}")
        return TrainingResult(kind="adapter", base=str(request["model"]["id"]), info={"rows": len(rows)})
