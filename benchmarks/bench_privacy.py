"""Personal data and credentials found by patterns: how many of the planted ones, what else, and how fast.

    python benchmarks/bench_privacy.py [ROWS]

Limits: of e-mail addresses, cards, IBANs, US social security numbers and IP addresses at least 99% are found, of phone
numbers 95%; no clean row is altered. Found means that the value is gone from the scrubbed text.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from planted_pii import CREDENTIAL_FORMS, Row, rows

from ftsdk.data.privacy import scrub

LIMITS = {"email": 0.99, "card": 0.99, "iban": 0.99, "ssn": 0.99, "ip": 0.99, "ipv6": 0.99, "phone": 0.95}
SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"


class Score(NamedTuple):
    recall: dict[str, float]
    altered: list[str]
    """Clean texts that were changed."""
    missed: list[Row]


def score(planted: list[Row]) -> Score:
    """Scrub rows and compare."""
    clean = scrub([row.text for row in planted])
    total, gone = Counter[str](), Counter[str]()
    altered: list[str] = []
    missed: list[Row] = []
    for row, text in zip(planted, clean.texts, strict=True):
        if row.kind is None:
            altered += [text] if text != row.text else []
            continue
        total[row.kind] += 1
        secret = row.value.rpartition("AccountKey=")[2]
        gone[row.kind] += secret not in text
        missed += [row] if secret in text else []
    return Score({kind: gone[kind] / total[kind] for kind in total}, altered, missed)


def real_texts(folder: Path = SHARED_DATA) -> dict[str, list[str]]:
    """Data without personal data, by name; what isn't there is left out."""
    found: dict[str, list[str]] = {}
    for file in (*folder.glob("clinc150/*.jsonl"), *folder.glob("gsm8k/*.jsonl")):
        with file.open(encoding="utf-8") as lines:
            found[f"{file.parent.name}/{file.name}"] = [text for line in lines for text in strings(json.loads(line))]
    return found


def strings(value: object) -> Iterable[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)


def main(count: int) -> int:
    result = score(rows(50_000, seed=7, planted=0.5))
    print(f"{'planted':<12}{'recall':>8}{'at least':>10}")
    for kind, recall in result.recall.items():
        print(f"{kind:<12}{recall:>8.4f}{LIMITS.get(kind, 0.99):>10.2f}")
    print(f"clean rows altered: {len(result.altered)}; formats of credentials: {len(CREDENTIAL_FORMS)}")
    fails = [kind for kind, recall in result.recall.items() if recall < LIMITS.get(kind, 0.99)]
    fails += ["clean rows"] if result.altered else []
    for name, texts in real_texts().items() or {"no real data beside this checkout": []}.items():
        changed = scrub(texts).changed
        fails += [name] if changed else []
        print(f"{name}: {len(changed)} of {len(texts):,} altered")
    texts = [row.text for row in rows(count, seed=8)]
    start, cpu = time.perf_counter(), time.process_time()
    found = scrub(texts)
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    size = sum(map(len, texts)) / 1e6
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"{count:,} rows, {size:,.0f} MB, {len(found.changed):,} changed: {wall:.1f} s ({count / wall:,.0f} rows/s), "
        f"{cpu:.1f} CPU s; the process took {memory:.2f} GiB, texts included"
    )
    print("FAILED: " + ", ".join(fails) if fails else "ok")
    return bool(fails)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000))
