"""The example that plans one job on every backend runs as a reader runs it, with no account and nothing sent."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

EXAMPLE = Path(__file__).parents[2] / "examples" / "one_job_everywhere.py"
NAMES = [
    "this machine",
    "ssh",
    "Slurm, one node",
    "Slurm, two nodes",
    "Ray, two nodes",
    "SkyPilot",
    "Modal",
    "Together",
]


def run_example(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(folder.glob("ftsdk-home/runs/*")) == []
    return done.stdout


def test_every_backend_plans_the_same_job(tmp_path: Path) -> None:
    plans: dict[str, Any] = json.loads(run_example("--json", folder=tmp_path))
    assert list(plans) == NAMES
    assert not any("refused" in plan for plan in plans.values())
    specs = [plan["spec"] for plan in plans.values()]
    assert all(spec == specs[0] for spec in specs)
    assert len({json.dumps(plan["request"], sort_keys=True) for plan in plans.values()}) == len(NAMES)
    launch = {name: plans[name]["request"]["launch"] for name in NAMES[:6]}
    assert launch["Slurm, two nodes"]["nodes"] == launch["Ray, two nodes"]["nodes"] == 2
    assert launch["Ray, two nodes"]["bundle"] == {"CPU": 8.0, "GPU": 8.0}
    assert launch["SkyPilot"]["task"]["resources"]["accelerators"] == "H100:8"
    assert [launch[name]["processes"] for name in NAMES[:2]] == [1, 4]


def test_the_plans_are_shown_side_by_side(tmp_path: Path) -> None:
    shown = run_example(folder=tmp_path)
    heads = next(line for line in shown.splitlines() if "this machine" in line)
    assert all(name in heads for name in NAMES)
    assert "learning_rate" in shown
