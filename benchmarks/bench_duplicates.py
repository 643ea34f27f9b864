"""Near-duplicates against datasketch and datatrove: the same rows, on this machine, one after the other.

    python benchmarks/bench_duplicates.py [--rows 100000] [--many 1000000] [--datatrove PYTHON] [--small]

`--datatrove` is the interpreter of an environment with `datatrove[io,processing]`, orjson and spacy, which do not
fit beside our packages.
Each method runs in a process of its own, which makes the rows first; times are of the search alone, and memory is what
the search adds to the peak of the process with its rows. datasketch and datatrove get a fifth of the rows, for they
take long; all are compared by rows per second. Goals: precision 0.99, recall 0.95, 4 times as fast as
datasketch and 20 times as datatrove; ten times the rows take ten times the time and less than 1 GiB.
"""

# pyright: reportMissingImports=false
from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from generated_rows import Quality, generated_rows, quality

THRESHOLD = 0.7


def by_ftsdk(texts: list[str]) -> list[list[int]]:
    from ftsdk.data.duplicates.near import near_duplicates

    return [list(cluster) for cluster in near_duplicates(texts, threshold=THRESHOLD).clusters]


def by_datasketch(texts: list[str]) -> list[list[int]]:
    """What its documentation shows: an index of MinHashes, queried for each row before the row is added."""
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=THRESHOLD, num_perm=128)
    cluster_of: list[int] = []
    for position, text in enumerate(texts):
        words = text.split()
        sketch = MinHash(num_perm=128)
        sketch.update_batch([" ".join(words[i : i + 3]).encode() for i in range(len(words) - 2)])
        found = index.query(sketch)
        cluster_of.append(min((cluster_of[int(str(other))] for other in found), default=position))
        index.insert(str(position), sketch)
    return _grouped(cluster_of)


def by_datatrove(texts: list[str]) -> list[list[int]]:
    """Its four stages of MinHash with two workers, as in its examples."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupSignature
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupFilter
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers import JsonlWriter
    from datatrove.utils.hashing import HashConfig

    config = MinhashConfig(hash_config=HashConfig(hash_fc="sha1", precision=64), n_grams=3)
    with tempfile.TemporaryDirectory() as scratch:
        into = Path(scratch)
        (into / "rows").mkdir()
        for part in range(2):
            lines = (json.dumps({"text": text, "id": str(n)}) + "\n" for n, text in enumerate(texts) if n % 2 == part)
            (into / "rows" / f"{part}.jsonl").write_text("".join(lines))
        reader = JsonlReader(str(into / "rows"))
        stages = [
            ([reader, MinhashDedupSignature(str(into / "signatures"), config=config)], 2),
            ([MinhashDedupBuckets(str(into / "signatures"), str(into / "buckets"), config=config)], config.num_buckets),
            ([MinhashDedupCluster(str(into / "buckets"), str(into / "remove"), config=config)], 1),
            ([reader, MinhashDedupFilter(str(into / "remove")), JsonlWriter(str(into / "kept"), compression=None)], 2),
        ]
        for number, (pipeline, tasks) in enumerate(stages):
            LocalPipelineExecutor(pipeline, tasks=tasks, workers=2, logging_dir=str(into / "log" / str(number))).run()
        kept = {int(json.loads(line)["id"]) for file in (into / "kept").glob("*.jsonl") for line in file.open()}
    # It says what to remove and not of what it is a copy, so that only the number of removed rows can be compared.
    return [[n for n in range(len(texts)) if n not in kept]]


METHODS: dict[str, Callable[[list[str]], list[list[int]]]] = {
    "ftsdk": by_ftsdk,
    "datasketch": by_datasketch,
    "datatrove": by_datatrove,
}


def _grouped(cluster_of: list[int]) -> list[list[int]]:
    groups: dict[int, list[int]] = {}
    for position, cluster in enumerate(cluster_of):
        groups.setdefault(cluster, []).append(position)
    return [group for group in groups.values() if len(group) > 1]


def measure(method: str, count: int) -> dict[str, float]:
    """Run one method in this process."""
    import resource

    rows = list(generated_rows(count))
    texts, truth = [row.text for row in rows], [row.cluster for row in rows]
    del rows
    METHODS[method](texts[:50] * 2)  # imports, and whatever else happens once
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    clusters = METHODS[method](texts)
    seconds = time.perf_counter() - start
    added = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    copies = count - len(set(truth))
    is_removal = method == "datatrove"
    found = Quality(float("nan"), len(clusters[0]) / copies) if is_removal else quality(clusters, truth)
    return {"rows": count, "seconds": seconds, "added_mib": added / 1024, **found._asdict()}


def in_a_process(method: str, count: int, python: str = sys.executable) -> dict[str, float]:
    command = [python, __file__, "--method", method, "--rows", str(count)]
    answer = subprocess.run(command, check=False, capture_output=True, text=True)
    if answer.returncode:
        raise SystemExit(f"{method} failed: {answer.stderr.strip().splitlines()[-1]}")
    return json.loads(answer.stdout.splitlines()[-1])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--many", type=int, default=1_000_000)
    parser.add_argument("--datatrove", metavar="PYTHON", help="an interpreter that has datatrove[processing]")
    parser.add_argument("--small", action="store_true", help="5,000 rows, and 50,000: shows that everything works")
    parser.add_argument("--method", choices=list(METHODS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.method:
        print(json.dumps(measure(arguments.method, arguments.rows)))
        return 0
    few, many = (5_000, 50_000) if arguments.small else (arguments.rows, arguments.many)
    ours = in_a_process("ftsdk", few)
    found = {"ftsdk": ours, "datasketch": in_a_process("datasketch", max(few // 5, 1000))}
    if arguments.datatrove:
        found["datatrove"] = in_a_process("datatrove", max(few // 5, 1000), arguments.datatrove)
    else:
        print("datatrove: not measured; pass --datatrove PYTHON")
    speed = {name: one["rows"] / one["seconds"] for name, one in found.items()}
    for name, one in found.items():
        print(
            f"{name:10}  {one['rows']:>9,.0f} rows  {speed[name]:>9,.0f} rows/s  precision {one['precision']:.4f}  "
            f"recall {one['recall']:.4f}  {one['added_mib']:>6,.0f} MiB  "
            f"ftsdk is {speed['ftsdk'] / speed[name]:.1f} x as fast"
        )
    large = in_a_process("ftsdk", many)
    print(
        f"ftsdk       {many:>9,} rows  {large['rows'] / large['seconds']:>9,.0f} rows/s  precision "
        f"{large['precision']:.4f}  recall {large['recall']:.4f}  {large['added_mib']:>6,.0f} MiB: "
        f"{many / few:.0f} x the rows take {large['seconds'] / ours['seconds']:.1f} x the time"
    )
    is_good = min(ours["precision"], large["precision"]) >= 0.99 and min(ours["recall"], large["recall"]) >= 0.95
    return 0 if is_good and large["added_mib"] < 1024 else 1


if __name__ == "__main__":
    sys.exit(main())
