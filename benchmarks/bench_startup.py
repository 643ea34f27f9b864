"""What a user waits for before anything happens: the import, the plan, and the return from `submit`.

    python benchmarks/bench_startup.py

Limits: `import ftsdk` at most 50 ms over a bare interpreter, with none of the heavy libraries loaded; `job.plan()`
under 200 ms for 10,000 rows; `submit()` under 300 ms, since the worker loads torch and the client doesn't. Times are
medians, on whatever machine this is.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HEAVY = ("torch", "transformers", "datasets", "together", "modal", "pandas", "pyarrow")


def interpreter_s(code: str, runs: int = 15) -> float:
    """Median wall time of a fresh interpreter that runs `code`."""
    times: list[float] = []
    for _ in range(runs):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def loaded_by_import() -> list[str]:
    code = f"import sys, json, ftsdk; print(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    return json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def tiny_folder(into: Path) -> Path:
    """A folder that looks like a model; planning and submitting read its headers only."""
    import struct

    into.mkdir()
    (into / "config.json").write_text(
        json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 512})
    )
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (into / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    return into


def plan_and_submit(folder: Path) -> tuple[float, float, list[str]]:
    from ftsdk import Dataset, FineTuneJob, Run

    rows = [{"text": f"message number {n} about something or other", "label": "abcdefgh"[n % 8]} for n in range(10_000)]
    data = Dataset.from_rows(rows).as_chat(prompt="Sort: {text}", completion="{label}")
    model = tiny_folder(folder / "model")
    plans: list[float] = []
    for n in range(7):
        # A new job each time, with rows that were never hashed: what a first call costs.
        job = FineTuneJob(model=str(model), train=data.sample(10_000 - n - 1, seed=n))
        start = time.perf_counter()
        job.plan()
        plans.append(time.perf_counter() - start)
    submits: list[float] = []
    for n in range(7):
        job = FineTuneJob(model=str(model), train=data.sample(1_000, seed=100 + n))
        start = time.perf_counter()
        run = job.submit()
        submits.append(time.perf_counter() - start)
        Run.open(run.ref).cancel(wait_s=0)
    loaded = [name for name in ("torch", "transformers", "trl") if name in sys.modules]
    return statistics.median(plans), statistics.median(submits), loaded


def main() -> None:
    bare, ours = interpreter_s("pass"), interpreter_s("import ftsdk")
    print(f"import ftsdk                 {1000 * (ours - bare):7.1f} ms over a bare interpreter   (limit 50)")
    print(f"heavy modules it loads       {', '.join(loaded_by_import()) or 'none'}   (limit none)")
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["FTSDK_HOME"] = str(Path(scratch) / "home")
        plan_s, submit_s, loaded = plan_and_submit(Path(scratch))
        time.sleep(2)  # the cancelled workers see it and leave
    print(f"job.plan(), 10,000 rows      {1000 * plan_s:7.1f} ms   (limit 200)")
    print(f"job.submit() to its return   {1000 * submit_s:7.1f} ms   (limit 300)")
    print(f"of torch, transformers, trl the client has loaded: {', '.join(loaded) or 'none'}")


if __name__ == "__main__":
    main()
