"""Every error that ftsdk raises, by who has to act.

```
FtsdkError
├── SpecError (ValueError)              the caller: an invalid value
│   └── UnsupportedSpecError            the caller: valid, but not supported by this backend
├── DatasetError (ValueError)           the caller: a row, a field or a file of the data
├── ModelError (ValueError)             the caller: a model that is missing, unreadable or unsafe
├── MissingExtraError (ImportError)     the caller: `pip install "ftsdk[...]"`
├── CredentialsError                    the caller: a key is missing or refused
├── BudgetExceededError                 the caller: the run costs more than `budget_usd`
├── RunNotFoundError (LookupError)      the caller: no run has this ref
├── RunNotReadyError                    the caller: the run has no result yet
├── BackendError                        the provider or the backend: retryable or not
├── CorruptArtifactError                a checkpoint or an artifact doesn't match its manifest
└── RunFailedError                      the training: with a diagnosis
```

Every error states what happened, where, and what to do next. Errors pickle, so they can cross process boundaries.
"""

from __future__ import annotations

import copyreg
import sys
from typing import TYPE_CHECKING, Any, NamedTuple, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from decimal import Decimal

__all__ = [
    "BackendError",
    "BudgetExceededError",
    "CorruptArtifactError",
    "CredentialsError",
    "DatasetError",
    "Diagnosis",
    "FtsdkError",
    "Gap",
    "MissingExtraError",
    "ModelError",
    "Problem",
    "RunFailedError",
    "RunNotFoundError",
    "RunNotReadyError",
    "SpecError",
    "UnsupportedSpecError",
]


class Problem(NamedTuple):
    """One problem of an invalid value.

    Attributes:
        path: The field, as a dotted path; empty for the value as a whole.
        message: What is wrong with it.
    """

    path: str
    message: str


class Gap(NamedTuple):
    """A field that was set but that a backend doesn't support.

    Attributes:
        field: The field, as a dotted path.
        asked: Its value.
        offered: The values that the backend supports instead, if any.
        reason: Why, where that isn't obvious.
    """

    field: str
    asked: object
    offered: tuple[object, ...] = ()
    reason: str = ""


class Diagnosis(NamedTuple):
    """Why a run failed.

    Attributes:
        kind: The kind of failure, such as `"out_of_memory"`.
        message: What happened.
        step: The optimizer step at which it happened, if known.
        suggestions: What to try.
    """

    kind: str
    message: str
    step: int | None = None
    suggestions: tuple[str, ...] = ()

    @classmethod
    def from_dict(cls, fields: Mapping[str, object], *, message: str = "") -> Diagnosis:
        """Read the fields of a diagnosis from a record, which may be damaged.

        Args:
            fields: As returned by `_asdict`.
            message: Used if the record has none.
        """
        step, suggestions = fields.get("step"), fields.get("suggestions")
        return cls(
            str(fields.get("kind") or "unknown"),
            str(fields.get("message") or message or "the record of the failure is damaged"),
            step if isinstance(step, int) else None,
            tuple(map(str, cast("Sequence[object]", suggestions))) if isinstance(suggestions, list | tuple) else (),
        )

    def __str__(self) -> str:
        where = "" if self.step is None else f" at step {self.step}"
        tries = "".join(f"\n  - {suggestion}" for suggestion in self.suggestions)
        return f"{self.kind}{where}: {self.message}" + (f"\nWhat to try:{tries}" if tries else "")

    def __rich__(self) -> Any:
        from ftsdk._rich_text import rich_text

        return rich_text(self)


