"""From the user's options and a spec to the launch request. Pure: the cluster isn't asked."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

from ftsdk._format import money
from ftsdk.backends.hosted.launcher import Hardware, LaunchPlan
from ftsdk.backends.launchers.hourly import billing_by_hour
from ftsdk.backends.launchers.named_gpu import gpu_hardware
from ftsdk.backends.launchers.slurm.options import Options
from ftsdk.backends.launchers.slurm.time_limit import as_time
from ftsdk.errors import BudgetExceededError
from ftsdk.protocol import Adjustment
from ftsdk.spec import JobSpec

__all__ = ["hardware_for", "plan_launch"]

_LEAD_S = 120
"""How long before its time limit a worker is told to save a checkpoint and leave, in seconds."""


def hardware_for(options: Options) -> Hardware:
    """Describe what a worker will find, as far as the options say."""
    if options.gpu_count == 0:
        return Hardware(
            device="cpu",
            name="Slurm CPU",
            processes=options.nodes,
            # bfloat16 isn't native on every CPU; float32 works on all of them.
            has_bfloat16=False,
            reason="gpus=0",
            larger="a node with more memory",
        )
    return gpu_hardware(
        options.gpu or options.gpu_type,
        processes=options.gpu_count * options.nodes,
        what="a GPU of the cluster",
        reason=f"set by gpus={options.gpus!r}",
        is_given=options.gpu is not None,
    )


def plan_launch(spec: JobSpec, options: Options) -> LaunchPlan:
    """Decide what is asked of the scheduler.

    Raises:
        BudgetExceededError: The budget doesn't pay for a minute.
    """
    hardware = hardware_for(options)
    time_s, reason = _time_limit(spec, options)
    lead_s = _LEAD_S if time_s is None else min(_LEAD_S, math.ceil(time_s / 5))
    request: dict[str, Any] = {
        "launcher": "slurm",
        "device": hardware.device,
        "processes": hardware.processes,
        "nodes": options.nodes,
        "sbatch": _flags(options, time_s, lead_s),
        "setup": list(options.setup),
        "python": options.python,
        "time_s": time_s,
        "lead_s": lead_s,
        "options": _without_price(options),
    }
    if options.usd_per_hour is not None:
        request["usd_per_hour"] = str(options.usd_per_hour)
    return LaunchPlan(
        request=request,
        adjustments=tuple(_adjustments(options, hardware, time_s, reason)),
        billing=billing_by_hour(
            spec,
            options.usd_per_hour,
            what="the cluster",
            argument="Slurm(usd_per_hour=)",
            timeout_s=None if time_s is None else float(time_s),
        ),
        notes=_notes(options),
    )


def _time_limit(spec: JobSpec, options: Options) -> tuple[int | None, str]:
    """Return the time limit in seconds, and why, if the user didn't set it."""
    if spec.budget_usd is None or options.usd_per_hour is None:
        return options.time_s, "the partition's own limit; the run goes on after it, from a checkpoint"
    # Slurm rounds seconds up to a minute (`man sbatch`, 22.05), and the budget mustn't be.
    paid_s = int(Decimal(3600) * Decimal(str(spec.budget_usd)) / options.usd_per_hour) // 60 * 60
    if paid_s < 60:
        raise BudgetExceededError(
            f"budget_usd={spec.budget_usd} doesn't pay for a minute at {money(options.usd_per_hour)} an hour, and a "
            "minute is the least that Slurm grants; raise the budget"
        )
    if options.time_s is not None and options.time_s <= paid_s:
        return options.time_s, "set by time="
    return paid_s, f"what budget_usd={spec.budget_usd} pays for at {money(options.usd_per_hour)} an hour"


def _flags(options: Options, time_s: int | None, lead_s: int) -> list[str]:
    flags = [f"--nodes={options.nodes}", "--ntasks-per-node=1"]
    if options.partition is not None:
        flags.append(f"--partition={options.partition}")
    if options.account is not None:
        flags.append(f"--account={options.account}")
    if options.gpu_count:
        # Unlike --gpus-per-node, it works with every plugin that selects nodes.
        flags.append(f"--gres=gpu:{options.gpus}")
    if options.cpus is not None:
        flags.append(f"--cpus-per-task={options.cpus}")
    if time_s is not None:
        flags.append(f"--time={as_time(time_s)}")
    return [*flags, "--requeue", "--open-mode=append", f"--signal=B:TERM@{lead_s}", *options.sbatch]


def _adjustments(options: Options, hardware: Hardware, time_s: int | None, reason: str) -> list[Adjustment]:
    each = hardware.processes // options.nodes
    how = "one process" if hardware.processes == 1 else f"torchrun, {options.nodes} x {each} processes"
    found = [Adjustment(field="device", chosen=f"{hardware.device} ({hardware.name}), {how}", reason=hardware.reason)]
    if options.time_s is None or time_s != options.time_s:
        chosen = "none" if time_s is None else as_time(time_s)
        found.append(Adjustment(field="backend.time", chosen=chosen, reason=reason))
    if options.cpus is None:
        found.append(
            Adjustment(field="backend.cpus", chosen="none", reason="the cluster's default for a task, often one core")
        )
    return found


def _notes(options: Options) -> tuple[str, ...]:
    notes = ["the run's folder and the model have to be on a file system that all nodes see"]
    if options.gpu_count:
        notes.append("ftsdk was never run on a Slurm cluster with GPUs; try a short run first")
    return tuple(notes)


def _without_price(options: Options) -> dict[str, Any]:
    return {name: value for name, value in options.to_dict().items() if name != "usd_per_hour"}
