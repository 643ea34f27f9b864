"""Measured training runs, as the time and memory models take them: published ones to fit, and our own to hold out."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ftsdk.cost.facts.devices import Device, find_device
from ftsdk.cost.facts.shapes import Shape, shape_named
from ftsdk.cost.training.step_time import MicroStep

DATA = Path(__file__).parent / "data" / "training-measured.csv"
OUT_OF_MEMORY = DATA.with_name("out-of-memory.csv")
"""Published runs that ended for lack of memory."""


@dataclass(frozen=True, kw_only=True)
class Row:
    source: str
    model: str
    device: Device
    shape: Shape
    step: MicroStep
    rank: int
    longest_tokens: float
    """Tokens of the micro-batch whose rows are the longest: what peak memory is about."""
    chunked_logits: bool
    optimizer: str
    offloads: bool
    measured_s: float | None
    """Of one micro-step."""
    peak_memory_gb: float | None
    knows_lengths: bool
    is_core: bool
    """Adapters on one device or plain data parallelism: what a first fine-tune is."""


def read_rows(path: Path = DATA, *, is_fitted: bool = True) -> list[Row]:
    """Return the runs that the constants are fitted to, or those that are held out."""
    with path.open(newline="", encoding="utf-8") as file:
        return [_row(line) for line in csv.DictReader(file) if (line["is_fitted"] == "true") is is_fitted]


def _row(line: dict[str, str]) -> Row:
    shape = shape_named(line["model"])
    assert shape is not None, line["model"]
    devices, split = int(line["n_gpu"]), 2 if line["parallelism"] == "tp2" else 1
    row_tokens = float(line["mean_tokens"] or line["seq_len"])
    batch = float(line["micro_batch"])
    step = MicroStep(
        tokens=batch * row_tokens,
        row_tokens=row_tokens,
        tuning=line["method"],  # type: ignore[arg-type]
        recomputes=line["recomputes"] == "true",
        is_compiled=line["compiled"] == "true",
        accumulation=float(line["accumulation"] or 1),
        devices=devices,
        is_sharded=line["parallelism"] in ("fsdp", "zero3", "tp2"),
        tensor_parallel=split,
        is_deepspeed=line["deepspeed"] == "true",
    )
    speed = line["tokens_per_s"]
    url = urlsplit(line["source"])
    return Row(
        source="/".join([url.netloc, *url.path.split("/")[1:3]]) if url.scheme else line["source"],
        model=line["model"],
        device=find_device(line["gpu"]),
        shape=shape,
        step=step,
        rank=int(line["rank"] or 0),
        longest_tokens=batch * float(line["seq_len"]),
        chunked_logits=line["chunked_logits"] == "true",
        optimizer=line["optimizer"],
        offloads=line["offloads"] == "true",
        measured_s=step.tokens / (float(speed) / (devices / split)) if speed else None,
        peak_memory_gb=float(line["peak_memory_gb"]) if line["peak_memory_gb"] else None,
        knows_lengths=bool(line["mean_tokens"]),
        is_core=line["is_core"] == "true",
    )
