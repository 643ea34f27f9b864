"""From the user's options and a spec to the launch request. Pure: no server is asked."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from decimal import Decimal
from importlib.metadata import version
from typing import Any

from ftsdk.backends.hosted.launcher import Hardware, LaunchPlan
from ftsdk.backends.launchers.inputs import inputs_of
from ftsdk.backends.launchers.kept.address import is_address
from ftsdk.backends.launchers.named_gpu import gpu_hardware
from ftsdk.backends.launchers.skypilot.options import OWNED, Options
from ftsdk.backends.launchers.skypilot.prices import billing_of
from ftsdk.errors import Gap
from ftsdk.protocol import Adjustment, HourlyBilling
from ftsdk.spec import JobSpec

__all__ = ["ENTRY", "WHICH_STORAGE", "hardware_for", "plan_launch", "task_of"]

ENTRY = "ftsdk.backends.launchers.skypilot.entry"
WHICH_STORAGE = (
    "say where runs are kept, since a rented machine is gone after its job: an object store, "
    "SkyPilot(storage='s3://bucket/ftsdk'), or a folder that this machine and those of the jobs see, "
    "SkyPilot(storage='/shared/ftsdk')"
)
_WHICH_GPU = "say which GPU, as SkyPilot calls it: SkyPilot(gpu='H100'); `sky gpus list` lists them; gpus=0 takes none"
_NO_PRICE = (
    "the price book doesn't say what an hour of this costs, so the budget couldn't be kept; say it: "
    "SkyPilot(usd_per_hour=...), which is the most that SkyPilot may rent for, too"
)


def hardware_for(options: Options) -> Hardware:
    """Describe what a worker will find, as far as the options say."""
    if options.gpus == 0:
        return Hardware(
            device="cpu",
            name="SkyPilot CPU",
            # bfloat16 isn't native on every CPU; float32 works on all of them.
            has_bfloat16=False,
            reason="gpus=0",
            larger="a machine with more memory",
        )
    return gpu_hardware(
        options.gpu or "",
        processes=options.gpus,
        what="a GPU of SkyPilot",
        reason=f"set by gpus={options.gpus}" if options.gpus > 1 else "one GPU",
        is_given=options.gpu is not None,
    )


def plan_launch(spec: JobSpec, options: Options) -> LaunchPlan:
    """Decide what is asked of SkyPilot."""
    hardware = hardware_for(options)
    billing = billing_of(spec, options)
    most = billing.most_usd_per_hour if isinstance(billing, HourlyBilling) else None
    request: dict[str, Any] = {
        "launcher": "skypilot",
        "device": hardware.device,
        "processes": hardware.processes,
        "storage": options.storage,
        "server": options.server,
        "python": options.python,
        "cpus": options.cpus,
        "secrets": list(options.secrets),
        "task": {
            "resources": _resources(options, most),
            "num_nodes": 1,
            "envs": {
                "PYTHONUNBUFFERED": "1",
                "TOKENIZERS_PARALLELISM": "false",
                "HF_HUB_DISABLE_TELEMETRY": "1",
            },
            "setup": "\n".join(options.setup if options.setup is not None else _default_setup(options)),
        },
        "options": {name: value for name, value in options.to_dict().items() if name != "usd_per_hour"},
    }
    if options.usd_per_hour is not None:
        request["given_usd_per_hour"] = str(options.usd_per_hour)
    if most is not None:
        request["usd_per_hour"] = str(most)
    gaps = [] if options.storage else [Gap("backend.storage", None, (), WHICH_STORAGE)]
    gaps += [] if options.gpu or options.gpus == 0 else [Gap("backend.gpu", None, (), _WHICH_GPU)]
    if billing is None and spec.budget_usd is not None:
        gaps.append(Gap("backend.usd_per_hour", None, (), _NO_PRICE))
    return LaunchPlan(
        request=request,
        adjustments=tuple(_adjustments(options, hardware, most)),
        gaps=tuple(gaps),
        billing=billing,
        notes=_notes(options),
        inputs=inputs_of(spec),
    )


def task_of(request: Mapping[str, Any], *, run_id: str, job: str, name: str, secrets: Mapping[str, str]) -> str:
    """Return the task of a managed job, as YAML.

    Args:
        request: The run's launch request.
        run_id: The run.
        job: Which of the run's jobs it is: `ftsdk-RUN~2`.
        name: Of the job, for SkyPilot.
        secrets: Values by name. They are in this text only.
    """
    command = [str(request["python"]), "-m", ENTRY, str(request["storage"]), run_id, job, version("ftsdk")]
    task: dict[str, Any] = {"name": name, **request["task"], "run": f"exec {shlex.join(command)}"}
    if secrets:
        task["secrets"] = dict(secrets)
    # Every JSON text is YAML.
    return json.dumps(task)


def _resources(options: Options, most: Decimal | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if options.cloud is not None:
        found["infra"] = options.cloud
    if options.gpus and options.gpu:
        found["accelerators"] = f"{options.gpu}:{options.gpus}"
    if options.cpus is not None:
        found["cpus"] = f"{options.cpus}+"
    if options.place not in OWNED:
        found["use_spot"] = options.use_spot
        if most is not None:
            # SkyPilot rents nothing that its own, newer catalogue says is dearer.
            found["max_hourly_cost"] = float(most)
    if options.disk_gib is not None:
        found["disk_size"] = options.disk_gib
    if options.image is not None:
        found["image_id"] = options.image
    return found


def _default_setup(options: Options) -> list[str]:
    return [f"{shlex.quote(options.python)} -m pip install 'ftsdk[local,s3]=={version('ftsdk')}'"]


def _adjustments(options: Options, hardware: Hardware, most: Decimal | None) -> list[Adjustment]:
    how = "one process" if hardware.processes == 1 else f"torchrun, {hardware.processes} processes"
    found = [Adjustment(field="device", chosen=f"{hardware.device} ({hardware.name}), {how}", reason=hardware.reason)]
    if options.cloud is None:
        found.append(
            Adjustment(field="backend.cloud", chosen="any", reason="SkyPilot takes the cheapest of those it may use")
        )
    if options.setup is None:
        found.append(
            Adjustment(
                field="backend.setup", chosen=_default_setup(options)[0], reason="the machine needs ftsdk[local]"
            )
        )
    if most is not None and options.usd_per_hour is None and options.place not in OWNED:
        found.append(
            Adjustment(
                field="backend.usd_per_hour",
                chosen=f"{most:f}",
                reason="the price in the price book; SkyPilot may rent nothing dearer",
            )
        )
    return found


def _notes(options: Options) -> tuple[str, ...]:
    notes = [
        "copies of the run's files are kept in the storage; the machine works in its own temporary folder"
        if is_address(options.storage or "")
        else "the storage has to be a folder that this machine and those of the jobs see under the same path",
        "the time in which SkyPilot starts and sets up a machine is billed, too, and not part of the estimate; so is "
        "the machine of its jobs controller, unless the API server is the controller",
        "ftsdk was never run on a cloud or on Kubernetes through SkyPilot; try a short run first",
    ]
    if options.use_spot:
        notes.append("a spot machine can be taken away; SkyPilot rents another one, and the run goes on from its copy")
    return tuple(notes)
