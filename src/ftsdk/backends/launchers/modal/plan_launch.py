"""From the user's options and a spec to the launch request. Pure: nothing is sent."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NamedTuple

from ftsdk._format import money, money_over
from ftsdk.backends.hosted.launcher import Hardware, LaunchPlan
from ftsdk.backends.launchers.inputs import inputs_of
from ftsdk.backends.launchers.modal.billing import billing_of
from ftsdk.backends.launchers.modal.estimate import BESIDES_S, besides_at_most_s, choose_gpu, training_seconds
from ftsdk.backends.launchers.modal.gpus import CPU_ONLY, Book, GpuChoice, offers, read_gpus
from ftsdk.backends.launchers.modal.image import Recipe
from ftsdk.backends.launchers.modal.limits import STARTUP_S, RunLimits, run_limits
from ftsdk.backends.launchers.modal.options import Options, option_gaps
from ftsdk.cost.facts.shapes import shape_of
from ftsdk.errors import BudgetExceededError, Gap
from ftsdk.models import ModelFacts, inspect_model
from ftsdk.protocol import Adjustment
from ftsdk.protocol.estimates import Range
from ftsdk.spec import JobSpec

__all__ = ["hardware_for", "plan_launch"]


@dataclass(frozen=True, kw_only=True)
class _Machines:
    choices: tuple[GpuChoice, ...]
    gaps: tuple[Gap, ...]
    reason: str

    @property
    def count(self) -> int:
        """GPUs of one container; 1 without any."""
        return self.choices[0].count if self.choices else 1

    @property
    def names(self) -> list[str]:
        """The alternatives, as Modal writes them."""
        return [str(choice) for choice in self.choices] or [CPU_ONLY]


def hardware_for(spec: JobSpec, options: Options) -> Hardware:
    """Describe what a worker will find: of several alternatives, what holds for each of them."""
    book = offers()
    facts = inspect_model(spec.model)
    machines = _machines(spec, options, facts, book)
    if not machines.choices:
        memory_gib = options.memory_gib or _host_memory(spec, facts, machines)[0]
        # bfloat16 isn't native on every CPU that Modal has; float32 works on all of them.
        return Hardware(
            device="cpu",
            name="Modal CPU",
            memory_gib=memory_gib,
            has_bfloat16=False,
            reason=machines.reason,
            larger="more memory_gib=",
        )
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


def plan_launch(spec: JobSpec, options: Options, recipe: Recipe) -> LaunchPlan:
    """Decide how the worker will be started and what it may cost.

    Returns:
        The plan; without a request if it has gaps.

    Raises:
        BudgetExceededError: The budget doesn't pay for one useful attempt, or not for the fastest that the run can be.
    """
    book = offers()
    facts = inspect_model(spec.model)
    machines = _machines(spec, options, facts, book)
    gaps = (*machines.gaps, *option_gaps(options, machines.choices, book))
    if gaps:
        return LaunchPlan(request={}, gaps=gaps)
    container = _container(spec, options, facts, machines)
    rates = _rates(options, machines, container, book)
    seconds = _training_seconds(spec, options, facts, machines)
    limits = _limits(spec, options, facts, seconds, usd_per_s=rates.most_usd_per_s, limit_s=book.max_timeout_s)
    billing = billing_of(
        machines.choices[0] if machines.choices else None,
        cpu=container.cpu,
        memory_gib=container.memory_gib,
        nodes=options.nodes,
        region=options.region,
        most_usd_per_s=rates.most_usd_per_s,
        limits=limits,
        book=book,
    )
    if seconds is not None:
        _refuse_small_budget(spec, seconds, usd_per_s=rates.likely_usd_per_s, source=billing.source)
    adjustments: list[Adjustment] = []
    if options.gpu is None:
        adjustments.append(Adjustment(field="backend.gpu", chosen=machines.names[0], reason=machines.reason))
    adjustments += container.adjustments
    adjustments += _cap_adjustments(
        spec, options, limits, is_estimated=seconds is not None, has_gpu=bool(machines.choices)
    )
    return LaunchPlan(
        request=_request(spec, options, recipe, machines, container, limits, usd_per_s=rates.most_usd_per_s),
        adjustments=tuple(adjustments),
        billing=billing,
        notes=_notes(options, recipe),
        inputs=inputs_of(spec),
    )


def _machines(spec: JobSpec, options: Options, facts: ModelFacts, book: Book) -> _Machines:
    if options.gpu is not None:
        choices, gaps = read_gpus(options.gpu, book)
        return _Machines(choices=choices, gaps=tuple(gaps), reason="set by gpu=")
    choice, reason = choose_gpu(spec, facts, book)
    if choice is None:
        largest = max(book.gpus.values(), key=lambda gpu: gpu.memory_gib)
        gap = Gap(
            "backend.gpu",
            None,
            (),
            f"the whole job has to fit on one GPU, and the largest, {largest.name}, has {largest.memory_gib:g} GiB; "
            f"{reason}",
        )
        return _Machines(choices=(GpuChoice(gpu=largest),), gaps=(gap,), reason=reason)
    if options.nodes > 1:
        # A cluster is made of whole hosts.
        choice = GpuChoice(gpu=choice.gpu, count=choice.gpu.host_count)
    return _Machines(choices=(choice,), gaps=(), reason=reason)


@dataclass(frozen=True, kw_only=True)
class _Container:
    cpu: float
    """Physical cores."""
    memory_gib: float
    adjustments: tuple[Adjustment, ...]


def _container(spec: JobSpec, options: Options, facts: ModelFacts, machines: _Machines) -> _Container:
    """Choose the cores and the memory of one container, where the user didn't."""
    cpu, memory_gib = options.cpu, options.memory_gib
    adjustments: list[Adjustment] = []
    if cpu is None:
        cpu = 4.0 + 2.0 * (machines.count - 1)
        adjustments.append(
            Adjustment(
                field="backend.cpu", chosen=cpu, reason="4 physical cores, and 2 more for each GPU after the first"
            )
        )
    if memory_gib is None:
        memory_gib, reason = _host_memory(spec, facts, machines)
        adjustments.append(Adjustment(field="backend.memory_gib", chosen=memory_gib, reason=reason))
    return _Container(cpu=cpu, memory_gib=memory_gib, adjustments=tuple(adjustments))


