from __future__ import annotations

import json
import subprocess
import sys

import ftsdk


def test_every_public_name_is_sorted_and_can_be_had() -> None:
    assert ftsdk.__all__ == sorted(ftsdk.__all__, key=_like_ruff)
    for name in ftsdk.__all__:
        assert getattr(ftsdk, name) is not None


def test_importing_ftsdk_loads_nothing_heavy() -> None:
    heavy = ["torch", "transformers", "datasets", "pyarrow", "pydantic", "rich", "together", "modal"]
    code = f"import sys, json, ftsdk; print(json.dumps([m for m in {heavy!r} if m in sys.modules]))"
    assert json.loads(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) == []


def test_making_a_job_and_its_plan_loads_no_torch() -> None:
    code = (
        "import sys; from ftsdk import Dataset, FineTuneJob, Eval, Run, Local\n"
        "print([m for m in ('torch', 'transformers', 'trl') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def _like_ruff(name: str) -> tuple[int, str]:
    """Ruff's order for `__all__`: constants, then classes, then the rest."""
    kind = 0 if name.isupper() else 1 if name[0].isupper() else 2
    return kind, name
