"""From the user's options and a spec to the launch request: everything decided, nothing sent."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from ftsdk._format import money_over
from ftsdk.backends.hosted.launcher import Hardware, Launch
from ftsdk.backends.launchers.modal.billing import billing_of
from ftsdk.backends.launchers.modal.estimate import BESIDES_S, besides_at_most_s, choose_gpu, training_seconds
from ftsdk.backends.launchers.modal.gpus import CPU_ONLY, Book, GpuChoice, offers, read_gpus
from ftsdk.backends.launchers.modal.image import Recipe
from ftsdk.backends.launchers.modal.limits import STARTUP_S, cap_for
from ftsdk.cost.facts.shapes import shape_of
from ftsdk.errors import BudgetExceededError, Gap
from ftsdk.models import ModelFacts, base_name, inspect_model
from ftsdk.protocol import Adjustment
from ftsdk.protocol.estimates import Range
from ftsdk.spec import FullFineTune, JobSpec

__all__ = ["Options", "decide", "hardware_for"]

_REGION = re.compile(r"[a-z]{2}(-[a-z0-9]+)*\Z")
"""As Modal writes regions. Which ones there are changes, so no list of them is kept here."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the user said about the place; None: decided here, and told."""

    gpu: str | Sequence[str] | None = None
    cpu: float | None = None
    memory_gib: float | None = None
    region: str | None = None
    timeout_s: int | None = None
    max_attempts: int | None = None
    nodes: int = 1
    environment: str | None = None
    volume: str = "ftsdk"
    secret: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Machines:
    choices: tuple[GpuChoice, ...]
    gaps: tuple[Gap, ...]
    reason: str

    @property
    def count(self) -> int:
        return self.choices[0].count if self.choices else 1


def hardware_for(spec: JobSpec, options: Options) -> Hardware:
    """Say what a worker will find: of several alternatives, what holds for each of them."""
    book = offers()
    facts = inspect_model(spec.model)
    machines = _machines(spec, options, facts, book)
    if not machines.choices:
        memory_gib = options.memory_gib or _host_memory(spec, facts, machines)[0]
        # bfloat16 isn't native on every CPU that Modal has; float32 is right on all of them.
        return Hardware(device="cpu", name="Modal CPU", memory_gib=memory_gib, has_bfloat16=False, reason=machines.reason, larger="more memory_gib=")
    gpus = [choice.gpu for choice in machines.choices]
    return Hardware(
        device="cuda",
        name=" or ".join(dict.fromkeys(gpu.device.name for gpu in gpus)),
        processes=machines.count * options.nodes,
        memory_gib=min(gpu.memory_gib for gpu in gpus),
        has_bfloat16=all(gpu.has_bfloat16 for gpu in gpus),
        reason=machines.reason,
        larger="a larger gpu=",
    )