class _Rates(NamedTuple):
    likely_usd_per_s: Decimal
    """For the first alternative of GPU."""
    most_usd_per_s: Decimal
    """For the most expensive."""


def _rates(options: Options, machines: _Machines, container: _Container, book: Book) -> _Rates:
    """Compute what a second costs, over all containers, in US dollars."""
    multiplier = book.region_multiplier(options.region) * options.nodes
    host = (
        Decimal(str(container.cpu)) * book.core_usd_per_s
        + Decimal(str(container.memory_gib)) * book.memory_usd_per_gib_s
    )
    likely = machines.choices[0].gpu.usd_per_s * machines.count if machines.choices else Decimal(0)
    most = max((choice.gpu.ceiling_usd_per_s * choice.count for choice in machines.choices), default=Decimal(0))
    return _Rates(likely_usd_per_s=multiplier * (host + likely), most_usd_per_s=multiplier * (host + most))


def _training_seconds(spec: JobSpec, options: Options, facts: ModelFacts, machines: _Machines) -> Range | None:
    if not machines.choices:
        return None
    return training_seconds(spec, facts, machines.choices[0].gpu, processes=machines.count * options.nodes)


def _limits(
    spec: JobSpec, options: Options, facts: ModelFacts, seconds: Range | None, *, usd_per_s: Decimal, limit_s: int
) -> RunLimits:
    """Derive timeout and attempts from the budget, or from the estimate."""
    overhead_s = besides_at_most_s(spec, facts)
    return run_limits(
        budget_usd=spec.budget_usd,
        usd_per_s=usd_per_s,
        timeout_s=options.timeout_s,
        max_attempts=options.max_attempts,
        default_timeout_s=limit_s if seconds is None else int(max(3600, 3 * seconds.high) + overhead_s),
        needed_s=None if seconds is None else int(seconds.high + max(BESIDES_S, overhead_s)),
        limit_s=limit_s,
    )


