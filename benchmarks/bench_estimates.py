"""How far the estimates are off on published runs: fitted, leaving rows out, leaving sources out.

And how long an estimate takes.

python benchmarks/bench_estimates.py
"""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from fit_memory import leaving_one_source_out as leaving_one_memory_source_out
from fit_memory import memory_of, predicted_gb, with_memory
from fit_training import error, fit, leaving_one_row_out, leaving_one_source_out, timed
from training_rows import OUT_OF_MEMORY, Row, read_rows

from ftsdk.cost.training.job_memory import loss_of
from ftsdk.cost.training.memory import peak_memory, verdict
from ftsdk.cost.training.step_time import spread_of, step_time
from ftsdk.spec import SFT

_Z80 = 1.2816


def mean_error(errors: Sequence[float]) -> float:
    return sum(abs(e) for e in errors) / len(errors)


def covered(rows: Sequence[Row], errors: Sequence[float | None], known: str) -> tuple[float, float]:
    """Share of the rows inside of their 80% interval, and the mean width of it as a factor from low to high."""
    inside, widths = [], []
    for row, off in zip(rows, errors, strict=True):
        if off is None:
            continue
        sigma = spread_of(row.step, step_time(row.step, row.shape, row.device), row.device, known=known)  # type: ignore[arg-type]
        inside.append(abs(math.log(1 + off)) <= _Z80 * sigma)
        widths.append(math.exp(2 * _Z80 * sigma))
    return sum(inside) / len(inside), sum(widths) / len(widths)


LIMITS = {"fitted": 0.08, "leaving one row out": 0.095, "leaving one source out": 0.25}


def main() -> int:
    failed: list[str] = []
    rows = timed(read_rows())
    core = [row for row in rows if row.is_core]
    fitted = fit(rows)
    in_sample = [error(row, fitted) for row in rows]
    row_out = leaving_one_row_out(rows, fitted)
    source_out = leaving_one_source_out(rows)
    for name, chosen in (("adapters on one device or data-parallel", core), ("all", rows)):
        kept = [row in chosen for row in rows]
        of = lambda errors: [e for e, keep in zip(errors, kept, strict=True) if keep and e is not None]  # noqa: B023, E731
        print(
            f"time, {name} ({len(chosen)} rows): fitted {mean_error(of(in_sample)):.1%}, leaving one row out "
            f"{mean_error(of(row_out)):.1%}, ",
            end="",
        )
        print(f"leaving one source out {mean_error(of(source_out)):.1%} ({len(of(source_out))} rows)")
    for name, known, errors in (
        ("row", "same_stack", row_out),
        ("source", "new_stack", source_out),
        ("row", "new_stack", row_out),
    ):
        for label, chosen in (("core", core), ("all", rows)):
            pairs = [(row, off) for row, off in zip(rows, errors, strict=True) if row in chosen]
            share, width = covered([row for row, _ in pairs], [off for _, off in pairs], known)
            failed += [f"intervals, one {name} out, {label}"] if share < 0.8 else []
            print(f"80% intervals ({known}), leaving one {name} out, {label}: hold {share:.0%}, high/low x{width:.2f}")
    for source in sorted({row.source for row in rows}):
        pairs = [
            (a, b, c) for row, a, b, c in zip(rows, in_sample, row_out, source_out, strict=True) if row.source == source
        ]
        outside = [c for _, _, c in pairs if c is not None]
        print(f"  {source}: {len(pairs)} rows, fitted {mean_error([a for a, _, _ in pairs]):.1%}", end="")
        print(f", source out {mean_error(outside):.1%} (bias {sum(outside) / len(outside):+.1%})" if outside else "")
    failed += memory_report()
    held_out_report()
    taken_ms = estimate_ms()
    print(f"an estimate without a tokenizer: {taken_ms:.1f} ms for 1,000 rows")
    failed += ["time of an estimate"] if taken_ms > 50 else []
    for label in failed:
        print(f"MISSED: {label}")
    return 1 if failed else 0


