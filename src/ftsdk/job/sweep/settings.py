"""The settings of a sweep: which fields of a job take which values, and the trials that this makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import TYPE_CHECKING, Any, cast

from ftsdk._format import printable
from ftsdk.errors import FtsdkError, SpecError
from ftsdk.spec import JobFields, Value
from ftsdk.spec.base import nearest

if TYPE_CHECKING:
    from ftsdk.job.job import FineTuneJob

__all__ = [
    "MOST_TRIALS",
    "UNCHANGED",
    "Changes",
    "Settings",
    "Trial",
    "changed",
    "label_of",
    "read_settings",
    "trials_of",
]

MOST_TRIALS = 200
"""A sweep of more runs is probably a slip."""
UNCHANGED = "unchanged"
"""The label of the job as it is."""
Settings = Mapping[str, Sequence[Any]]
"""The values that each field takes, by its dotted path; a value that is a mapping or a list is plain data."""
Changes = Mapping[str, Any]
"""One value for each field that differs from the job."""
_SEED = "seed"
_NOT_SWEPT: Mapping[str, str] = {
    "backend": "it doesn't decide the weights; sweep on one backend, and compare prices with FineTuneJob.estimate()",
    "budget_usd": "it is the sweep's own: sweep(..., budget_usd=)",
    "evals": "they judge the result",
    "model": "losses of different models can't be compared; run two jobs, and run.evaluate(against=[other_run])",
    "name": "it changes nothing",
    "train": "sweep one dataset, and compare two with two jobs and run.evaluate(against=[other_run])",
    "validation": "the winner is chosen on it, so it stays the same",
}
_LONGEST_VALUE = 40


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run of a sweep."""

    number: int
    """Counted from 1."""
    configuration: Changes = field(default_factory=dict[str, Any])
    """What it differs in from the job; empty for the job as it is. The seed isn't in it."""
    seed: int | None = None
    """Its seed, where the sweep repeats each configuration over several; None: that of the job."""

    @property
    def changes(self) -> dict[str, Any]:
        """What it differs in from the job, the seed included."""
        return {**self.configuration, **({} if self.seed is None else {_SEED: self.seed})}

    @property
    def label(self) -> str:
        """What it differs in, in words, with its seed."""
        return label_of(self.configuration) + ("" if self.seed is None else f", seed={self.seed}")


def label_of(configuration: Changes) -> str:
    """Return what a configuration differs in, as `learning_rate=0.0001, tuning.rank=32`."""
    return ", ".join(f"{path}={_shown(value)}" for path, value in configuration.items()) or UNCHANGED


def read_settings(job: FineTuneJob, settings: Settings) -> dict[str, tuple[Any, ...]]:
    """Return the settings as plain data, without repeated values, once each value was tried on the job alone.

    Args:
        job: The job.
        settings: Lists of values by dotted path: `{"learning_rate": [1e-4, 2e-4], "tuning.rank": [16, 32]}`.

    Raises:
        SpecError: A path or a value that the job can't have; lists them all.
    """
    if not settings:
        raise SpecError('a sweep needs settings, such as {"learning_rate": [1e-4, 2e-4]}')
    found: dict[str, tuple[Any, ...]] = {}
    problems: list[str] = []
    for path, given in settings.items():
        values = _plain(given)
        if problem := _why_not_swept(path) or ("" if isinstance(values, list) and values else _not_a_list(path, given)):
            problems.append(problem)
            continue
        unique: list[Any] = []
        for value in cast("list[Any]", values):
            if any(_is_same(value, other) for other in unique):
                continue
            unique.append(value)
            try:
                changed(job, {path: value})
            except FtsdkError as error:
                problems.append(_problem(path, value, error))
        found[path] = tuple(unique)
    if problems:
        raise SpecError("the sweep can't be planned:\n" + "\n".join(f"  {problem}" for problem in problems))
    return found


