"""Every error that ftsdk raises, sorted by who has to act.

```
FtsdkError
├── SpecError (ValueError)              the caller: a value that can't be right
│   └── UnsupportedSpecError            the caller: right in itself, but this backend can't do it
├── DatasetError (ValueError)           the caller: a row, a field or a file of the data
├── ModelError (ValueError)             the caller: a model that can't be found, read or trusted
├── MissingExtraError (ImportError)     the caller: `pip install "ftsdk[...]"`
├── CredentialsError                    the caller: a key is missing or refused
├── BudgetExceededError                 the caller: more than `budget_usd`
├── RunNotFoundError (LookupError)      the caller: no run has this ref
├── RunNotReadyError                    the caller: asked for a result before there is one
├── BackendError                        the provider or place: retryable or not
├── CorruptArtifactError                a checkpoint or an artifact isn't whole
└── RunFailedError                      the training: with a diagnosis
```

Every error says what, where and what next, and survives pickling, so that it can cross a process boundary.
"""

from __future__ import annotations

import copyreg
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
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
    """One thing that is wrong with a value: where it is, and what is wrong."""

    path: str
    message: str


class Gap(NamedTuple):
    """A field that was asked for and that a backend can't honour."""

    field: str
    asked: object
    offered: tuple[object, ...] = ()
    reason: str = ""


class Diagnosis(NamedTuple):
    """Why a run failed, at which step, and what to try."""

    kind: str
    message: str
    step: int | None = None
    suggestions: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = "" if self.step is None else f" at step {self.step}"
        tries = "".join(f"\n  - {suggestion}" for suggestion in self.suggestions)
        return f"{self.kind}{where}: {self.message}" + (f"\nWhat to try:{tries}" if tries else "")


class FtsdkError(Exception):
    """The root of the tree: `except ftsdk.FtsdkError` catches all of ours and nothing else."""

    def __reduce__(self) -> tuple[Any, ...]:
        # BaseException pickles as `cls(*args)`, which breaks for keyword-only constructors; rebuild from the instance's own state.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__.copy()  # type: ignore[attr-defined]


class SpecError(FtsdkError, ValueError):
    """A value that can't be right whatever the backend: an unknown option, a number out of range, a bad pair."""

    def __init__(self, message: str, *, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


class UnsupportedSpecError(SpecError):
    """The spec is sound, but the chosen backend can't honour part of it; nothing was sent and nothing was spent."""

    def __init__(self, backend: str, gaps: Sequence[Gap]) -> None:
        lines: list[str] = []
        for gap in gaps:
            offered = f"; offered: {', '.join(repr(o) for o in gap.offered)}" if gap.offered else "; not offered"
            reason = f" ({gap.reason})" if gap.reason else ""
            lines.append(f"  {gap.field} = {gap.asked!r}{offered}{reason}")
        super().__init__(
            f"backend {backend!r} can't honour {len(lines)} of the fields that were set:\n"
            + "\n".join(lines)
            + "\nChange these fields, or the backend."
        )
        self.backend = backend
        self.gaps = tuple(gaps)


class DatasetError(FtsdkError, ValueError):
    """Data that can't be used: says in which file, row and field."""

    def __init__(
        self, message: str, *, source: str | None = None, line: int | None = None, field: str | None = None, hint: str | None = None
    ) -> None:
        where = source or ""
        if line is not None:
            where += f":{line}" if source else f"row {line}"
        if field is not None:
            where += f", field {field!r}" if where else f"field {field!r}"
        super().__init__((f"{where}: " if where else "") + message + (f" {hint}" if hint else ""))
        self.source = source
        self.line = line
        self.field = field


class ModelError(FtsdkError, ValueError):
    """A model that can't be found, isn't whole, or isn't safe to load."""


class MissingExtraError(FtsdkError, ImportError):
    """A package that belongs to an extra isn't installed."""

    def __init__(self, extra: str, *, needed_for: str, missing: str | None = None, package: str = "ftsdk") -> None:
        what = f" (the package {missing!r} is missing)" if missing else ""
        # What a stranger's package needs isn't ours to know: installing it again brings its dependencies.
        advice = f'needs an extra{what}: pip install "ftsdk[{extra}]"' if package == "ftsdk" else f"can't be loaded{what}: pip install {package}"
        super().__init__(f"{needed_for} {advice}", name=missing)
        self.extra = extra
        self.missing = missing
        self.package = package

    def __reduce__(self) -> tuple[Any, ...]:
        rebuild, arguments, state = super().__reduce__()
        return rebuild, arguments, {**state, "msg": self.msg, "name": self.name}


class CredentialsError(FtsdkError):
    """A key is missing or was refused. The key itself is never part of the message."""


class BudgetExceededError(FtsdkError):
    """The run could cost more than `budget_usd`; it wasn't started, or it was cancelled.

    Args:
        message: What happened, and what next.
        accrued_usd: What a run that was cancelled had cost when that was seen, in US dollars; None: it wasn't started, or nothing tells.
        budget_usd: What it might cost.
        bound_usd: The most that may have been spent beyond the budget before anybody could see it.
    """

    def __init__(
        self, message: str, *, accrued_usd: Decimal | None = None, budget_usd: Decimal | None = None, bound_usd: Decimal | None = None
    ) -> None:
        super().__init__(message)
        self.accrued_usd = accrued_usd
        self.budget_usd = budget_usd
        self.bound_usd = bound_usd


class RunNotFoundError(FtsdkError, LookupError):
    """No run with this ref is in the ledger or at the backend."""


class RunNotReadyError(FtsdkError):
    """The run has no such result yet."""


class BackendError(FtsdkError):
    """The provider or the place failed, not the spec and not the training."""

    def __init__(self, message: str, *, retryable: bool = False, retry_after_s: float | None = None, status_code: int | None = None) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.status_code = status_code


class CorruptArtifactError(FtsdkError):
    """A checkpoint or an artifact doesn't match its manifest; it is never used."""


class RunFailedError(FtsdkError):
    """The training failed; `diagnosis` says why, at which step, and what to try."""

    def __init__(self, ref: str, diagnosis: Diagnosis, *, log_tail: str = "") -> None:
        tail = f"\nLast lines of the log:\n{log_tail}" if log_tail else ""
        super().__init__(f"run {ref} failed: {diagnosis}{tail}")
        self.ref = ref
        self.diagnosis = diagnosis
        self.log_tail = log_tail
