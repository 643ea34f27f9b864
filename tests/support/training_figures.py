"""The published runs and their fit, as the benchmarks have them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def load(name: str) -> Any:
    """Import a module of the benchmarks, or skip where they or what they need isn't there."""
    if not (BENCHMARKS / f"{name}.py").exists():
        pytest.skip("the benchmarks aren't part of this copy")
    pytest.importorskip("numpy", reason="the fit needs numpy")
    if str(BENCHMARKS) not in sys.path:
        sys.path.append(str(BENCHMARKS))
    return __import__(name)