def trials_of(job: FineTuneJob, settings: Mapping[str, Sequence[Any]], *, grid: bool) -> list[Trial]:
    """Return the trials, the seeds of a configuration beside each other.

    Without `grid`, the job as it is comes first, and each other configuration changes one field of it. With it, there
    is one for each combination of values. Seeds are no setting that could win: each configuration is run with each.

    Args:
        job: The job.
        settings: From `read_settings`.
        grid: Every combination.

    Raises:
        SpecError: There are more than 200.
    """
    seeds: Sequence[int | None] = settings.get(_SEED, (None,))
    varied = {path: values for path, values in settings.items() if path != _SEED}
    count = len(seeds)
    for values in varied.values() if grid else ():
        count *= len(values)
    if not grid:
        count *= 1 + sum(map(len, varied.values()))
    if count > MOST_TRIALS:
        raise SpecError(f"these settings make {count:,} runs, more than {MOST_TRIALS}; leave some values out")
    configurations: list[Changes] = [{}]
    if grid:
        configurations = [dict(zip(varied, values, strict=True)) for values in product(*varied.values())]
    else:
        for path, values in varied.items():
            own = _value_in(job, path)
            configurations += [{path: value} for value in values if not _is_same(value, own)]
    pairs = [(configuration, seed) for configuration in configurations for seed in seeds]
    return [Trial(number=n, configuration=one, seed=seed) for n, (one, seed) in enumerate(pairs, start=1)]


def changed(job: FineTuneJob, changes: Changes, **fields: Any) -> FineTuneJob:
    """Return the job with some fields changed.

    Args:
        job: The job, which stays as it is.
        changes: Values by dotted path, as plain data.
        fields: Fields to replace besides.

    Raises:
        SpecError: The job can't have them.
    """
    own = {name: getattr(job, name) for name in JobFields.model_fields if name in job.model_fields_set}
    data = JobFields(**own).to_dict()
    for path in sorted(changes, key=lambda path: path.count(".")):
        _set(data, path.split("."), changes[path])
    made = JobFields.from_dict(data)
    heads = {path.partition(".")[0] for path in changes}
    return job.replace(**{head: getattr(made, head) for head in heads}, **fields)


def _set(data: dict[str, Any], path: Sequence[str], value: Any) -> None:
    at = data
    for n, name in enumerate(path[:-1]):
        inner = at.get(name)
        if inner is None:
            # A missing mapping starts from the kind of the default, such as `lora` for `tuning`.
            default = JobFields.model_fields[name].default if n == 0 and name in JobFields.model_fields else None
            kind = getattr(default, "kind", None)
            inner = {} if kind is None else {"kind": kind}
        if not isinstance(inner, dict):
            raise SpecError(f"{'.'.join(path[: n + 1])} is {inner!r}, which has no fields")
        # A copy: the value of another setting must not change with it.
        at[name] = at = dict(cast("dict[str, Any]", inner))
    at[path[-1]] = value


def _value_in(job: FineTuneJob, path: str) -> Any:
    at: Any = job
    for name in path.split("."):
        at = getattr(at, name, None)
    return _plain(at)


def _plain(value: Any) -> Any:
    if isinstance(value, Value):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, str) or not isinstance(value, Sequence | set | frozenset | range):
        # NumPy's numbers, such as those of numpy.logspace, as Python's.
        to_list = getattr(value, "tolist", None)
        return value if to_list is None else to_list()
    return [_plain(inner) for inner in cast("Sequence[Any]", value)]


def _is_same(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _why_not_swept(path: object) -> str:
    if not isinstance(path, str) or not all(path.split(".")):
        return f"{path!r} is no field; write a dotted path, such as 'tuning.rank'"
    head = path.partition(".")[0]
    if head in _NOT_SWEPT:
        return f"{path} can't be swept: {_NOT_SWEPT[head]}"
    if head not in JobFields.model_fields:
        known = {name for name in JobFields.model_fields if name not in _NOT_SWEPT}
        instead = JobFields.other_words.get(head.lower())
        return f"{path}: unknown field {head!r}" + (
            nearest(head, known) if instead is None else f"; here it is {instead}"
        )
    return ""


def _not_a_list(path: str, given: object) -> str:
    return f"{path} needs a list of values, such as [{given!r}]" if given not in ([], ()) else f"{path} has no values"


def _problem(path: str, value: object, error: FtsdkError) -> str:
    found = error.problems if isinstance(error, SpecError) and error.problems else ()
    text = "; ".join(problem.message for problem in found) if found else str(error)
    return f"{path}={_shown(value)}: {text}"


def _shown(value: object) -> str:
    if isinstance(value, Mapping):
        fields = dict(cast("Mapping[str, object]", value))
        kind = fields.pop("kind", "")
        inner = ", ".join(f"{name}={_shown(one)}" for name, one in fields.items())
        return printable(f"{kind}({inner})" if inner or not kind else str(kind), _LONGEST_VALUE)
    return printable(f"{value:g}" if isinstance(value, float) else str(value), _LONGEST_VALUE)
