"""What is asked of SkyPilot: pure, and as it was reviewed."""

from __future__ import annotations

import json
import shlex
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ftsdk import SpecError, UnsupportedSpecError
from ftsdk.backends.launchers.skypilot.plan_launch import task_of
from ftsdk.backends.skypilot import SkyPilot
from ftsdk.protocol import HourlyBilling, Plan
from ftsdk.spec import Model
from ftsdk.testing import a_spec

GOLDEN = Path(__file__).parent / "golden"
THERE: dict[str, Any] = {"storage": "s3://bucket/ftsdk"}
CASES: dict[str, tuple[SkyPilot, dict[str, Any]]] = {
    "kubernetes": (SkyPilot(**THERE, cloud="kubernetes", gpu="H100"), {}),
    "cpu": (SkyPilot(**THERE, gpus=0, cpus=8, setup=["true"]), {}),
    "spot": (
        SkyPilot(
            cloud="aws/us-east-1",
            gpu="A100-80GB",
            gpus=8,
            use_spot=True,
            storage="s3://bucket/ftsdk/",
            server="https://sky.example.org/",
            cpus=96,
            disk_gib=512,
            image="docker:pytorch/pytorch:latest",
            setup=["pip install 'ftsdk[local,s3]'", "nvidia-smi"],
            secrets=["HF_TOKEN"],
            usd_per_hour=17.5,
            python="/opt/my venv/bin/python",
            look_s=60,
        ),
        {"batch_size": 16, "budget_usd": 100},
    ),
}


def planned(backend: SkyPilot, model: Path, **changes: Any) -> Plan:
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
        "notes": [note for note in plan.notes if "SkyPilot" in note or "storage" in note],
    }
    file = GOLDEN / f"{name}.json"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        pytest.fail(f"{file.name} was written: review it")
    assert found == json.loads(file.read_text())


def test_a_task_is_quoted_and_has_the_secrets_apart(model_of_headers: Path) -> None:
    backend = SkyPilot(storage="/a b/$(touch pwned)", gpus=0, python="/opt/my venv/python", secrets=["HF_TOKEN"])
    request = planned(backend, model_of_headers).request["launch"]
    task = json.loads(task_of(request, run_id="r", job="ftsdk-r~2", name="ftsdk-r", secrets={"HF_TOKEN": "value"}))
    words = shlex.split(task["run"])
    assert words[:3] == ["exec", "/opt/my venv/python", "-m"]
    assert words[4:7] == ["/a b/$(touch pwned)", "r", "ftsdk-r~2"]
    assert (task["name"], task["secrets"]) == ("ftsdk-r", {"HF_TOKEN": "value"})
    assert "value" not in json.dumps(request)


def test_the_price_is_the_books_with_its_day_and_is_the_most_that_is_rented(model_of_headers: Path) -> None:
    plan = planned(SkyPilot(**THERE, cloud="runpod", gpu="L4", gpus=2), model_of_headers, budget_usd=5)
    assert isinstance(plan.billing, HourlyBilling)
    most = plan.billing.most_usd_per_hour
    assert most is not None
    assert "runpod.io/pricing, as of 20" in plan.billing.source
    launch = plan.request["launch"]
    assert launch["task"]["resources"]["max_hourly_cost"] == float(most)
    # The worker stops itself at the budget.
    assert Decimal(launch["usd_per_hour"]) == most


def test_a_budget_needs_a_price(model_of_headers: Path) -> None:
    nameless = SkyPilot(**THERE, gpu="H100")
    assert planned(nameless, model_of_headers).billing is None
    with pytest.raises(UnsupportedSpecError, match="the price book doesn't say"):
        planned(nameless, model_of_headers, budget_usd=5)
    capped = planned(SkyPilot(**THERE, gpu="H100", usd_per_hour=3), model_of_headers, budget_usd=5)
    assert capped.request["launch"]["task"]["resources"]["max_hourly_cost"] == 3.0


def test_gpu_and_storage_have_to_be_named(model_of_headers: Path) -> None:
    with pytest.raises(UnsupportedSpecError, match="say where runs are kept") as caught:
        planned(SkyPilot(), model_of_headers)
    assert "say which GPU" in str(caught.value)


KEY = "hf_plantedPlantedPlantedPlanted01"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"cloud": "RunPod"}, "isn't a place of SkyPilot"),
        ({"cloud": "aws us-east-1"}, "isn't a place of SkyPilot"),
        ({"cloud": "slurm", "use_spot": True}, "rents nothing"),
        ({"gpu": "H100:8"}, "their number as gpus="),
        ({"gpu": "A1000"}, "no device 'A1000'"),
        ({"gpus": -1}, "gpus"),
        ({"storage": "relative"}, "isn't an absolute path"),
        ({"storage": f"s3://AKIA:{KEY}@bucket/x"}, "storage has a password"),
        ({"server": "127.0.0.1:46580"}, "isn't the address of a SkyPilot API server"),
        ({"server": f"https://me:{KEY}@sky.example.org"}, "server has a password or a key"),
        ({"setup": "pip install x"}, "is one text"),
        ({"setup": ["a\nb"]}, "without line breaks"),
        ({"setup": [f"export HF_TOKEN={KEY}"]}, "looks like a key"),
        ({"secrets": KEY}, "secrets is one text"),
        ({"secrets": [KEY]}, "not their values"),
        ({"secrets": ["A=b"]}, "not their values"),
        ({"secrets": ["FTSDK_CLUSTER"]}, "ftsdk or SkyPilot sets it"),
        ({"cpus": 0}, "cpus"),
        ({"disk_gib": 0}, "disk_gib"),
        ({"image": "a\nb"}, "one line"),
        ({"look_s": -1}, "look_s"),
        ({"usd_per_hour": 0}, "usd_per_hour"),
    ],
)
def test_arguments_that_are_none_are_refused(options: dict[str, Any], said: str, model_of_headers: Path) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        planned(SkyPilot(**{**THERE, **options}), model_of_headers)
    assert KEY not in str(caught.value)


def test_options_rebuild_the_backend(model_of_headers: Path) -> None:
    for backend, changes in CASES.values():
        again = SkyPilot(**json.loads(json.dumps(dict(backend.options))))
        first, second = planned(backend, model_of_headers, **changes), planned(again, model_of_headers, **changes)
        assert first.to_dict() == second.to_dict()
        assert backend._skypilot.options_of(first.request["launch"]) == dict(backend.options)
