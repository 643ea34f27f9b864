"""From a file to stored, split, checked rows: rows per second and memory, at 100,000 rows and at ten times as many.

    python benchmarks/bench_data.py [--rows 100000] [--many 1000000] [--small] [--json]

`--many 0` measures one size alone, `--json` prints one object for each size.

Rows are generated with known duplicates, and each size runs in a process of its own. Memory is what the process itself
holds at its peak (RssAnon); pages of mapped files, which the system drops when memory gets scarce, are named apart.
Processor seconds and the load before the start show what other processes did to the figures.
Goals: 15,000 rows/s end to end, the report included, and 1.5 GiB at 1,000,000 rows; ten times the rows in ten times the
time; a plan in 2 s after the first look. There are two sums: of all steps without the report, and with it in place of
the search for personal data, which the report does too. The plans are in neither.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from generated_rows import generated_rows

_PRIVATE = "personal data and credentials"


class Peak(threading.Thread):
    """Watches the memory that is the process's own."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.anonymous_mib = 0

    def run(self) -> None:
        status = Path("/proc/self/status")
        while status.exists():
            line = next(line for line in status.read_text().splitlines() if line.startswith("RssAnon"))
            self.anonymous_mib = max(self.anonymous_mib, int(line.split()[1]) >> 10)
            time.sleep(0.05)


def measure(path: Path) -> dict[str, float]:
    """Take the rows through everything that is done to them before a run."""
    from pydantic import SecretStr

    from ftsdk import Dataset, FineTuneJob, Together
    from ftsdk.data import Store
    from ftsdk.data.privacy import find

    found: dict[str, float] = {}
    processor: dict[str, float] = {}

    @contextmanager
    def lap(name: str) -> Iterator[None]:
        start, busy = time.perf_counter(), time.process_time()
        yield
        found[name] = time.perf_counter() - start
        processor[f"{name}: processor"] = time.process_time() - busy

    load = os.getloadavg()[0]
    peak = Peak()
    peak.start()
    with lap("read"):
        table = Dataset.from_file(path)
    with lap("as_chat"):
        # Answers that are no labels: likely label errors take a model of their own.
        rows = table.as_chat(prompt="Summarise.\n\n{text}", completion="It is about number {id}, all in all.")
    with lap("split, near-duplicates together"):
        parts = rows.split(validation=0.02, test=0.02, seed=1, stratify="label")
    with lap(_PRIVATE):
        texts = iter(table.rows)
        while batch := [row["text"] for row in islice(texts, 10_000)]:
            find(batch)
    with lap("fingerprint and tokens"):
        for part in parts:
            part.ref()
    with lap("store"):
        for part in parts:
            Store().put(part)
    with lap("summary"):
        rows.summary()
    without, own = (sum(found.values()), sum(processor.values())), peak.anonymous_mib
    peak.anonymous_mib = 0
    with lap("report"):
        rows.report()
    reporting, peak.anonymous_mib = peak.anonymous_mib, 0
    seconds = sum(found.values()) - found[_PRIVATE]
    busy = sum(processor.values()) - processor[f"{_PRIVATE}: processor"]
    job = FineTuneJob(
        model="Qwen/Qwen3.5-0.8B",
        train=parts.train,
        validation=parts.validation,
        backend=Together(api_key=SecretStr("none")),
    )
    for name in ("plan", "plan, again"):
        with lap(name):
            job.plan()
    again = FineTuneJob(
        model="Qwen/Qwen3.5-0.8B",
        train=Store().load(parts.train.ref()),
        validation=Store().load(parts.validation.ref()),
        backend=Together(api_key=SecretStr("none")),
    )
    with lap("plan of stored rows, leaks known"):
        again.plan()
    return {
        **found,
        **processor,
        "rows": len(rows),
        "seconds without the report": without[0],
        "processor seconds without the report": without[1],
        "seconds": seconds,
        "processor seconds": busy,
        "load before": load,
        "own MiB": own,
        "own MiB while reporting": reporting,
        "own MiB while planning": peak.anonymous_mib,
        "MiB with mapped files": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
    }


def run(count: int, folder: Path) -> dict[str, float]:
    path = folder / f"rows-{count}.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number, row in enumerate(generated_rows(count)):
            file.write(json.dumps({"text": row.text, "label": f"label {number % 20}", "id": f"{number}"}) + "\n")
    done = subprocess.run(
        [sys.executable, __file__, "--file", str(path)],
        env={**os.environ, "FTSDK_HOME": str(folder / "home")},
        capture_output=True,
        text=True,
        check=True,
    )
    path.unlink()
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--small", action="store_true", help="2,000 and 20,000 rows, only to see that it runs")
    parser.add_argument("--json", action="store_true", help="one JSON object for each size, and no table")
    parser.add_argument("--file", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.file is not None:
        print(json.dumps(measure(asked.file)))
        return
    sizes = (2_000, 20_000) if asked.small else (asked.rows, asked.many)
    with tempfile.TemporaryDirectory() as folder:
        measured = [run(size, Path(folder)) for size in sizes if size]
    if asked.json:
        for one in measured:
            print(json.dumps(one))
        return
    few, many = measured[0], measured[-1]
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    for name in few:
        print(f"{name:<46} {few[name]:>12,.1f} {many[name]:>12,.1f}")
    for name, seconds in (("rows/s without the report", "seconds without the report"), ("rows/s", "seconds")):
        print(f"{name:<46} {few['rows'] / few[seconds]:>12,.0f} {many['rows'] / many[seconds]:>12,.0f}")
    print(f"{'times the time for ten times':<46} {many['seconds'] / few['seconds']:>12.1f}")


if __name__ == "__main__":
    main()
