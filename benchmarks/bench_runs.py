"""What looking at runs costs: the list of many runs, and one run with a long history.

    python benchmarks/bench_runs.py

Limits: `runs()` over 1,000 runs, 100 of them not over yet, under 1 s; `run.status()` and `run.events(after=...)` on a
run of 20,000 events under 20 ms each, the first look of a process included. Times are medians, on whatever machine this
is.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from ftsdk.protocol import StateEvent, StepEvent

RUNS, GOING, EVENTS = 1_000, 100, 20_000


def seconds(what: Callable[[], object], times: int = 7) -> float:
    found: list[float] = []
    for _ in range(times):
        start = time.perf_counter()
        what()
        found.append(time.perf_counter() - start)
    return statistics.median(found)


def a_job(folder: Path):
    import json
    import struct

    from ftsdk import Dataset, FineTuneJob, Local

    model = folder / "model"
    model.mkdir()
    (model / "config.json").write_text(
        json.dumps({"architectures": ["LlamaForCausalLM"], "model_type": "llama", "max_position_embeddings": 512})
    )
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    (model / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + b"\0" * 4)
    rows = Dataset.from_rows([{"prompt": f"number {n}", "completion": "yes"} for n in range(8)])
    return FineTuneJob(model=str(model), train=rows, backend=Local(device="cpu"))


def fill(home: Path, job) -> str:
    """Put runs into the ledger, and folders beside it for those that aren't over; the last has a long history."""
    from ftsdk.run.ledger import Ledger, Record, Sighting
    from ftsdk.runfolder.event_log import EventWriter

    plan = job.plan().to_dict()
    ledger = Ledger()
    refs = [f"local:20260101-{n:06x}" for n in range(RUNS)]
    for ref in refs:
        ledger.submitted(ledger.intend(Record(ref=ref, name=None, plan=plan, options={"device": "cpu"})).ref, {})
    ledger.saw(*(Sighting(ref=ref, state="succeeded") for ref in refs[:-GOING]))
    for ref in refs[-GOING:]:
        folder = home / "runs" / ref.partition(":")[2]
        folder.mkdir(parents=True)
        (folder / "run.json").write_text("{}")
        log = EventWriter(folder)
        log.append(StateEvent(state="running", native="attempt 1"))
        for step in range(EVENTS - 1 if ref == refs[-1] else 200):
            log.append(
                StepEvent(step=step + 1, total_steps=EVENTS, loss=0.123456, tokens=512 * step, tokens_per_s=1234.5)
            )
        log.close()
    return refs[-1]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        os.environ["FTSDK_HOME"] = str(home)
        from ftsdk import Run, runs
        from ftsdk.backends.registry import forget_entry_points

        ref = fill(home, a_job(Path(folder)))

        def first_list() -> object:
            forget_entry_points()
            return runs().rows()

        list_s = seconds(first_list, times=3)
        opened = Run.open(ref)
        rows = [
            (f"runs(), {RUNS:,} runs", list_s, 1.0),
            ("status(), first look", seconds(lambda: Run.open(ref).status()), 0.02),
            ("status(), next look", seconds(opened.status), 0.02),
            ("events(after=the last ten), first look", seconds(lambda: Run.open(ref).events(after=EVENTS - 11)), 0.02),
            ("events(after=the last ten), next look", seconds(lambda: opened.events(after=EVENTS - 11)), 0.02),
        ]
        assert len(opened.events(after=EVENTS - 11)) == 10
        for name, taken_s, limit_s in rows:
            print(
                f"{name:<42} {1000 * taken_s:>9.1f} ms   limit {1000 * limit_s:,.0f} ms "
                f"{'' if taken_s <= limit_s else '  MISSED'}"
            )


if __name__ == "__main__":
    main()