class FtsdkError(Exception):
    """The base of all errors: `except ftsdk.FtsdkError` catches every error of ftsdk and no other."""

    def __init__(self, *args: object, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Python prints the error that led to this one, too, with whatever a stranger's text put into it.
        _make_printable(sys.exc_info()[1])

    def __str__(self) -> str:
        # Messages quote names, rows and answers of strangers, and end up on terminals.
        from ftsdk._format import printable

        return printable(super().__str__())

    def __rich__(self) -> Any:
        from ftsdk._rich_text import rich_text

        return rich_text(self)

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException pickles as `cls(*args)`, which fails for keyword-only arguments: restore the state instead.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__.copy()  # type: ignore[attr-defined]


def _make_printable(error: BaseException | None) -> None:
    """Replace control characters in the messages of an error of others and of those that led to it."""
    from ftsdk._format import printable

    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        texts = tuple(printable(arg) if isinstance(arg, str) else arg for arg in error.args)
        if not isinstance(error, FtsdkError) and texts != error.args:
            error.args = texts
        error = error.__cause__ or error.__context__


class SpecError(FtsdkError, ValueError):
    """A value that no backend accepts: an unknown option, a number out of range, fields that don't fit together."""

    def __init__(self, message: str, *, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class UnsupportedSpecError(SpecError):
    """The spec is valid, but the backend doesn't support all of it. Nothing was sent and nothing was spent."""

    def __init__(self, backend: str, gaps: Sequence[Gap], *, message: str | None = None) -> None:
        """Describe the gaps, or say `message` where they aren't fields of a spec."""
        lines: list[str] = []
        for gap in gaps:
            offered = f"; offered: {', '.join(repr(o) for o in gap.offered)}" if gap.offered else "; not offered"
            reason = f" ({gap.reason})" if gap.reason else ""
            lines.append(f"  {gap.field} = {gap.asked!r}{offered}{reason}")
        fields = "a field that was set" if len(lines) == 1 else f"{len(lines)} of the fields that were set"
        super().__init__(
            message
            or f"backend {backend!r} doesn't support {fields}:\n"
            + "\n".join(lines)
            + f"\nChange {'it' if len(lines) == 1 else 'these fields'}, or use another backend."
        )
        self.backend = backend
        self.gaps = tuple(gaps)


class DatasetError(FtsdkError, ValueError):
    """Data that can't be used. The message names the file, the row and the field.

    Attributes:
        source: The file or hub id; None for rows from memory.
        line: The line of the first bad row in a text file, elsewhere its number; both count from 1.
        field: The column.
        reason: What is wrong, and what to do, without where.
        problems: Up to ten bad rows, where there are several.
        bad_rows: How many bad rows there are in all.
    """

    def __init__(
        self,
        message: str,
        *,
        source: str | None = None,
        line: int | None = None,
        field: str | None = None,
        hint: str | None = None,
    ) -> None:
        where = source or ""
        if line is not None:
            where += f":{line}" if source else f"row {line}"
        if field is not None:
            where += f", field {field!r}" if where else f"field {field!r}"
        self.reason = message + (f" {hint}" if hint else "")
        super().__init__((f"{where}: " if where else "") + self.reason)
        self.source = source
        self.line = line
        self.field = field
        self.problems: tuple[Problem, ...] = () if line is None else (Problem(where, self.reason),)
        self.bad_rows = len(self.problems)

    def with_more(self, others: Sequence[DatasetError], *, count: int, of: int) -> DatasetError:
        """Return this error with those of other rows listed below it.

        Args:
            others: Errors of other rows, as many as shall be listed.
            count: How many bad rows there are, this one included.
            of: How many rows there are.
        """
        listed = "".join(f"\n  {other}" for other in others)
        rest = count - 1 - len(others)
        more = f"\n  ... and {rest:,} more" if rest else ""
        advice = "" if count == of else ' on_bad="drop" leaves them out, and keeps them in .dropped.'
        found = DatasetError("", source=self.source, line=self.line, field=self.field)
        found.args = (f"{self}\n{count:,} of {of:,} rows can't be used.{advice}{listed}{more}",)
        found.reason = self.reason
        found.problems = tuple(problem for error in (self, *others) for problem in error.problems)
        found.bad_rows = count
        return found


class ModelError(FtsdkError, ValueError):
    """A model that is missing, incomplete or unsafe to load."""


class MissingExtraError(FtsdkError, ImportError):
    """A package that belongs to an extra isn't installed."""

    def __init__(self, extra: str, *, needed_for: str, missing: str | None = None, package: str = "ftsdk") -> None:
        what = f" (the package {missing!r} is missing)" if missing else ""
        # The extras of another package are unknown here: installing it again brings its dependencies.
        advice = (
            f'needs an extra{what}: pip install "ftsdk[{extra}]"'
            if package == "ftsdk"
            else f"can't be loaded{what}: pip install {package}"
        )
        super().__init__(f"{needed_for} {advice}", name=missing)
        self.extra = extra
        self.missing = missing
        self.package = package

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild, arguments, state = super().__reduce__()
        return rebuild, arguments, {**state, "msg": self.msg, "name": self.name}


class CredentialsError(FtsdkError):
    """An API key is missing or was refused. The key is never part of the message."""


class BudgetExceededError(FtsdkError):
    """The run could cost more than `budget_usd` and wasn't started, or has reached it and was cancelled.

    Args:
        message: What happened, and what next.
        accrued_usd: What the cancelled run had cost, in US dollars; None if it wasn't started or its cost is unknown.
        budget_usd: The budget, in US dollars.
        bound_usd: The most that can have been spent beyond the budget before the run was stopped, in US dollars.
    """

    def __init__(
        self,
        message: str,
        *,
        accrued_usd: Decimal | None = None,
        budget_usd: Decimal | None = None,
        bound_usd: Decimal | None = None,
    ) -> None:
        super().__init__(message)
        self.accrued_usd = accrued_usd
        self.budget_usd = budget_usd
        self.bound_usd = bound_usd


class RunNotFoundError(FtsdkError, LookupError):
    """Neither the ledger nor the backend has a run with this ref."""


class RunNotReadyError(FtsdkError):
    """The run doesn't have this result yet."""


class BackendError(FtsdkError):
    """The provider or the backend failed; the spec and the training are not to blame.

    Args:
        message: What happened, and what next.
        retryable: Whether the same call may succeed later.
        retry_after_s: Seconds to wait before that, if the provider said so.
        status_code: The HTTP status, if there was one.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = False,
        retry_after_s: float | None = None,
        status_code: int | None = None,
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.status_code = status_code


class CorruptArtifactError(FtsdkError):
    """A checkpoint or an artifact doesn't match its manifest, so it isn't used."""


_SAYS_ALL = frozenset({"data", "missing_package", "model", "spec"})
"""Kinds of diagnosis whose message says it all: the log would repeat it under a traceback."""


class RunFailedError(FtsdkError):
    """The training failed. `diagnosis` has the cause, the step and what to try.

    The message ends with the last lines of the worker's log, unless the cause is one of our own errors about the data,
    the model or the job, which says it all; `log_tail` has them in any case.
    """

    def __init__(self, ref: str, diagnosis: Diagnosis, *, log_tail: str = "") -> None:
        tail = f"\nLast lines of the log:\n{log_tail}" if log_tail and diagnosis.kind not in _SAYS_ALL else ""
        super().__init__(f"run {ref} failed: {diagnosis}{tail}")
        self.ref = ref
        self.diagnosis = diagnosis
        self.log_tail = log_tail