def decide(spec: JobSpec, options: Options, recipe: Recipe) -> Launch:
    """Decide how the worker will be started, what it may cost, and what can't be done.

    Raises:
        BudgetExceededError: The budget doesn't pay for one useful attempt, or not for the quickest that the run can be.
    """
    book = offers()
    facts = inspect_model(spec.model)
    machines = _machines(spec, options, facts, book)
    gaps = [*machines.gaps, *_limits(options, machines, book)]
    adjustments: list[Adjustment] = []

    def choose(field: str, chosen: Any, reason: str) -> Any:
        adjustments.append(Adjustment(field=field, chosen=chosen, reason=reason))
        return chosen

    words = [str(choice) for choice in machines.choices] or [CPU_ONLY]
    if options.gpu is None:
        choose("backend.gpu", words[0], machines.reason)
    cpu = (
        options.cpu
        if options.cpu is not None
        else choose("backend.cpu", 4.0 + 2.0 * (machines.count - 1), "physical cores: 4, and 2 for each further GPU")
    )
    memory_gib = options.memory_gib
    if memory_gib is None:
        memory_gib = choose("backend.memory_gib", *_host_memory(spec, facts, machines))

    if gaps:
        return Launch(request={}, gaps=tuple(gaps))
    multiplier = book.region_multiplier(options.region) * options.nodes
    besides = Decimal(str(cpu)) * book.core_usd_per_s + Decimal(str(memory_gib)) * book.memory_usd_per_gib_s
    likely_usd_per_s = multiplier * (besides + (machines.choices[0].gpu.usd_per_s * machines.count if machines.choices else 0))
    most_usd_per_s = multiplier * (besides + max((c.gpu.ceiling_usd_per_s * c.count for c in machines.choices), default=Decimal(0)))

    seconds = training_seconds(spec, facts, machines.choices[0].gpu, processes=machines.count * options.nodes) if machines.choices else None
    default_timeout_s = book.max_timeout_s if seconds is None else int(max(3600, 3 * seconds.high) + besides_at_most_s(spec, facts))
    needed_s = None if seconds is None else int(seconds.high + max(BESIDES_S, besides_at_most_s(spec, facts)))
    cap = cap_for(
        budget_usd=spec.budget_usd,
        usd_per_s=most_usd_per_s,
        timeout_s=options.timeout_s,
        max_attempts=options.max_attempts,
        default_timeout_s=default_timeout_s,
        needed_s=needed_s,
        limit_s=book.max_timeout_s,
    )
    if options.timeout_s is None:
        choose(
            "backend.timeout_s",
            cap.timeout_s,
            cap.reason if spec.budget_usd is not None else _why_timeout(seconds is not None, has_gpu=bool(machines.choices)),
        )
    if options.max_attempts is None:
        choose("backend.max_attempts", cap.max_attempts, "each goes on from the newest whole checkpoint" if spec.budget_usd is None else cap.reason)
    billing = billing_of(
        machines.choices[0] if machines.choices else None,
        cpu=cpu,
        memory_gib=memory_gib,
        nodes=options.nodes,
        region=options.region,
        most_usd_per_s=most_usd_per_s,
        cap=cap,
        book=book,
    )
    if seconds is not None:
        _refuse_small_budget(spec, seconds, usd_per_s=likely_usd_per_s, source=billing.source)
    notes: list[str] = []
    inputs = _inputs(spec)
    request: dict[str, Any] = {
        "place": "modal",
        "device": "cuda" if machines.choices else "cpu",
        "processes": machines.count * options.nodes,
        "nodes": options.nodes,
        "gpu": words if machines.choices else None,
        "cpu": cpu,
        "memory_mib": int(memory_gib * 1024),
        "region": options.region,
        "timeout_s": cap.timeout_s,
        "startup_timeout_s": STARTUP_S,
        "max_attempts": cap.max_attempts,
        "total_s": cap.total_s,
        "budget_usd": None if spec.budget_usd is None else str(spec.budget_usd),
        "usd_per_s": str(most_usd_per_s.normalize()),
        "environment": options.environment,
        "volume": options.volume,
        "secret": options.secret,
        "image": recipe.to_dict(),
        "log_events": True,
    }
    if options.nodes > 1:
        notes.append("a run over several hosts was never made by the authors: try a short one first")
    if recipe.unpinned:
        notes.append(f"not installed here, so the image takes their newest version: {', '.join(recipe.unpinned)}")
    return Launch(request=request, adjustments=tuple(adjustments), billing=billing, notes=tuple(notes), inputs=inputs)


def _machines(spec: JobSpec, options: Options, facts: ModelFacts, book: Book) -> _Machines:
    if options.gpu is not None:
        choices, gaps = read_gpus(options.gpu, book)
        return _Machines(choices=choices, gaps=tuple(gaps), reason="asked for")
    choice, reason = choose_gpu(spec, facts, book)
    if choice is None:
        largest = max(book.gpus.values(), key=lambda gpu: gpu.memory_gib)
        gap = Gap("backend.gpu", None, (), f"one GPU has to hold it all, and the largest, {largest.name}, has {largest.memory_gib:g} GiB; {reason}")
        return _Machines(choices=(GpuChoice(gpu=largest),), gaps=(gap,), reason=reason)
    if options.nodes > 1:
        # A cluster is made of whole hosts.
        choice = GpuChoice(gpu=choice.gpu, count=choice.gpu.host_count)
    return _Machines(choices=(choice,), gaps=(), reason=reason)


