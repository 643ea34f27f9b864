"""One job, three backends, one argument.

python examples/swap_backend.py                          # the plan for each place; offline, nothing is sent
python examples/swap_backend.py together                 # the plan for one
python examples/swap_backend.py together --stand-in      # the whole job against a service on this machine; no account,
no cost python examples/swap_backend.py together --run           # the whole job there; needs TOGETHER_API_KEY, and
costs money
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

from ftsdk import SFT, Backend, Dataset, FineTuneJob, FtsdkError, LoRA, Together
from ftsdk.backends.registry import backend_names

HERE = Path(__file__).parent
PLACES = ("local", "together", "modal")
MODEL = "Qwen/Qwen3.5-0.8B"  # one id everywhere; each backend knows what its place calls it
BUDGET_USD = 10


def job_at(backend: str | Backend) -> FineTuneJob:
    """Describe the job. What decides the weights is the same everywhere; `backend` is the one argument that differs."""
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


def why_not(place: str, *, to_run: bool) -> str | None:
    """Say in words what is missing for a place; None if nothing is."""
    if place not in backend_names():
        return f"No backend {place!r} is installed; there are: {', '.join(backend_names())}."
    if place == "together" and to_run and not os.environ.get("TOGETHER_API_KEY"):
        return (
            "Together needs an account and a key in TOGETHER_API_KEY, and there is none. Without one:\n"
            "  python examples/swap_backend.py together --stand-in\n"
            "runs the whole job against a service on this machine that stands in for Together."
        )
    return None


def show_plan(place: str) -> None:
    """Print what would be asked of a place, and what it chose."""
    print(f"--- {place} ---")
    print(why_not(place, to_run=False) or job_at(place).plan())
    print()


def run_at(backend: str | Backend) -> None:
    """Submit, wait, bring the weights here."""
    run = job_at(backend).submit()
    print(f"{run.ref} is submitted; it would go on without this process.")
    run.wait()
    price = run.status().price_usd
    print(
        f"It is over, after {len(run.events())} events. The price: "
        f"{'none was stated' if price is None else f'${price:.2f}'}."
    )
    artifact = run.collect()
    print(
        f"Its {artifact.kind} for {artifact.base}: {', '.join(sorted(file.name for file in artifact.path.iterdir()))}, "
        f"in {artifact.path}"
    )


def run_at_the_stand_in() -> None:
    """Upload, price, train and download with Together's own client, against a service on loopback."""
    from pydantic import SecretStr

    from ftsdk.testing.together import TogetherService

    # A home of its own, removed at the end: this run is for show, and its service is gone afterwards.
    with tempfile.TemporaryDirectory() as home, TogetherService() as service:
        os.environ["FTSDK_HOME"] = home
        print(
            "The stand-in answers on this machine. It trains nothing: its weights are random, and its price is made up."
        )
        run_at(Together(base_url=service.base_url, api_key=SecretStr(service.key), poll_s=0))
        print(
            f"The stand-in was asked {len(service.requests)} times, and has {len(service.jobs)} job. All of it is "
            "removed now."
        )


def main() -> None:
    """Read the arguments, and do what they say."""
    parser = argparse.ArgumentParser(description="One job, three backends, one argument.")
    parser.add_argument("backend", nargs="?", choices=PLACES, help="the place; without it, the plan for each is shown")
    parser.add_argument("--run", action="store_true", help="run the job there, in place of only planning it")
    parser.add_argument(
        "--stand-in", action="store_true", help="run it against a service on this machine that stands in for Together"
    )
    asked = parser.parse_args()
    backend: str | None = asked.backend
    if asked.stand_in and asked.backend not in (None, "together"):
        parser.error("--stand-in stands in for together; leave the backend out, or say together")
    if asked.run and asked.backend is None and not asked.stand_in:
        parser.error(f"--run needs to know where: {', '.join(PLACES)}")
    try:
        if asked.stand_in:
            run_at_the_stand_in()
        elif asked.run and backend is not None:
            missing = why_not(backend, to_run=True)
            if missing:
                parser.exit(1, missing + "\n")
            run_at(backend)
        else:
            for place in [asked.backend] if asked.backend else PLACES:
                show_plan(place)
    except FtsdkError as error:
        parser.exit(1, f"{type(error).__name__}: {error}\n")


if __name__ == "__main__":
    main()
