"""The main job on public data.

CLINC150's messages into its ten domains, one epoch on 1,000 of them, judged on 300 of its test messages.

    python benchmarks/clinc150.py FOLDER [--require 0.70 | --small]

FOLDER holds `train.jsonl` and `test.jsonl` with the columns `text` and `domain` (github.com/clinc/oos-eval, CC BY 3.0);
the data is not part of this project. Without it the script says so and ends well. `--small` takes 96 messages and
judges on 30: the same way, but no measure of anything.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from small_model import smollm2

from ftsdk import SFT, Dataset, Eval, FineTuneJob, LoRA


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--require", type=float, default=0.0, help="end with status 1 below this accuracy of the tuned model"
    )
    parser.add_argument(
        "--small", action="store_true", help="few messages: shows that everything works, and requires no accuracy"
    )
    arguments = parser.parse_args()
    if arguments.small and arguments.require:
        parser.error("--small has no accuracy to require")
    if not (arguments.folder / "train.jsonl").exists():
        print(f"skipped: there is no CLINC150 in {arguments.folder}")
        return 0
    rows, judged = (96, 30) if arguments.small else (1000, 300)
    if arguments.small:
        print(f"the small form: {rows} messages to train on, {judged} to judge by; its accuracy says nothing")
    prompt = "Which domain is this message about?\n\n{text}"
    train = (
        Dataset.from_file(arguments.folder / "train.jsonl")
        .as_chat(prompt=prompt, completion="{domain}")
        .sample(rows, seed=0)
    )
    test = (
        Dataset.from_file(arguments.folder / "test.jsonl")
        .as_chat(prompt=prompt, completion="{domain}")
        .sample(judged, seed=0)
    )
    start = time.monotonic()
    run = FineTuneJob(
        name="clinc150",
        model=smollm2(),
        train=train,
        method=SFT(train_on="completion"),
        tuning=LoRA(rank=16, dropout=0.0),
        epochs=1,
        batch_size=8,
        learning_rate=1e-3,
        evals=[Eval.exact_match(test, name="domain")],
    ).submit()
    run.wait()
    trained_s = time.monotonic() - start
    report = run.evaluate()
    print(report)
    print(f"training {trained_s / 60:.1f} min, both evaluations {(time.monotonic() - start - trained_s) / 60:.1f} min")
    tuned = next(score for score in report.scores if score.target == "tuned")
    if tuned.value < arguments.require:
        print(f"tuned accuracy {tuned.value:.1%} is below the {arguments.require:.0%} that is required")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