def _limits(options: Options, machines: _Machines, book: Book) -> list[Gap]:
    gaps: list[Gap] = []
    timeout, attempts, nodes = options.timeout_s, options.max_attempts, options.nodes
    if timeout is not None and not 1 <= timeout <= book.max_timeout_s:
        nearest = 1 if timeout < 1 else book.max_timeout_s
        gaps.append(Gap("backend.timeout_s", timeout, (nearest,), "Modal gives an attempt 1 s to 24 h; more takes more attempts: max_attempts="))
    if attempts is not None and not 1 <= attempts <= book.max_retries + 1:
        gaps.append(
            Gap("backend.max_attempts", attempts, (max(1, min(attempts, book.max_retries + 1)),), f"Modal retries at most {book.max_retries} times")
        )
    if not 1 <= nodes <= book.max_nodes:
        gaps.append(Gap("backend.nodes", nodes, (max(1, min(nodes, book.max_nodes)),), f"a cluster has 1 to {book.max_nodes} hosts"))
    elif nodes > 1:
        if options.gpu == CPU_ONLY:
            gaps.append(Gap("backend.nodes", nodes, (1,), "Modal has no clusters without GPUs"))
        elif len(machines.choices) > 1:
            gaps.append(Gap("backend.gpu", [str(c) for c in machines.choices], (str(machines.choices[0]),), "a cluster is of one kind of GPU"))
        for choice in machines.choices:
            if choice.count != choice.gpu.host_count:
                whole = GpuChoice(gpu=choice.gpu, count=choice.gpu.host_count)
                gaps.append(
                    Gap("backend.gpu", str(choice), (str(whole),), f"nodes={nodes} takes whole hosts, which have {choice.gpu.host_count} of them")
                )
    if options.region is not None and not _REGION.match(options.region):
        reason = "a region is two letters, or these and a part of it, and Modal's documents list them: https://modal.com/docs/guide/region-selection"
        gaps.append(Gap("backend.region", options.region, ("us", "us-west"), reason))
    for name, value in (("cpu", options.cpu), ("memory_gib", options.memory_gib)):
        if value is not None and value < 0.125:
            gaps.append(Gap(f"backend.{name}", value, (0.125,), "Modal gives no less"))
    return gaps


def _host_memory(spec: JobSpec, facts: ModelFacts, machines: _Machines) -> tuple[float, str]:
    shape = shape_of(facts)
    weights_gib = 0.0 if shape is None else 4 * shape.parameters / 2**30
    if not machines.choices:
        if isinstance(spec.tuning, FullFineTune):
            return float(
                round(16 + 5 * weights_gib)
            ), "16 GiB, and five times the weights in float32: weights, gradients, two moments, and room to save"
        return float(round(16 + 2 * weights_gib)), "16 GiB, and twice the weights in float32"
    largest = max(choice.gpu.memory_gib for choice in machines.choices)
    known = weights_gib or largest
    return float(round(20 + min(known, largest))), "20 GiB, and room to load the weights (each process loads in turn from shared pages)"


def _why_timeout(is_estimated: bool, *, has_gpu: bool) -> str:
    if is_estimated:
        return (
            "three times the upper estimate of the training, at least an hour, and time to download and to write checkpoints; "
            "without budget_usd only this and max_attempts limit the cost"
        )
    if not has_gpu:
        return "24 h, Modal's longest: without a GPU no limit is derived from the estimate; set budget_usd or timeout_s to limit the cost"
    return "24 h, Modal's longest: how long the training takes couldn't be estimated; set budget_usd or timeout_s to limit the cost"


def _refuse_small_budget(spec: JobSpec, seconds: Range, *, usd_per_s: Decimal, source: str) -> None:
    """Refuse a budget that doesn't pay for the training at its quickest: no timeout could be derived from it."""
    low, high = (usd_per_s * Decimal(BESIDES_S + round(s)) for s in (seconds.low, seconds.high))
    budget = spec.budget_usd
    if budget is not None and low > budget:
        raise BudgetExceededError(
            f"budget_usd={budget} doesn't pay for the training at its quickest: {money_over(low, budget)} to ${high:.2f} "
            f"({source}; time estimated before rows are counted in tokens). Raise the budget, train on less, or take a cheaper gpu=."
        )


def _inputs(spec: JobSpec) -> Mapping[str, str]:
    found: dict[str, str] = {}
    if spec.model.source != "hub":
        found[spec.model.id] = f"inputs/model/{base_name(spec.model)}"
    if spec.model.adapter is not None:
        found[spec.model.adapter] = f"inputs/adapter/{Path(spec.model.adapter).name}"
    return found
