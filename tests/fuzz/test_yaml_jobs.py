"""Malformed job files: each ends in our errors or in a job whose YAML reads back as the same job."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from fuzzing import FuzzCases, Tally, limits

from ftsdk import FineTuneJob
from ftsdk.errors import FtsdkError

pytestmark = pytest.mark.fuzz

JOB = """\
x-data: &data
  file: mails.jsonl
  chat: {prompt: "{text}", completion: "{label}"}
model: org/name
train: {<<: *data, split: {validation: 0.2, test: 0.2, seed: 7}, part: train}
validation: {<<: *data, split: {validation: 0.2, test: 0.2, seed: 7}, part: validation}
method: {kind: sft, train_on: completion}
tuning: {kind: lora, rank: 8}
epochs: 2
learning_rate: 0.0001
budget_usd: 5
evals:
  - {scorer: exact_match, name: accuracy, data: {<<: *data, split: {validation: 0.2, test: 0.2, seed: 7}, part: test}}
backend: {name: local, options: {device: cpu}}
"""
PIECES = (
    "&a ", "*a", "*data", "<<: *data\n", "<<: [*data, *data]\n", "? ", ": ", "- ", "[", "]", "{", "}", "'",
    '"', "|\n", ">\n", "#",
    "!!int ", "!!bool x", "!!timestamp x", "!!python/object:os.system x", "!!binary ////", "!!set {a, a}",
    "!!omap [a: 1]", "---\n",
    "...\n", "%YAML 1.1\n", "\t", "\0", "\ufeff", "\u2028", "😀", "~", "null", ".nan", ".inf", "-.inf", "1e400",
    "010", "1:30",
    "0x" + "f" * 6000, "9" * 6000, "2026-13-45", "2026-11-27", "yes", "no", "[" * 300, "{a: " * 300,
    "- " * 3000, "a: &b [*b]\n",
    "epochs: 3\n", "epochs: -1\n", "epochs: [1]\n", "train: x.jsonl\n", "model: {id: 1}\n",
    "backend: nowhere\n", "file: /dev/zero",
    "file: mails.jsonl", "steps: [{take: 1}]\n", "x: &x [x,x]\ny: &y [*x,*x,*x]\nz: [*y,*y]\n",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = "".join(f'{{"text": "mail {i}", "label": "{"ab"[i % 2]}"}}\n' for i in range(20))
    (tmp_path / "mails.jsonl").write_text(rows, encoding="utf-8")
    return tmp_path


def test_a_malformed_job_is_refused_or_is_a_job(fuzz_cases: FuzzCases, folder: Path) -> None:
    tally = Tally("YAML jobs")
    path = folder / "job.yaml"
    for rng in fuzz_cases:
        path.write_bytes(_mutated(JOB, rng))
        with limits(seconds=10, mib=400) as used:
            try:
                job = FineTuneJob.from_yaml(path)
                tally.read += 1
            except FtsdkError:
                job = None
                tally.refused += 1
        tally.add(used)
        if job is not None:
            written = job.to_yaml(folder / "again.yaml")
            assert FineTuneJob.from_yaml(folder / "again.yaml").to_yaml(folder / "again.yaml") == written
    tally.show()


def _mutated(text: str, rng: random.Random) -> bytes:
    for _ in range(rng.randrange(4)):
        lines = text.splitlines(keepends=True) or [""]
        at = rng.randrange(len(text) + 1)
        match rng.randrange(6):
            case 0:
                text = text[:at] + rng.choice(PIECES) + text[at:]
            case 1:
                text = text[:at] + text[at + rng.randrange(20) :]
            case 2:
                text = text[:at]
            case 3:
                lines.insert(rng.randrange(len(lines)), rng.choice(lines))
                text = "".join(lines)
            case 4:
                line = rng.randrange(len(lines))
                key, colon, _ = lines[line].partition(":")
                lines[line] = f"{key}{colon} {rng.choice(PIECES)}\n"
                text = "".join(lines)
            case _:
                lines.insert(rng.randrange(len(lines)), " " * rng.randrange(4) + rng.choice(PIECES))
                text = "".join(lines)
    return text.encode(rng.choice(("utf-8", "utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16")), "surrogatepass")
