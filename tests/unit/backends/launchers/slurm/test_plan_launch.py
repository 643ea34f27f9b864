"""What is asked of the scheduler: pure, and as it was reviewed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ftsdk import SSH, BudgetExceededError, Slurm, SpecError, UnsupportedSpecError
from ftsdk.protocol import Plan
from ftsdk.spec import Model
from ftsdk.testing import a_spec

GOLDEN = Path(__file__).parent / "golden"
CASES: dict[str, tuple[Slurm | SSH, dict[str, Any]]] = {
    "one-gpu": (Slurm(), {}),
    "cpu": (Slurm(gpus=0, cpus=8, time="30"), {}),
    "two-nodes": (
        Slurm(
            partition="gpu,long",
            account="lab",
            gpus="a100:4",
            gpu="A100-80GB",
            cpus=32,
            nodes=2,
            time="1-12:00:00",
            python="/shared/venv/bin/python",
            folder="/shared/runs",
            setup=["module load cuda/12.4"],
            sbatch=["--qos=long"],
        ),
        {"batch_size": 16},
    ),
    "budget": (Slurm(gpus="h100:1", usd_per_hour=3), {"budget_usd": 10}),
    "login-node": (Slurm(host="me@login.example.org", gpus=1, ssh=["-J", "jump"], python="~/venv/bin/python"), {}),
    "ssh": (SSH(host="gpu-box", gpus=2, gpu="RTX4090", usd_per_hour=0.5), {"batch_size": 8, "budget_usd": 5}),
}


def planned(backend: Slurm | SSH, model: Path, **changes: Any) -> Plan:
    return backend.plan(a_spec(model=Model(id=str(model)), **changes))


@pytest.mark.parametrize("name", CASES)
def test_the_request_is_the_one_that_was_reviewed(name: str, model_of_headers: Path) -> None:
    backend, changes = CASES[name]
    plan = planned(backend, model_of_headers, **changes)
    found = {
        "launch": plan.request["launch"],
        "inputs": sorted(plan.request.get("inputs", {})),
        "device": next(a.chosen for a in plan.adjustments if a.field == "device"),
        "billing": None if plan.billing is None else plan.billing.to_dict(),
    }
    file = GOLDEN / f"{name}.json"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        pytest.fail(f"{file.name} was written: review it")
    assert found == json.loads(file.read_text())


def test_a_budget_becomes_the_time_limit_unless_less_is_asked_for(model_of_headers: Path) -> None:
    def limit(time: str | None, budget_usd: float) -> str:
        plan = planned(Slurm(usd_per_hour=3, time=time), model_of_headers, budget_usd=budget_usd)
        return next(f for f in plan.request["launch"]["sbatch"] if f.startswith("--time="))

    assert limit(None, 10) == "--time=03:20:00"
    assert limit(None, 10.04) == "--time=03:20:00"  # Slurm rounds up to minutes, so we round down
    assert limit("2:00:00", 10) == "--time=02:00:00"
    assert limit("5:00:00", 10) == "--time=03:20:00"


def test_a_budget_that_pays_for_less_than_a_minute_is_refused(model_of_headers: Path) -> None:
    with pytest.raises(BudgetExceededError, match="doesn't pay for a minute"):
        planned(Slurm(usd_per_hour=3), model_of_headers, budget_usd=0.04)


def test_the_warning_comes_before_a_short_limit(model_of_headers: Path) -> None:
    def lead(time: str | None) -> str:
        flags = planned(Slurm(time=time), model_of_headers).request["launch"]["sbatch"]
        return next(f for f in flags if f.startswith("--signal="))

    assert lead(None) == "--signal=B:TERM@120"
    assert lead("1-0") == "--signal=B:TERM@120"
    assert lead("1") == "--signal=B:TERM@12"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"partition": "gpu; touch pwned"}, "isn't the name of a Slurm partition"),
        ({"account": "--wrap=x"}, "isn't the name of a Slurm account"),
        ({"gpus": "four"}, "isn't a number of GPUs"),
        ({"gpus": -1}, "gpus"),
        ({"gpu": "A1000"}, "no device 'A1000'"),
        ({"nodes": 0}, "nodes"),
        ({"time": "tomorrow"}, "isn't a time limit"),
        ({"time": "0"}, "no time at all"),
        ({"time": 60}, "isn't text"),
        ({"sbatch": ["--wrap=echo"]}, "can't have --wrap"),
        ({"sbatch": ["--job-name=x"]}, "can't have --job-name"),
        ({"sbatch": ["--requeue"]}, "can't have --requeue"),
        ({"sbatch": ["-p", "gpu"]}, "isn't a long option"),
        ({"sbatch": "--qos=long"}, "write a list"),
        ({"sbatch": ["--qos=a\n#SBATCH"]}, "without line breaks"),
        ({"setup": ["export HF_TOKEN=hf_plantedPlantedPlantedPlanted01"]}, "looks like a key"),
        ({"folder": ""}, "isn't a path"),
        ({"host": "-oProxyCommand=x"}, "isn't a machine's name"),
        ({"usd_per_hour": 0}, "usd_per_hour"),
    ],
)
def test_arguments_that_are_none_are_refused(options: dict[str, Any], said: str, model_of_headers: Path) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        planned(Slurm(**options), model_of_headers)
    assert "hf_planted" not in str(caught.value)


def test_options_rebuild_the_backend(model_of_headers: Path) -> None:
    for backend, changes in CASES.values():
        again = type(backend)(**json.loads(json.dumps(dict(backend.options))))
        first, second = planned(backend, model_of_headers, **changes), planned(again, model_of_headers, **changes)
        assert first.to_dict() == second.to_dict()
        known = backend._launcher.options_of(first.request["launch"])  # type: ignore[attr-defined]
        assert known == {k: v for k, v in backend.options.items() if k not in ("trainer", "trackers")}


def test_a_machine_has_to_be_named(model_of_headers: Path) -> None:
    with pytest.raises(UnsupportedSpecError, match="say which machine"):
        planned(SSH(), model_of_headers)