def estimate_ms() -> float:
    """Median of nine."""
    from ftsdk import Dataset, FineTuneJob, Together

    rows = [{"text": f"mail number {n} " * 20, "label": "ab"[n % 2]} for n in range(1000)]
    train = Dataset.from_rows(rows).as_chat(prompt="{text}", completion="{label}")
    job = FineTuneJob(model="meta-llama/Llama-3.1-8B-Instruct", train=train, backend=Together())
    job.estimate(is_exact=False)
    taken: list[float] = []
    for _ in range(9):
        start = time.perf_counter()
        job.estimate(is_exact=False)
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1000


def memory_report() -> list[str]:
    rows = with_memory(read_rows())
    errors = {id(row): predicted_gb(row) / (row.peak_memory_gb or 1) - 1 for row in rows}
    all_off, core = list(errors.values()), [row for row in rows if row.is_core and "Qwen" in row.source]
    print(
        f"memory, adapters with recomputation (Qwen, {len(core)} rows): {mean_error([errors[id(r)] for r in core]):.1%}"
    )
    print(f"memory, all ({len(rows)} rows): {mean_error(all_off):.1%}")
    out = leaving_one_memory_source_out(rows)
    for source in sorted({row.source for row in rows}):
        chosen = [errors[id(row)] for row in rows if row.source == source]
        print(
            f"  {source}: {len(chosen)} rows, {mean_error(chosen):.1%} (bias {sum(chosen) / len(chosen):+.1%})", end=""
        )
        mine = [(off, inside) for row, off, inside in out if row.source == source]
        print(
            f", source out {mean_error([off for off, _ in mine]):.1%}, "
            f"{sum(inside for _, inside in mine)} of {len(mine)} inside"
        )
    inside = sum(held for _, _, held in out) / len(out)
    print(
        f"memory, leaving one source out: {mean_error([off for _, off, _ in out]):.1%}, 80% intervals hold {inside:.0%}"
    )
    wrong = wrongly_fitting(rows) + wrongly_fitting(with_memory(read_rows(is_fitted=False)), as_ours=True)
    wrong += wrongly_fitting_in_a_card()
    print(f"rows that would be said to fit in less than they took: {len(wrong)}")
    failed = ["memory"] if mean_error(all_off) > 0.055 else []
    failed += ["intervals of memory"] if inside < 0.8 else []
    return failed + (["memory that was said to fit"] if wrong else [])


def held_out_report() -> None:
    """Print how far the packaged constants are off on runs that they weren't fitted to.

    No limit: these errors are known and open.
    """
    for row in read_rows(is_fitted=False):
        predicted_s = step_time(row.step, row.shape, row.device).total_s
        time_off = predicted_s / (row.measured_s or 1) - 1
        memory_off = f", memory {predicted_gb(row) / row.peak_memory_gb - 1:+.0%}" if row.peak_memory_gb else ""
        print(
            f"held out: {row.model}, {row.step.tuning}, {row.step.row_tokens:.0f} tokens a row: time "
            f"{time_off:+.0%}{memory_off}  [{row.source}]"
        )


def wrongly_fitting(rows: Sequence[Row], *, as_ours: bool = False) -> list[Row]:
    """Rows of which it would be said that they fit in a hair less memory than they took.

    Args:
        rows: The rows.
        as_ours: By what estimates of a job bill, which is nothing in 32 bits.
    """
    found: list[Row] = []
    for row in rows:
        memory = memory_of(row)
        if as_ours:
            memory = replace(memory, loss=loss_of(SFT()), upcasts=False, casts_inputs=False)
        if verdict(peak_memory(memory, row.shape), (row.peak_memory_gb or 0) * 0.999e9 / 2**30) == "fits":
            found.append(row)
    return found


def wrongly_fitting_in_a_card() -> list[Row]:
    """Runs that ended for lack of memory, and would be said to fit."""
    return [
        row
        for row in read_rows(OUT_OF_MEMORY, is_fitted=False)
        if verdict(peak_memory(memory_of(row), row.shape), row.device.memory_gib or 0) == "fits"
    ]


if __name__ == "__main__":
    sys.exit(main())
