"""One job, planned on every backend, side by side. Offline: nothing is sent, and no account is needed.

python examples/one_job_everywhere.py            # what each backend would choose, and what is refused
python examples/one_job_everywhere.py --json     # the same, with each backend's own request
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ftsdk import (
    SFT,
    SSH,
    Backend,
    Dataset,
    FineTuneJob,
    FtsdkError,
    Local,
    LoRA,
    Modal,
    Plan,
    Ray,
    SkyPilot,
    Slurm,
    Together,
)

HERE = Path(__file__).parent
MODEL = "Qwen/Qwen3.5-0.8B"  # one id everywhere; each backend knows its provider's name for it


def places() -> dict[str, Backend]:
    """Return the backends, by the heading of their column."""
    return {
        "this machine": Local(device="cpu"),
        "ssh": SSH(host="gpu-box", gpus=4, gpu="A100-80GB"),
        "Slurm, one node": Slurm(partition="gpu", gpus=8, gpu="A100-80GB", time="4:00:00"),
        "Slurm, two nodes": Slurm(partition="gpu", gpus=8, gpu="A100-80GB", nodes=2, time="4:00:00"),
        "Ray, two nodes": Ray(
            address="http://head:8265", storage="s3://bucket/ftsdk", gpus=8, gpu="A100-80GB", nodes=2
        ),
        "SkyPilot": SkyPilot(cloud="lambda", gpu="H100", gpus=8, storage="s3://bucket/ftsdk"),
        "Modal": Modal(gpu="H100"),
        "Together": Together(),
    }


def build_job(backend: Backend) -> FineTuneJob:
    """Build the job. What decides the weights is the same everywhere; `backend` is the one argument that differs."""
    mails = Dataset.from_file(HERE / "data" / "support_emails.jsonl").as_chat(
        prompt="{text}\n\nCategory:", completion="{category}"
    )
    return FineTuneJob(
        name="one-job-everywhere",
        model=MODEL,
        train=mails,
        method=SFT(train_on="completion"),
        tuning=LoRA(rank=16),
        batch_size=16,
        epochs=3,
        backend=backend,
    )


def plan_everywhere() -> dict[str, Plan | FtsdkError]:
    """Return the plan of each backend, or why it refuses the job."""
    found: dict[str, Plan | FtsdkError] = {}
    for name, backend in places().items():
        try:
            found[name] = build_job(backend).plan()
        except FtsdkError as error:
            found[name] = error
    return found


def table_of(plans: dict[str, Plan | FtsdkError]) -> Table:
    """Return the plans as a table: a column for each backend, a row for each thing that the job left open."""
    table = Table(title=f"{MODEL}, LoRA, 3 epochs, batches of 16", show_lines=True)
    table.add_column("")
    for name in plans:
        table.add_column(name, overflow="fold")
    chosen = [
        {"refused": str(plan)} if isinstance(plan, FtsdkError) else {a.field: str(a.chosen) for a in plan.adjustments}
        for plan in plans.values()
    ]
    for field in dict.fromkeys(field for one in chosen for field in one):
        table.add_row(field, *(Text(one.get(field, "")) for one in chosen))
    return table


def as_data(plans: dict[str, Plan | FtsdkError]) -> dict[str, Any]:
    """Return the plans as plain data."""
    return {
        name: {"refused": str(plan)} if isinstance(plan, FtsdkError) else plan.to_dict() for name, plan in plans.items()
    }


def main() -> None:
    """Plan everywhere, and print."""
    parser = argparse.ArgumentParser(description="One job, planned on every backend, side by side.")
    parser.add_argument("--json", action="store_true", help="print JSON, with each backend's own request")
    as_json: bool = parser.parse_args().json
    plans = plan_everywhere()
    if as_json:
        print(json.dumps(as_data(plans), indent=1))
    else:
        console = Console()
        # Eight columns need room; a terminal has its own width.
        Console(width=None if console.is_terminal else 260).print(table_of(plans))


if __name__ == "__main__":
    main()
