"""The evaluation of a run: its base model, its tuned one and any others on the same examples."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast, runtime_checkable

from ftsdk._home import home
from ftsdk.errors import RunNotReadyError, SpecError
from ftsdk.run.record import Record
from ftsdk.spec import Model

if TYPE_CHECKING:
    from ftsdk.evals import Eval, EvalReport, Gate
    from ftsdk.evals.report.build import UsdPerHour
    from ftsdk.evals.targets import Measurable

__all__ = ["Against", "HasModel", "evals_of", "evaluate_run", "named_targets", "results_folder"]

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9._+-]+")
_LONGEST_NAME = 80


@runtime_checkable
class HasModel(Protocol):
    """A finished run, such as another one to compare with."""

    @property
    def ref(self) -> str:
        """The run's ref."""
        ...

    def model(self) -> Model:
        """Return the tuned model."""
        ...


if TYPE_CHECKING:
    Against: TypeAlias = Sequence[Measurable | HasModel] | Mapping[str, Measurable | HasModel]
else:
    Against = Any


def results_folder(ref: str) -> Path:
    """Return the folder for what is done with a run after training; its `evals` has the evaluation."""
    return home() / "results" / ref.replace(":", "-")


def evaluate_run(
    record: Record,
    evals: Sequence[Eval] | None,
    *,
    base: Callable[[], Measurable],
    tuned: Callable[[], Measurable],
    against: Against,
    gate: Gate | None,
    budget_usd: Decimal | float | None,
    accept_at: float,
    usd_per_hour: UsdPerHour,
    into: Path,
    progress: bool,
) -> EvalReport:
    """Compare base and tuned model. See `Run.evaluate`.

    Args:
        record: The run.
        evals: None means those of the job, and its gate.
        base: Returns the base; called once it is known that there are evals.
        tuned: Returns the tuned model, which may have to be downloaded.
        against: Other targets.
        gate: In place of the job's.
        budget_usd: The most to spend on endpoints.
        accept_at: The score from which an answer counts as accepted.
        usd_per_hour: What an hour of a target's machine costs.
        into: The folder for the results.
        progress: Show a progress bar.

    Raises:
        RunNotReadyError: There are no evals.
    """
    from ftsdk.evals import Gate, check_gate, evaluate, targets
    from ftsdk.run.progress import make_bar

    chosen = evals_of(record) if evals is None else list(evals)
    if not chosen:
        raise RunNotReadyError(f"run {record.ref} has no evals; pass some: run.evaluate([Eval.exact_match(test)])")
    if gate is None and record.gate is not None and evals is None:
        gate = Gate.from_dict(record.gate)
    if gate is not None:
        check_gate(gate, chosen)  # before anything is downloaded
    others = named_targets(against)
    measured = targets(base(), tuned(), **{name: _measurable(other) for name, other in others.items()})
    with make_bar(progress) as on_progress:
        return evaluate(
            chosen,
            measured,
            into=into,
            title=f"run {record.ref}",
            compare_with="tuned",
            gate=gate,
            budget_usd=budget_usd,
            accept_at=accept_at,
            usd_per_hour=usd_per_hour,
            on_progress=on_progress,
        )


def evals_of(record: Record) -> list[Eval]:
    """Return the evals of a run's job; their data is read from the store."""
    from ftsdk.data import Dataset
    from ftsdk.evals import Eval

    return [Eval.from_dict(one, Dataset.from_dict) for one in record.evals]


def named_targets(against: Against) -> dict[str, Measurable | HasModel]:
    """Return targets by name: those of a mapping, else the model of an endpoint, the id of a model, the ref of a run.

    Raises:
        SpecError: A name is one of `"base"` and `"tuned"`.
    """
    found: dict[str, Measurable | HasModel] = {}
    if isinstance(against, Mapping):
        found = dict(against)
    elif isinstance(cast("object", against), Sequence) and not isinstance(against, str):
        for other in against:
            name = stem = _name_of(other)
            number = 2
            while name in found or name in ("base", "tuned"):
                name, number = f"{stem}-{number}", number + 1
            found[name] = other
    else:
        raise SpecError(
            f"against takes a list of models, endpoints, functions and runs, or a dict of them by name; got {against!r}"
        )
    for name in found:
        if name in ("base", "tuned"):
            raise SpecError(f"against names {name!r}, which the run's own models have; choose another name")
    return found


def _measurable(other: Measurable | HasModel) -> Measurable:
    return other.model() if isinstance(other, HasModel) else other


def _name_of(other: Measurable | HasModel) -> str:
    """Return a name that files can have."""
    from ftsdk.evals import Endpoint, Target

    if isinstance(other, Endpoint):
        name = other.model.rsplit("/", 1)[-1]
    elif isinstance(other, Model):
        name = other.id.rstrip("/").rsplit("/", 1)[-1]
    elif isinstance(other, HasModel):
        name = other.ref
    elif isinstance(other, Target):
        name = other.name
    else:
        name = getattr(other, "__name__", "")
    name = _NOT_IN_NAMES.sub("-", name).strip("-.+")[:_LONGEST_NAME]
    return name or "other"
