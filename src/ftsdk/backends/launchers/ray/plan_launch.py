"""From the user's options and a spec to the launch request. Pure: the cluster isn't asked."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from ftsdk.backends.hosted.launcher import Hardware, LaunchPlan
from ftsdk.backends.launchers.hourly import billing_by_hour
from ftsdk.backends.launchers.inputs import inputs_of
from ftsdk.backends.launchers.kept.address import is_address
from ftsdk.backends.launchers.named_gpu import gpu_hardware
from ftsdk.backends.launchers.ray.options import Options
from ftsdk.errors import Gap
from ftsdk.protocol import Adjustment
from ftsdk.spec import JobSpec

__all__ = ["ENTRY", "LEAVE_S", "WHICH_CLUSTER", "hardware_for", "plan_launch", "submission_of"]

ENTRY = "ftsdk.backends.launchers.ray.driver"
LEAVE_S = 60
"""Seconds between the signal with which Ray stops a job and the one that kills it, to save a checkpoint in."""
WHICH_CLUSTER = "say which cluster, by the address of its dashboard: Ray(address='http://head:8265')"
_WHICH_STORAGE = (
    "say where runs are kept, since a Ray cluster promises no shared disk: a folder that this machine and all nodes "
    "see, Ray(storage='/shared/ftsdk'), or an object store, Ray(storage='s3://bucket/ftsdk')"
)


def hardware_for(options: Options) -> Hardware:
    """Describe what a worker will find, as far as the options say."""
    if options.gpus == 0:
        return Hardware(
            device="cpu",
            name="Ray CPU",
            processes=options.nodes,
            # bfloat16 isn't native on every CPU; float32 works on all of them.
            has_bfloat16=False,
            reason="gpus=0",
            larger="a node with more memory",
        )
    return gpu_hardware(
        options.gpu or "",
        processes=options.gpus * options.nodes,
        what="a GPU of the cluster",
        reason=f"set by gpus={options.gpus}" if options.gpus > 1 else "one GPU of each node",
        is_given=options.gpu is not None,
    )


def plan_launch(spec: JobSpec, options: Options) -> LaunchPlan:
    """Decide what is asked of the cluster."""
    hardware = hardware_for(options)
    request: dict[str, Any] = {
        "launcher": "ray",
        "device": hardware.device,
        "processes": hardware.processes,
        "nodes": options.nodes,
        "address": options.address,
        "storage": options.storage,
        "bundle": options.bundle,
        "autoscaling": options.autoscaling,
        "submission": {
            "entrypoint": f"{shlex.quote(options.python)} -m {ENTRY}",
            "runtime_env": _runtime_env(options),
            # The driver only reserves the nodes and watches them.
            "entrypoint_num_cpus": 0,
        },
        "options": {name: value for name, value in options.to_dict().items() if name != "usd_per_hour"},
    }
    if options.usd_per_hour is not None:
        request["usd_per_hour"] = str(options.usd_per_hour)
    gaps = [] if options.address else [Gap("backend.address", None, (), WHICH_CLUSTER)]
    gaps += [] if options.storage else [Gap("backend.storage", None, (), _WHICH_STORAGE)]
    return LaunchPlan(
        request=request,
        adjustments=tuple(_adjustments(options, hardware)),
        gaps=tuple(gaps),
        billing=billing_by_hour(spec, options.usd_per_hour, what="the cluster", argument="Ray(usd_per_hour=)"),
        notes=_notes(options),
        inputs=inputs_of(spec),
    )


def submission_of(request: Mapping[str, Any], *, run_id: str, job_id: str, client: str) -> dict[str, Any]:
    """Return the body of the request that submits a job.

    Args:
        request: The run's launch request.
        run_id: The run.
        job_id: The id of this job; a run has several if it was resumed.
        client: The version of ftsdk that submits.
    """
    given: Mapping[str, Any] = request["submission"]
    arguments = shlex.join([str(request["storage"]), run_id, job_id, client])
    return {
        **given,
        "entrypoint": f"{given['entrypoint']} {arguments}",
        "submission_id": job_id,
        "metadata": {"ftsdk": run_id},
    }


def _runtime_env(options: Options) -> dict[str, Any]:
    given = dict(options.runtime_env)
    variables = {
        **dict(given.get("env_vars") or {}),
        "RAY_JOB_STOP_WAIT_TIME_S": str(LEAVE_S),
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }
    return {**given, "env_vars": variables}


def _adjustments(options: Options, hardware: Hardware) -> list[Adjustment]:
    each = hardware.processes // options.nodes
    how = "one process" if hardware.processes == 1 else f"torchrun, {options.nodes} x {each} processes"
    found = [Adjustment(field="device", chosen=f"{hardware.device} ({hardware.name}), {how}", reason=hardware.reason)]
    if options.cpus is None:
        found.append(
            Adjustment(field="backend.cpus", chosen=str(options.cores), reason="one core for each process of a node")
        )
    return found


def _notes(options: Options) -> tuple[str, ...]:
    where = options.storage or ""
    notes = [
        "copies of the run's files are kept in the storage; a node works in its own temporary folder"
        if is_address(where)
        else "the storage has to be a folder that this machine and all nodes see under the same path",
        "ftsdk was never run on a Ray cluster of several machines, under KubeRay or at Anyscale; try a short run first",
    ]
    if "pip" not in options.runtime_env and "uv" not in options.runtime_env:
        notes.append("the cluster's Python needs ftsdk[local] in the version of this machine")
    return tuple(notes)
