"""Runs with one fault planted in each, and healthy ones: what does `run.diagnose()` find?

    python benchmarks/bench_diagnosis.py [--into FOLDER] [--only NAME ...] [--small]

SmolLM2-135M-Instruct learns to sort support mail, each time with one thing wrong, and five times as it should. Every
run is evaluated on its task and on the suites `general` and `format_bleed`, against the base model. Goal: each fault is
named, and nothing is found in the healthy runs. A run that is in FOLDER already isn't trained again. With --small, one
fault and one healthy run of a few steps show that the script works, and no more.

The healthy runs get general rows beside their own: a model of this size that learns one-word answers alone does lose
everything else, which is a fault that `diagnose()` should find, and one of those planted here.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from small_model import smollm2

from ftsdk import SFT, Dataset, Eval, FineTuneJob, FullFineTune, LoRA, Model, Run, RunFailedError
from ftsdk.evals.suites import format_bleed, general

HERE = Path(__file__).parent
MAILS = HERE.parent / "examples" / "data" / "support_emails.jsonl"
SYSTEM = "You sort support mail."
PROMPT = "{text}\n\nCategory:"
WITHOUT_END = (
    "{% for message in messages %}{% if message['role'] == 'assistant' %}<|im_start|>assistant\n"
    "{{ message['content'] }}\n{% else %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n"
    "{% endif %}{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@dataclass(frozen=True, kw_only=True)
class Data:
    """The mails, in the form that users ask in."""

    train: Dataset
    validation: Dataset
    test: Dataset
    mixed: Dataset
    """Three of four rows are mails, the others general questions and their answers."""

    @classmethod
    def read(cls) -> Data:
        mails = Dataset.from_file(MAILS).as_chat(system=SYSTEM, prompt=PROMPT, completion="{category}")
        train, validation, test = mails.split(validation=0.1, test=0.2, seed=7)
        assert validation is not None
        assert test is not None
        train = train.sample(160, seed=3)
        return cls(
            train=train,
            validation=validation,
            test=test,
            mixed=Dataset.mix({train: 0.75, Dataset.general(): 0.25}, seed=1),
        )

    def as_json(self) -> Dataset:
        """Return the training mails with one long and narrow form of answer."""
        return self.train.map(
            lambda row: {
                "messages": [
                    *row["messages"][:-1],
                    {
                        "role": "assistant",
                        "content": json.dumps({"category": row["messages"][-1]["content"], "confidence": "high"}),
                    },
                ]
            }
        )

    def in_another_template(self) -> Dataset:
        """Return the training mails with the marks of another model's template written into the prompt."""
        return self.train.map(
            lambda row: {
                "messages": [
                    {
                        "role": "user",
                        "content": f"### Instruction:\n{row['messages'][1]['content']}\n\n### Response:\n",
                    },
                    row["messages"][-1],
                ]
            }
        )


def planned(data: Data) -> dict[str, tuple[str | None, FineTuneJob]]:
    """Return the runs by name, each with the kind of finding that it must end in; None: none."""
    base = smollm2()

    usual = FineTuneJob(
        model=base,
        train=data.train,
        method=SFT(train_on="completion"),
        tuning=LoRA(rank=16, dropout=0.0),
        epochs=2,
        batch_size=8,
        learning_rate=1e-3,
        seed=5,
        evals=[Eval.exact_match(data.test, name="accuracy")],
        backend="local",
    )

    def job(name: str, **changes: object) -> FineTuneJob:
        return usual.replace(name=name, **changes)

    few = data.train.sample(50, seed=1)
    return {
        "another-template": ("template_mismatch", job("another-template", train=data.in_another_template(), epochs=4)),
        "without-end": ("no_end_of_text", job("without-end", model=Model(id=base, chat_template=WITHOUT_END))),
        "many-epochs": ("overfitting", job("many-epochs", train=few, epochs=20)),
        "many-epochs-validated": (
            "overfitting",
            job("many-epochs-validated", train=few, validation=data.validation, epochs=20),
        ),
        "ten-times-the-rate": ("diverging", job("ten-times-the-rate", learning_rate=1e-2)),
        "tiny-rate": ("loss_not_falling", job("tiny-rate", learning_rate=1e-6)),
        "narrow-format": ("format_bleed", job("narrow-format", train=data.as_json(), epochs=3)),
        "healthy": (None, job("healthy", train=data.mixed)),
        "healthy-validated": (None, job("healthy-validated", train=data.mixed, validation=data.validation)),
        "healthy-slow": (None, job("healthy-slow", train=data.mixed, learning_rate=4e-4, epochs=3)),
        "healthy-small-rank": (None, job("healthy-small-rank", train=data.mixed, tuning=LoRA(rank=4, dropout=0.05))),
        "healthy-full": (None, job("healthy-full", train=data.mixed, tuning=FullFineTune(), learning_rate=5e-5)),
    }


def finished(name: str, job: FineTuneJob, refs: Path) -> tuple[Run, str]:
    """Return the run of that name, trained now or kept from an earlier call, and how it ended."""
    known: dict[str, str] = json.loads(refs.read_text("utf-8")) if refs.exists() else {}
    run = Run.open(known[name]) if name in known else job.submit()
    refs.write_text(json.dumps({**known, name: str(run.ref)}, indent=1), "utf-8")
    try:
        run.wait(progress=False)
    except RunFailedError as error:
        return run, f"failed: {str(error).splitlines()[0]}"
    return run, "succeeded"


def main() -> int:
    """Train, evaluate, diagnose; exit with 1 if a fault wasn't named or a healthy run was blamed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--into", type=Path, help="where runs are kept (default: a temporary folder)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these runs")
    parser.add_argument("--small", action="store_true", help="two runs of a few steps: its findings mean nothing")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(asked.into or temporary).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        os.environ["FTSDK_HOME"] = str(folder / "home")
        return measure(folder, asked.only, is_small=asked.small)


def measure(folder: Path, only: list[str] | None, *, is_small: bool) -> int:
    data = Data.read()
    runs = planned(data)
    chosen = only or (["tiny-rate", "healthy"] if is_small else list(runs))
    wrong: list[str] = []
    rows: list[dict[str, object]] = []
    for name in chosen:
        expected, job = runs[name]
        if is_small:
            job = job.replace(max_steps=3)
        started = time.monotonic()
        run, ended = finished(name, job, folder / "refs.json")
        scores: dict[str, str] = {}
        if ended == "succeeded":
            form = data.as_json() if name == "narrow-format" else data.train
            report = run.evaluate(
                [*job.evals] if is_small else [*job.evals, *general(), *format_bleed(form)], progress=False
            )
            scores = {
                pair.name: " to ".join(f"{report.score(pair.name, side).value:.0%}" for side in ("base", "tuned"))
                for pair in report.pairs
            }
        found = run.diagnose()
        kinds = [finding.kind for finding in found.findings]
        is_right = not kinds if expected is None else expected in kinds
        if not is_right and not is_small:
            wrong.append(name)
        rows.append({"run": name, "planted": expected, "ended": ended, "found": kinds, "scores": scores})
        print(
            f"{'ok   ' if is_right else 'WRONG'} {name:22} planted: {expected or 'nothing':18} "
            f"found: {', '.join(kinds) or 'nothing'}; {ended}; {scores} [{time.monotonic() - started:.0f} s]",
            flush=True,
        )
        (folder / f"{name}.txt").write_text(str(found), "utf-8")
    print(json.dumps(rows))
    print(f"{len(rows) - len(wrong)} of {len(rows)} as planted" + (f"; not: {', '.join(wrong)}" if wrong else ""))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
