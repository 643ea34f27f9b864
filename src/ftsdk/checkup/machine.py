"""What fits this machine: its memory, its GPU, whether bfloat16 is fast, and the disk under ftsdk's home."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from importlib.util import find_spec

from ftsdk._format import gigabytes
from ftsdk._home import home
from ftsdk.backends.hosted.launcher import Hardware
from ftsdk.backends.launchers.this_machine import find_hardware
from ftsdk.checkup.check import Check, State
from ftsdk.checkup.product import Speedup, measure_bfloat16
from ftsdk.cost.facts.shapes import Shape, known_shapes
from ftsdk.cost.training.job_memory import memory_of_tuning
from ftsdk.cost.training.memory import peak_memory, verdict
from ftsdk.errors import FtsdkError
from ftsdk.run.home_access import check_home
from ftsdk.spec import FullFineTune, LoRA, QLoRA, Tuning

__all__ = ["check_machine"]

_ROW_TOKENS = 1024
_FAST = 1.3
"""Times as fast as float32 above which products in bfloat16 are called fast."""
_LITTLE_BYTES = 5e9


def check_machine(
    *, is_measured: bool = True, hardware: Hardware | None = None, measure: Callable[[], Speedup | None] | None = None
) -> list[Check]:
    """Look at this machine.

    Args:
        is_measured: Measure a product, which loads torch in another process, for some seconds.
        hardware: The hardware; None: found.
        measure: Measures how much faster bfloat16 is; None: `measure_bfloat16`.
    """
    found = hardware or find_hardware(device=None, processes=None)
    return [_device(found), *_fits(found), _bfloat16(found, measure or measure_bfloat16, is_measured), _disk()]


def _device(found: Hardware) -> Check:
    memory = "memory not known" if found.memory_gib is None else f"{found.memory_gib:.1f} GiB"
    count = f"{found.processes} x " if found.processes > 1 else ""
    is_gpu = found.device != "cpu"
    advice = (
        "ftsdk calibrate MODEL measures its speed, for estimates"
        if is_gpu
        else ('small models only; for larger ones backend="modal", "together", "slurm" or "ssh"')
    )
    return _check("GPU" if is_gpu else "memory", "ok", f"{count}{found.name}, {memory}", advice)


def _fits(found: Hardware) -> list[Check]:
    if found.memory_gib is None:
        return []
    tunings: tuple[tuple[str, Tuning], ...] = (("LoRA", LoRA()), ("full fine-tuning", FullFineTune()))
    if found.device == "cuda":
        tunings = (("QLoRA", QLoRA()), *tunings)
    return [_largest(name, tuning, found, found.memory_gib) for name, tuning in tunings]


def _largest(name: str, tuning: Tuning, found: Hardware, memory_gib: float) -> Check:
    """Return the largest model of those known that fits with a margin of error, one row at a time."""
    precision = "float32" if found.device == "cpu" and not found.has_bfloat16 else None
    memory = memory_of_tuning(tuning, precision=precision, longest_tokens=_ROW_TOKENS)
    fitting = [shape for shape in known_shapes() if verdict(peak_memory(memory, shape), memory_gib) == "fits"]
    if not fitting:
        return _check(f"fits {name}", "missing", "no model that ftsdk knows", "a machine with more memory")
    largest: Shape = max(fitting, key=lambda shape: shape.parameters)
    size = f"up to {largest.parameters / 1e9:.3g}B parameters, such as {largest.name}"
    text = f"{size} (estimated, for one row of {_ROW_TOKENS:,} tokens at a time)"
    return _check(f"fits {name}", "ok", text, "print(job.estimate()) answers for your rows")


def _bfloat16(found: Hardware, measure: Callable[[], Speedup | None], is_measured: bool) -> Check:
    name = "bfloat16"
    claimed = "the processor has instructions for it" if found.has_bfloat16 else "no instructions for it"
    if not is_measured:
        return _check(name, "not checked", claimed, "ftsdk doctor without --quick measures it")
    if find_spec("torch") is None:
        return _check(name, "not checked", f"{claimed}; not measured without torch", 'pip install "ftsdk[local]"')
    measured = measure()
    if measured is None:
        return _check(name, "problem", "torch can't multiply here", "python -m ftsdk.checkup.product says why")
    ratio, device = measured
    where = "one core" if device == "cpu" else "the GPU"
    text = f"{ratio:.1f} times as fast as float32 on {where} (measured)"
    if ratio >= _FAST:
        return _check(name, "ok", text, "nothing to do: it is used automatically")
    return _check(name, "ok", f"slow: {text}", "nothing to do: float32 is used instead, with twice the memory")


def _disk() -> Check:
    try:
        check_home()
    except FtsdkError as error:
        what, _, advice = str(error).partition("; ")
        return _check("home", "problem", what, advice)
    folder = home()
    there = next((path for path in (folder, *folder.parents) if path.exists()), folder)
    free = shutil.disk_usage(there).free
    text = f"{folder}, {gigabytes(free)} free"
    if free < _LITTLE_BYTES:
        return _check("home", "problem", text, "free some space, or set FTSDK_HOME to a folder on another disk")
    source = "FTSDK_HOME" if os.environ.get("FTSDK_HOME") else "set FTSDK_HOME to move it"
    return _check("home", "ok", text, source if source != "FTSDK_HOME" else "set by FTSDK_HOME")


def _check(name: str, state: State, found: str, next_step: str) -> Check:
    return Check(part="machine", name=name, state=state, found=found, next_step=next_step)
