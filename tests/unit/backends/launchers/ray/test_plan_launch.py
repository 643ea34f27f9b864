"""What is asked of a Ray cluster: pure, and as it was reviewed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from ftsdk import SpecError, UnsupportedSpecError
from ftsdk.backends.launchers.ray.plan_launch import submission_of
from ftsdk.backends.ray import Ray
from ftsdk.protocol import Plan
from ftsdk.spec import Model
from ftsdk.testing import a_spec

GOLDEN = Path(__file__).parent / "golden"
THERE: dict[str, Any] = {"address": "http://head:8265", "storage": "/shared/ftsdk"}
CASES: dict[str, tuple[Ray, dict[str, Any]]] = {
    "one-gpu": (Ray(**THERE), {}),
    "cpu": (Ray(**THERE, gpus=0, cpus=8), {}),
    "two-nodes": (
        Ray(
            address="https://ray.example.org/",
            storage="s3://bucket/ftsdk/",
            gpus=4,
            gpu="A100-80GB",
            cpus=32,
            nodes=2,
            resources={"accelerator_type:A100": 0.001},
            autoscaling=True,
            runtime_env={"pip": ["ftsdk[local]"], "env_vars": {"NCCL_SOCKET_IFNAME": "eth0"}},
            python="/opt/my venv/bin/python",
        ),
        {"batch_size": 16},
    ),
    "budget": (Ray(**THERE, gpu="H100", usd_per_hour=3), {"budget_usd": 10}),
}


def planned(backend: Ray, model: Path, **changes: Any) -> Plan:
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
        "notes": [note for note in plan.notes if "Ray" in note or "cluster" in note or "storage" in note],
    }
    file = GOLDEN / f"{name}.json"
    if not file.exists():
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
        pytest.fail(f"{file.name} was written: review it")
    assert found == json.loads(file.read_text())


def test_a_submission_has_the_id_that_was_chosen_and_is_quoted(model_of_headers: Path) -> None:
    backend = Ray(address="http://head:8265", storage="/a b/$(touch pwned)", python="/opt/my venv/python")
    request = planned(backend, model_of_headers).request["launch"]
    body = submission_of(request, run_id="r", job_id="ftsdk-r~2", client="0.1.0")
    assert (body["submission_id"], body["metadata"]) == ("ftsdk-r~2", {"ftsdk": "r"})
    words = shlex.split(body["entrypoint"])
    assert words[0] == "/opt/my venv/python"
    assert words[-4:] == ["/a b/$(touch pwned)", "r", "ftsdk-r~2", "0.1.0"]


KEY = "hf_plantedPlantedPlantedPlanted01"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"address": "ray://head:10001"}, "isn't the address of a Ray dashboard"),
        ({"address": "head:8265"}, "isn't the address of a Ray dashboard"),
        ({"address": "http://head:82x"}, "isn't the address of a Ray dashboard"),
        ({"address": f"http://me:{KEY}@head:8265"}, "address has a password or a key"),
        ({"storage": "relative/folder"}, "isn't an absolute path"),
        ({"storage": "~/ftsdk"}, "isn't an absolute path"),
        ({"storage": "/shared/../etc"}, "isn't an absolute path"),
        ({"storage": f"s3://AKIA:{KEY}@bucket/x"}, "storage has a password, a key or a query"),
        ({"storage": "s3://bucket/x?endpoint=evil"}, "storage has a password, a key or a query"),
        ({"storage": "https://example.org/x"}, "isn't an address that runs can be kept at"),
        ({"storage": "s3://"}, "isn't an address that runs can be kept at"),
        ({"gpus": -1}, "gpus"),
        ({"gpu": "A1000"}, "no device 'A1000'"),
        ({"nodes": 0}, "nodes"),
        ({"cpus": 0}, "cpus"),
        ({"resources": {"GPU": 1}}, "set gpus="),
        ({"resources": {"": 1}}, "isn't the name of a Ray resource"),
        ({"resources": ["x"]}, "takes names and amounts"),
        ({"runtime_env": {"env_vars": {"HF_TOKEN": "x"}}}, "sounds like a secret"),
        ({"runtime_env": {"env_vars": {"A": KEY}}}, "looks like a key"),
        ({"runtime_env": {"pip": ["--index-url=https://me:pw@example.org/simple"]}}, "looks like a key"),
        ({"runtime_env": {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": "1"}}}, "can't set"),
        ({"runtime_env": {"env_vars": {"A": 1}}}, "both text"),
        ({"runtime_env": {"pip": {1, 2}}}, "isn't JSON"),
        ({"runtime_env": "pip"}, "takes Ray's own form"),
        ({"python": "python\n"}, "interpreter on the cluster"),
        ({"usd_per_hour": 0}, "usd_per_hour"),
    ],
)
def test_arguments_that_are_none_are_refused(options: dict[str, Any], said: str, model_of_headers: Path) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        planned(Ray(**{**THERE, **options}), model_of_headers)
    assert KEY not in str(caught.value)


def test_options_rebuild_the_backend(model_of_headers: Path) -> None:
    for backend, changes in CASES.values():
        again = Ray(**json.loads(json.dumps(dict(backend.options))))
        first, second = planned(backend, model_of_headers, **changes), planned(again, model_of_headers, **changes)
        assert first.to_dict() == second.to_dict()
        assert backend._launcher.options_of(first.request["launch"]) == dict(backend.options)  # type: ignore[attr-defined]


def test_cluster_and_storage_have_to_be_named(model_of_headers: Path) -> None:
    with pytest.raises(UnsupportedSpecError, match="say which cluster") as caught:
        planned(Ray(), model_of_headers)
    assert "say where runs are kept" in str(caught.value)
