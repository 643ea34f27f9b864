"""Training on a CPU: ours and TRL's own trainers at several settings, on the same rows, interleaved in one process.

    python benchmarks/bench_training.py [DATA] [--work NAME ...] [--steps 4] [--rounds 2] [--seeds 3] [--json FILE]
    python benchmarks/bench_training.py [DATA] --settings          # never below 0.95 of TRL?
    python benchmarks/bench_training.py --small                    # does it run? with a tiny model

DATA is a folder with `clinc150/train.jsonl` (columns `text` and `domain`, github.com/clinc/oos-eval, CC BY 3.0) and
`gsm8k/` (github.com/openai/grade-school-math, MIT: `train.jsonl`, `example_model_solutions.jsonl`); without it rows of
the same shape are made up. SmolLM2-135M-Instruct, LoRA rank 16 on all linear layers, 16 rows a step, the number format
that is fastest here. Each way trains a fresh adapter in each round; a row's time is the median over rounds, of the wall
and of the processor. Peak memory is that of a process of its own. The share of the ceiling is that of a product of
1,024 x 1,024 matrices, measured before and after, and counts the layers' products, not the head's.

With `--seeds`, ours and TRL train one epoch of 512 rows for each seed, and the loss of 128 other rows is compared.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

from training_ways import BATCH, Result, Setting, Ways, measured_ceiling, ways_of
from training_workloads import WORKLOADS, made_rows

OTHER_SETTINGS: dict[str, tuple[str, dict[str, Any]]] = {
    "full fine-tuning": ("clinc", {"tuning": "full", "learning_rate": 2e-5}),
    "adapters in attention only": ("clinc", {"targets": ("q_proj", "k_proj", "v_proj", "o_proj")}),
    "dropout of 0.05": ("clinc", {"dropout": 0.05}),
    "rank 64": ("clinc", {"rank": 64}),
    "one row a step": ("clinc", {"batch": 1}),
    "four rows a step": ("gsm8k", {"batch": 4}),
    "nothing shared": ("plain", {}),
    "nothing shared, one row a step": ("plain", {"batch": 1}),
    "nothing shared, full fine-tuning": ("plain", {"tuning": "full", "learning_rate": 2e-5}),
    "one pair a step": ("dpo", {"batch": 1, "learning_rate": 5e-6}),
}
"""What else the SDK supports, with the workload it is tried on."""
SEED_ROWS, SEED_VALIDATION = 512, 128


def has_fast_bfloat16() -> bool:
    from ftsdk.backends.launchers.this_machine import find_hardware

    return find_hardware(device="cpu", processes=1).has_bfloat16


def machine(dtype: str) -> dict[str, Any]:
    """Return where and on what this was measured."""
    import torch

    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [line.split(":")[1] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
        cpu = names[0].strip() if names else cpu
    return {
        "cpu": cpu,
        "threads": torch.get_num_threads(),
        "dtype": dtype,
        "load_at_start": round(os.getloadavg()[0], 2),
        "torch": torch.__version__,
        "day": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
    }


class Bench:
    """One call of this script."""

    def __init__(self, asked: argparse.Namespace, scratch: Path) -> None:
        self.asked, self.scratch = asked, scratch
        self.dtype: str = asked.dtype or ("bfloat16" if has_fast_bfloat16() else "float32")
        self.model: Path | None = None
        if asked.small:
            from ftsdk.testing.tiny import build_tiny_model

            self.model = build_tiny_model(scratch / "tiny")
        self.machine = machine(self.dtype)
        self.ceiling = measured_ceiling(self.dtype)

    def setting(self, workload: str, **changes: Any) -> Setting:
        rate = 5e-6 if workload == "dpo" else 2e-4
        return Setting(**{"dtype": self.dtype, "learning_rate": rate, **changes})

    def ways(self, workload: str, steps: int, **changes: Any) -> Ways:
        setting = self.setting(workload, **changes)
        rows = made_rows(workload, setting.batch * max(8, steps), self.asked.data)
        return Ways(workload, rows, setting, self.scratch, model=self.model)

    def compare(self, workload: str, names: list[str], *, with_memory: bool, **changes: Any) -> dict[str, Any]:
        """Run each way in turn, print a line for each, and return the figures."""
        asked = self.asked
        ways = self.ways(workload, asked.steps, **changes)
        print(f"\n{workload}: {WORKLOADS[workload][1]}; {ways.tokens:.0f} tokens a row, {ways.trained:.1f} trained")
        runs: dict[str, list[Result]] = {name: [] for name in names}
        for _ in range(asked.rounds):
            for name in names:
                runs[name].append(ways.run(name, steps=asked.steps))
        ceiling = max(self.ceiling, measured_ceiling(self.dtype))
        print("\n".join(f"  {note}" for note in runs[names[0]][0].notes[:1]))
        found: dict[str, Any] = {}
        for name, results in runs.items():
            wall, cpu = (statistics.median(getattr(one, key) for one in results) for key in ("wall_s", "cpu_s"))
            figures: dict[str, Any] = {
                "rows_per_s": 1 / wall,
                "rows_per_cpu_s": 1 / cpu,
                "trained_tokens_per_s": ways.trained / wall,
                "computed_tokens_of_a_row": results[0].tokens,
                "share_of_ceiling": results[0].operations / wall / ceiling,
                "peak_gb": self._peak_gb(workload, name) if with_memory else None,
                "losses": results[0].losses,
            }
            found[name] = figures
            peak = "" if figures["peak_gb"] is None else f"{figures['peak_gb']:5.1f} GB "
            losses = " ".join(f"{loss:.3f}" for loss in results[0].losses)
            print(
                f"  {name:22} {1 / wall:7.2f} rows/s {1 / cpu:7.2f} per cpu-s {ways.trained / wall:7.1f} trained "
                f"tokens/s {figures['share_of_ceiling']:4.0%} of the ceiling {peak} loss {losses}",
                flush=True,
            )
        found["ratios"] = {key: _ratio(found, key) for key in ("rows_per_s", "rows_per_cpu_s")}
        for key, (ratio, best) in found["ratios"].items():
            if best:
                print(f"  ours / TRL at its best ({best}), {key}: {ratio:.2f}", flush=True)
        return {"tokens": ways.tokens, "trained": ways.trained, "ceiling_gflops": ceiling / 1e9, "ways": found}

    def _peak_gb(self, workload: str, name: str) -> float:
        """Return the peak memory of a process that trains two steps in one way."""
        command = [sys.executable, __file__, "--work", workload, "--only", name, "--steps", "2", "--dtype", self.dtype]
        command += [str(self.asked.data)] if self.asked.data else []
        result = subprocess.run(command, check=True, capture_output=True, text=True)
        return float(result.stdout.splitlines()[-1])

    def compare_seeds(self, workload: str) -> dict[str, Any]:
        """Train an epoch with each seed, and print the loss of other rows."""
        count, held_out = (32, 8) if self.asked.small else (SEED_ROWS, SEED_VALIDATION)
        rows = made_rows(workload, count + held_out, self.asked.data, seed=1)
        setting = self.setting(workload)
        ways = Ways(workload, rows[held_out:], setting, self.scratch, validation=rows[:held_out], model=self.model)
        found: dict[str, list[float]] = {}
        for seed in range(self.asked.seeds):
            for name in ("ours", "TRL, 8 at once"):
                result = ways.run(name, steps=count // BATCH, seed=seed)
                found.setdefault(name, []).append(result.validation or 0.0)
        print(f"\n{workload}: the loss of {held_out} other rows after one epoch of {count}, for each seed")
        for name, losses in found.items():
            each = " ".join(f"{loss:.4f}" for loss in losses)
            spread = statistics.stdev(losses) if len(losses) > 1 else 0.0
            print(f"  {name:22} {each}   mean {statistics.mean(losses):.4f}, spread {spread:.4f}", flush=True)
        return found

    def compare_settings(self) -> tuple[dict[str, Any], bool]:
        """Run other settings, and return the figures and whether none is slower than 0.95 of TRL."""
        found: dict[str, Any] = {}
        for name, (workload, changes) in OTHER_SETTINGS.items():
            print(f"\n{name}", end="")
            names = [way for way in ways_of(workload, is_small=self.asked.small) if "4 at" not in way]
            if changes.get("batch", BATCH) < BATCH:
                # TRL packs as many rows as four, and a step of fewer has nothing to pack.
                names = ["ours", f"TRL, {changes['batch']} at once"]
            found[name] = self.compare(workload, names, with_memory=False, **changes)
        ratios = {name: one["ways"]["ratios"]["rows_per_cpu_s"][0] for name, one in found.items()}
        slow = [f"{name} ({ratio:.2f})" for name, ratio in ratios.items() if ratio < 0.95]
        print(f"\nbelow 0.95 of TRL: {', '.join(slow) or 'none'}; lowest {min(ratios.values()):.2f}")
        return found, not slow


def _ratio(found: dict[str, Any], key: str) -> tuple[float, str]:
    others = [name for name in found if name.startswith("TRL")]
    if not others or "ours" not in found:
        return 0.0, ""
    best = max(others, key=lambda name: found[name][key])
    return found["ours"][key] / found[best][key], best


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", nargs="?", type=Path, help="a folder with clinc150/ and gsm8k/")
    parser.add_argument(
        "--work", action="append", choices=list(WORKLOADS), help="only this; may be given several times"
    )
    parser.add_argument("--way", action="append", help="only this way to train; may be given several times")
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--seeds", type=int, default=0, help="compare the loss of other rows after an epoch")
    parser.add_argument("--settings", action="store_true", help="compare other settings, without memory")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--dtype", choices=["bfloat16", "float32"])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--small", action="store_true", help="show that it runs: a tiny model, two steps, one round")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    os.environ["TRANSFORMERS_VERBOSITY"] = "error"
    os.environ["TQDM_DISABLE"] = "1"
    asked.steps, asked.rounds = (2, 1) if asked.small else (max(2, asked.steps), asked.rounds)
    if asked.data is not None and not any((asked.data / name).exists() for name in ("clinc150", "gsm8k")):
        parser.error(f"there is neither clinc150/ nor gsm8k/ in {asked.data}")
    works: list[str] = asked.work or [name for name in WORKLOADS if name != "plain"]
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(asked, Path(scratch))
        if asked.only:
            import resource

            bench.ways(works[0], 2).run(asked.only, steps=2)
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9)
            return 0
        print(", ".join(f"{key} {value}" for key, value in bench.machine.items()))
        print(f"a product of 1,024 x 1,024 matrices: {bench.ceiling / 1e9:.0f} GFLOP/s")
        if asked.data is None and not asked.small:
            print("no data were given: rows are made up")
        is_fine, found = True, dict[str, Any]()
        if asked.settings:
            found["settings"], is_fine = bench.compare_settings()
        else:
            for work in works:
                names = asked.way or ways_of(work, is_small=asked.small)
                with_memory = not (asked.small or asked.no_memory)
                found[work] = bench.compare(work, names, with_memory=with_memory)
                if asked.seeds:
                    found[work]["seeds"] = bench.compare_seeds(work)
        if asked.json is not None:
            asked.json.write_text(json.dumps({"machine": bench.machine, "found": found}, indent=1))
    return 0 if is_fine else 1


if __name__ == "__main__":
    sys.exit(main())
