"""What a scorer is, and the decorator that makes one of a function."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from dataclasses import replace as dataclass_replace
from typing import Any, Literal, Protocol, cast, get_type_hints, overload, runtime_checkable

from pydantic import TypeAdapter, ValidationError

from ftsdk.errors import SpecError
from ftsdk.evals.examples import Example
from ftsdk.evals.registry import Registry
from ftsdk.evals.statistics.interval import LARGEST_VALUE
from ftsdk.spec.base import nearest

__all__ = [
    "RESERVED_OPTIONS",
    "FunctionScorer",
    "Score",
    "Scorer",
    "check_signature",
    "get_scorer",
    "scorer",
    "scorer_names",
]

RESERVED_OPTIONS = frozenset(
    {"columns", "data", "group", "kind", "max_new_tokens", "metric", "name", "scorer", "slices"}
)
"""Keys of an eval in a job file; the options of its scorer stand beside them."""


@dataclass(frozen=True)
class Score:
    """The verdict on one answer."""

    value: float
    """Between 0 (worst) and 1 (best), unless the scorer is unbounded."""
    reason: str
    """Why, in a few words; kept beside the answer."""
    label: str | None = None
    """The class that the answer names, for metrics that count classes; None: none, or the scorer has no classes."""
    expected_label: str | None = None
    """The class that the reference names; None: the scorer has no classes."""
    parts: Mapping[str, float] = field(default_factory=dict[str, float])
    """What the value is made of, by name: the score of each field, or counts that a metric sums up."""
    error: str | None = None
    """Why there is no verdict, such as a reply of a judge that can't be read; the value is the worst one then."""

    def __post_init__(self) -> None:
        value, reason = cast("object", self.value), cast("object", self.reason)
        if not _is_finite(value):
            raise SpecError(
                f"the value of a score must be a finite number; got {_shown(value)}. For right or wrong, use 1.0 and "
                "0.0"
            )
        if not isinstance(reason, str):
            raise SpecError(f"the reason of a score must be text; got {_shown(reason)}")
        for name in ("label", "expected_label", "error"):
            found = cast("object", getattr(self, name))
            if found is not None and not isinstance(found, str):
                raise SpecError(f"the {name} of a score must be text or None; got {_shown(found)}")
        parts = cast("object", self.parts)
        if not isinstance(parts, Mapping):
            raise SpecError(f"the parts of a score must be numbers by their names; got {_shown(parts)}")
        for name, part in cast("Mapping[object, object]", parts).items():
            if not isinstance(name, str) or not _is_finite(part):
                raise SpecError(
                    f"the parts of a score must be finite numbers by their names; got {_shown(part)} for {_shown(name)}"
                )
        object.__setattr__(self, "value", float(self.value))


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST_VALUE


def _shown(value: object) -> str:
    try:
        return repr(value)[:80]
    except ValueError:  # a whole number of more than 4,300 digits
        return "a number of thousands of digits"