def _cap_adjustments(
    spec: JobSpec, options: Options, limits: RunLimits, *, is_estimated: bool, has_gpu: bool
) -> list[Adjustment]:
    has_budget = spec.budget_usd is not None
    adjustments: list[Adjustment] = []
    if options.timeout_s is None:
        reason = limits.reason if has_budget else _why_timeout(is_estimated, has_gpu=has_gpu)
        adjustments.append(Adjustment(field="backend.timeout_s", chosen=limits.timeout_s, reason=reason))
    if options.max_attempts is None:
        reason = limits.reason if has_budget else "each continues from the newest whole checkpoint"
        adjustments.append(Adjustment(field="backend.max_attempts", chosen=limits.max_attempts, reason=reason))
    return adjustments


def _request(
    spec: JobSpec,
    options: Options,
    recipe: Recipe,
    machines: _Machines,
    container: _Container,
    limits: RunLimits,
    *,
    usd_per_s: Decimal,
) -> dict[str, Any]:
    return {
        "launcher": "modal",
        "device": "cuda" if machines.choices else "cpu",
        "processes": machines.count * options.nodes,
        "nodes": options.nodes,
        "gpu": machines.names if machines.choices else None,
        "cpu": container.cpu,
        "memory_mib": int(container.memory_gib * 1024),
        "region": options.region,
        "timeout_s": limits.timeout_s,
        "startup_timeout_s": STARTUP_S,
        "max_attempts": limits.max_attempts,
        "total_s": limits.total_s,
        "budget_usd": None if spec.budget_usd is None else str(spec.budget_usd),
        "usd_per_s": str(usd_per_s.normalize()),
        "environment": options.environment,
        "volume": options.volume,
        "secret": options.secret,
        "image": recipe.to_dict(),
        "log_events": True,
    }


def _notes(options: Options, recipe: Recipe) -> tuple[str, ...]:
    notes: list[str] = []
    if options.nodes > 1:
        notes.append("ftsdk's training over several hosts was never tested on Modal itself; try a short run first")
    if recipe.unpinned:
        notes.append(
            f"not installed on this machine, so the image gets the newest version: {', '.join(recipe.unpinned)}"
        )
    return tuple(notes)


def _host_memory(spec: JobSpec, facts: ModelFacts, machines: _Machines) -> tuple[float, str]:
    shape = shape_of(facts)
    weights_gib = 0.0 if shape is None else 4 * shape.parameters / 2**30
    if not machines.choices:
        if spec.tuning.adapts:
            return float(round(16 + 2 * weights_gib)), "16 GiB, and twice the weights in float32"
        reason = (
            "16 GiB, and five times the weights in float32: weights, gradients, two optimizer moments, and room to save"
        )
        return float(round(16 + 5 * weights_gib)), reason
    largest = max(choice.gpu.memory_gib for choice in machines.choices)
    known = weights_gib or largest
    return float(
        round(20 + min(known, largest))
    ), "20 GiB, and room to load the weights (processes load one after another, from shared pages)"


def _why_timeout(is_estimated: bool, *, has_gpu: bool) -> str:
    if is_estimated:
        return (
            "three times the upper estimate of the training time, at least an hour, and time for downloads and "
            "checkpoints; without budget_usd only this and max_attempts limit the cost"
        )
    if not has_gpu:
        return (
            "24 h, Modal's maximum: without a GPU no limit is derived from the estimate; set budget_usd or timeout_s "
            "to limit the cost"
        )
    return (
        "24 h, Modal's maximum: the training time couldn't be estimated; set budget_usd or timeout_s to limit the cost"
    )


def _refuse_small_budget(spec: JobSpec, seconds: Range, *, usd_per_s: Decimal, source: str) -> None:
    """Refuse a budget that doesn't pay for the training at its fastest: no timeout could be derived from it."""
    low, high = (usd_per_s * Decimal(BESIDES_S + round(s)) for s in (seconds.low, seconds.high))
    budget = spec.budget_usd
    if budget is not None and low > budget:
        raise BudgetExceededError(
            f"budget_usd={budget} doesn't pay for the training at its fastest: {money_over(low, budget)} to "
            f"{money(high, places=2)} "
            f"({source}; time estimated before rows are counted in tokens). Raise the budget, train on less, or choose "
            "a cheaper gpu=."
        )
