"""How much faster products in bfloat16 are here than in float32, measured in a process of its own.

    python -m ftsdk.checkup.product

Prints JSON: the ratio, and the device. Its caller doesn't load torch.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

__all__ = ["Speedup", "main", "measure_bfloat16"]

_ROUNDS = 5
_TIMEOUT_S = 120.0
_CPU_WIDTH = 512
_GPU_WIDTH = 4096

Speedup = tuple[float, str]
"""Time in float32 over time in bfloat16, and the device."""


def measure_bfloat16() -> Speedup | None:
    """Return how much faster bfloat16 is, on one core or on the first GPU; None if that can't be measured here."""
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "ftsdk.checkup.product"],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
        )
        found = json.loads(answer.stdout.strip().rpartition("\n")[2])
        return float(found["ratio"]), str(found["device"])
    except (subprocess.TimeoutExpired, ValueError, KeyError, TypeError, OSError):
        return None


def main() -> int:
    """Measure, and print."""
    import torch

    is_cuda = torch.cuda.is_available()
    width = _GPU_WIDTH if is_cuda else _CPU_WIDTH
    device = "cuda" if is_cuda else "cpu"
    wide = torch.randn(width, width, device=device)
    narrow = wide.to(torch.bfloat16)

    def seconds(matrix: Any) -> float:
        clock: Callable[[], float] = time.perf_counter if is_cuda else time.process_time
        start = clock()
        torch.mm(matrix, matrix)
        if is_cuda:
            torch.cuda.synchronize()
        return clock() - start

    for matrix in (wide, narrow):
        seconds(matrix)  # the first of each prepares
    # By turns, so that what else the machine does slows both down.
    ratios = [seconds(wide) / max(seconds(narrow), 1e-9) for _ in range(_ROUNDS)]
    sys.stdout.write(json.dumps({"ratio": statistics.median(ratios), "device": device}) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
