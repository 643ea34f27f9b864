"""Code in a process of its own, in which the hub's library reads what is on disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def output_with_hub(code: str, folder: Path) -> str:
    """Run code in a folder, offline and with an empty cache, and return what it prints; it must end well."""
    env = {
        **os.environ,
        "HF_HOME": str(folder / "hf"),
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