@runtime_checkable
class Scorer(Protocol):
    """Something that judges answers, one at a time. `@scorer` makes one of a function."""

    @property
    def name(self) -> str:
        """The name that it is found by, in job files too."""
        ...

    @property
    def option_names(self) -> tuple[str, ...]:
        """The options that it has."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """The options that were set to something else than their defaults; JSON values."""
        ...

    @property
    def is_unbounded(self) -> bool:
        """Whether values may lie outside 0 to 1."""
        ...

    @property
    def is_lower_better(self) -> bool:
        """Whether a lower value is the better one, as with a loss."""
        ...

    @property
    def reads(self) -> Literal["answer", "likelihood"]:
        """What it judges: the text that a model answers, or how likely the model finds the reference."""
        ...

    def with_options(self, **options: Any) -> Scorer:
        """Return the same scorer with some options changed.

        Raises:
            SpecError: An unknown option, a missing one, or an impossible value.
        """
        ...

    def __call__(self, example: Example, answer: str) -> Score:
        """Judge an answer."""
        ...


_SCORERS: Registry[Scorer] = Registry(group="ftsdk.scorers", what="scorer")


def scorer_names() -> tuple[str, ...]:
    """Return the names of all known scorers, without importing the packages behind them."""
    return _SCORERS.names()


def get_scorer(name: str, options: Mapping[str, Any] | None = None) -> Scorer:
    """Return a scorer by name.

    Args:
        name: A scorer defined in this process, or an entry point in the group `ftsdk.scorers`.
        options: Its options. None: those that are set already, even if the scorer needs more before it can judge.

    Raises:
        SpecError: No such scorer, or options that it refuses.
        MissingExtraError: A package that it imports isn't installed.
    """
    found = _SCORERS.get(name)
    return found if options is None else found.with_options(**options)


@dataclass(frozen=True)
class FunctionScorer:
    """A scorer made of a function; see `scorer`."""

    name: str
    function: Callable[..., Score] = field(repr=False)
    """Takes the example, the answer and its options by keyword."""
    is_unbounded: bool = False
    is_lower_better: bool = False
    reads: Literal["answer", "likelihood"] = "answer"
    options: Mapping[str, Any] = field(default_factory=dict[str, Any], hash=False)
    prepare: Callable[..., Mapping[str, Any]] | None = field(default=None, repr=False)
    """Takes all examples and the options; returns options for judging them. See `CanPrepare`."""

    def prepared(self, examples: Iterable[Example]) -> FunctionScorer:
        """Return the scorer with what it takes from all examples; see `CanPrepare`."""
        if self.prepare is None:
            return self
        return dataclass_replace(self, options={**self.options, **self.prepare(list(examples), **self.options)})

    def __call__(self, example: Example, answer: str) -> Score:
        """Judge an answer.

        Raises:
            SpecError: The function returned something else than a score, or a value out of range.
        """
        found = cast("object", self.function(example, answer, **self.options))
        if not isinstance(found, Score):
            raise SpecError(f"the scorer {self.name!r} must return a Score(value, reason); got {found!r}")
        if not self.is_unbounded and not 0 <= found.value <= 1:
            raise SpecError(
                f"the scorer {self.name!r} returned {found.value:g}, outside 0 to 1; scale it, or use "
                "@scorer(is_unbounded=True)"
            )
        return found

    @property
    def option_names(self) -> tuple[str, ...]:
        """The keyword-only arguments of the function."""
        return tuple(_options_of(self.function))

    def with_options(self, **options: Any) -> FunctionScorer:
        """Return the same scorer with some options changed.

        Raises:
            SpecError: An unknown option, a missing one, or an impossible value.
        """
        defaults = {name: parameter.default for name, parameter in _options_of(self.function).items()}
        chosen = {**self.options, **{name: self._checked(name, value, defaults) for name, value in options.items()}}
        for name, default in defaults.items():
            if default is inspect.Parameter.empty and name not in chosen:
                raise SpecError(f"the scorer {self.name!r} needs its option {name!r}")
        changed = {name: chosen[name] for name in sorted(chosen) if chosen[name] != defaults[name]}
        return dataclass_replace(self, options=changed)

    def _checked(self, name: str, value: Any, known: Mapping[str, Any]) -> Any:
        if name not in known:
            has_options = nearest(name, list(known)) if known else "; it has none"
            raise SpecError(f"unknown option {name!r} of the scorer {self.name!r}{has_options}")
        hint = get_type_hints(self.function, include_extras=True).get(name, Any)
        try:
            # By way of JSON, as the option comes back from a job file.
            return TypeAdapter[Any](hint).validate_json(json.dumps(value), strict=True)
        except (ValidationError, TypeError) as error:
            if isinstance(error, ValidationError) and error.errors()[0]["type"] == "value_error":
                reason = error.errors()[0]["msg"].removeprefix("Value error, ")
                raise SpecError(f"{name} of the scorer {self.name!r} {reason}; got {value!r}") from error
            plain = get_type_hints(self.function).get(name, Any)
            expected = getattr(plain, "__name__", str(plain))
            raise SpecError(f"{name} of the scorer {self.name!r} must be {expected}; got {value!r}") from error

    def __reduce__(self) -> tuple[Any, ...]:
        # The module's name now means this object, so the function can't be pickled by its own.
        return _find, (self.function.__module__, self.function.__qualname__, dict(self.options))


def _find(module: str, qualname: str, options: Mapping[str, Any]) -> Scorer:
    found: Any = importlib.import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part)
    if not isinstance(found, Scorer):
        from ftsdk.evals.scorers.plain_function import scorer_of

        found = scorer_of(found)
    return found.with_options(**options)


@overload
def scorer(function: Callable[..., Score], /) -> FunctionScorer: ...


@overload
def scorer(
    *,
    name: str | None = None,
    is_unbounded: bool = False,
    is_lower_better: bool = False,
    reads: Literal["answer", "likelihood"] = "answer",
    prepare: Callable[..., Mapping[str, Any]] | None = None,
) -> Callable[[Callable[..., Score]], FunctionScorer]: ...


def scorer(
    function: Callable[..., Score] | None = None,
    /,
    *,
    name: str | None = None,
    is_unbounded: bool = False,
    is_lower_better: bool = False,
    reads: Literal["answer", "likelihood"] = "answer",
    prepare: Callable[..., Mapping[str, Any]] | None = None,
) -> FunctionScorer | Callable[[Callable[..., Score]], FunctionScorer]:
    """Make a scorer of a function and register it under its name.

    ```python
    @scorer
    def starts_right(example: Example, answer: str, *, letters: int = 1) -> Score:
        is_right = answer[:letters] == example.expected[:letters]
        return Score(float(is_right), f"the first {letters} letters")


    Eval.of(test, "starts_right", letters=3)
    ```

    A package offers a scorer to job files everywhere by an entry point: group `ftsdk.scorers`, name, `module:function`.

    Args:
        function: Takes an `Example` and the answer, then its options as keyword-only arguments; returns a `Score`.
        name: What to call it; the function's name by default.
        is_unbounded: Values may lie outside 0 to 1.
        is_lower_better: A lower value is the better one.
        reads: What the function gets as the answer: the text that the model answers, or, with `"likelihood"`, the
            `Likelihood` of the reference as JSON. Only models on this machine tell it.
        prepare: Called once before judging, for what one example alone doesn't tell, such as the names of all classes,
            and to refuse what can't work. Takes a list of all examples, then the options by keyword; returns options
            for the function.

    Raises:
        SpecError: A signature that can't work, or a name that another function has.
    """

    def make(function: Callable[..., Score]) -> FunctionScorer:
        made = FunctionScorer(
            name or function.__name__, function, is_unbounded, is_lower_better, reads, prepare=prepare
        )
        check_signature(made)
        _SCORERS.register(made.name, made, origin=f"{function.__module__}.{function.__qualname__}")
        return made

    return make if function is None else make(function)


def _options_of(function: Callable[..., Score]) -> dict[str, inspect.Parameter]:
    parameters = inspect.signature(function).parameters
    return {
        name: parameter for name, parameter in parameters.items() if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }


def check_signature(made: FunctionScorer) -> None:
    """Check that the function of a scorer takes what it is called with.

    Raises:
        SpecError: It doesn't, or an option has the name of a field of an eval.
    """
    parameters = list(inspect.signature(made.function).parameters.values())
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    options = _options_of(made.function)
    if len(parameters) - len(options) != 2 or any(parameter.kind not in positional for parameter in parameters[:2]):
        raise SpecError(
            f"the scorer {made.name!r} must take (example, answer), and its options after a *: (example, answer, *, "
            "option=...)"
        )
    taken = sorted(RESERVED_OPTIONS & options.keys())
    if taken:
        raise SpecError(
            f"the scorer {made.name!r} has an option {taken[0]!r}, which is a field of every eval; call it something "
            "else"
        )
