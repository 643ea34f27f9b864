"""One job, three backends, one argument.

python examples/swap_backend.py                        # the plan for each backend; offline, nothing is sent
python examples/swap_backend.py together               # the plan for one
python examples/swap_backend.py together --stand-in    # the whole job against a local stand-in; no account, no cost
python examples/swap_backend.py together --run         # the whole job at Together; needs TOGETHER_API_KEY, costs money
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from ftsdk import SFT, Backend, Dataset, FineTuneJob, FtsdkError, LoRA, Together
from ftsdk.backends.registry import backend_names

HERE = Path(__file__).parent
BACKENDS = ("local", "together", "modal")
MODEL = "Qwen/Qwen3.5-0.8B"  # one id everywhere; each backend knows its provider's name for it
BUDGET_USD = 10


def build_job(backend: str | Backend) -> FineTuneJob:
    """Build the job. What decides the weights is the same everywhere; `backend` is the one argument that differs."""
    mails = Dataset.from_file(HERE / "data" / "support_emails.jsonl").as_chat(
        prompt="{text}\n\nCategory:", completion="{category}"
    )
    train, validation, _ = mails.split(validation=0.1, seed=7)
    return FineTuneJob(
        name="swap-backend",
        model=MODEL,
        train=train,
        validation=validation,
        method=SFT(train_on="completion"),
        tuning=LoRA(rank=16),
        epochs=3,
        budget_usd=BUDGET_USD,
        backend=backend,
    )


def what_is_missing(name: str, *, to_run: bool) -> str | None:
    """Return what a backend needs that isn't there; None if nothing is missing."""
    if name not in backend_names():
        return f"No backend {name!r} is installed; available: {', '.join(backend_names())}."
    if name == "together" and to_run and not os.environ.get("TOGETHER_API_KEY"):
        return (
            "Together needs an account and a key in TOGETHER_API_KEY, which isn't set. Without one:\n"
            "  python examples/swap_backend.py together --stand-in\n"
            "runs the whole job against a service on this machine that stands in for Together."
        )
    return None


def show_plan(name: str) -> None:
    """Print the request that a backend would send, and what it chose."""
    print(f"--- {name} ---")
    print(what_is_missing(name, to_run=False) or build_job(name).plan())
    print()


def run_job(backend: str | Backend) -> None:
    """Submit the job, wait for it, and download the weights."""
    run = build_job(backend).submit()
    print(f"{run.ref} is submitted; it continues if this process ends.")
    run.wait()
    price = run.status().price_usd
    print(f"It finished, with {len(run.events())} events. Price: {'not stated' if price is None else f'${price:.2f}'}.")
    artifact = run.collect()
    print(
        f"The {artifact.kind} for {artifact.base} is in {artifact.path}: "
        f"{', '.join(sorted(file.name for file in artifact.path.iterdir()))}"
    )


def run_on_stand_in() -> None:
    """Upload, price, train and download with Together's own client, against a service on loopback."""
    from pydantic import SecretStr

    from ftsdk.testing.together import TogetherService

    # A temporary home, removed at the end: this run is a demonstration, and its service is gone afterwards.
    with tempfile.TemporaryDirectory() as home, TogetherService() as service:
        os.environ["FTSDK_HOME"] = home
        print("The stand-in runs on this machine. It trains nothing: its weights are random, and its price is made up.")
        run_job(Together(base_url=service.base_url, api_key=SecretStr(service.key), poll_s=0))
        print(
            f"The stand-in received {len(service.requests)} requests and has {len(service.jobs)} job. All of it is "
            "removed now."
        )


def main() -> None:
    """Parse the arguments, then plan or run."""
    parser = argparse.ArgumentParser(description="One job, three backends, one argument.")
    parser.add_argument("backend", nargs="?", choices=BACKENDS, help="the backend; without it, every plan is shown")
    parser.add_argument("--run", action="store_true", help="run the job instead of only planning it")
    parser.add_argument(
        "--stand-in", action="store_true", help="run it against a service on this machine that stands in for Together"
    )
    args = parser.parse_args()
    backend: str | None = args.backend
    if args.stand_in and args.backend not in (None, "together"):
        parser.error("--stand-in stands in for together; leave the backend out, or name together")
    if args.run and args.backend is None and not args.stand_in:
        parser.error(f"--run needs a backend: {', '.join(BACKENDS)}")
    try:
        if args.stand_in:
            run_on_stand_in()
        elif args.run and backend is not None:
            missing = what_is_missing(backend, to_run=True)
            if missing:
                parser.exit(1, missing + "\n")
            run_job(backend)
        else:
            for name in [args.backend] if args.backend else BACKENDS:
                show_plan(name)
    except FtsdkError as error:
        parser.exit(1, f"{type(error).__name__}: {error}\n")


if __name__ == "__main__":
    main()
