"""The state of a run, its name, and its weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from ftsdk._format import html_block, html_table, money
from ftsdk._rich_text import rich_text
from ftsdk.errors import Diagnosis, RunNotReadyError, SpecError
from ftsdk.spec.positional import by_name_only

__all__ = ["TERMINAL", "Artifact", "RunRef", "RunState", "RunStatus", "check_succeeded"]

RunState = Literal["queued", "running", "finalizing", "cancelling", "succeeded", "failed", "cancelled", "unknown"]
"""The state of a run. `unknown` isn't terminal: the backend reported an unknown state, which is in `native`."""


TERMINAL: frozenset[RunState] = frozenset({"succeeded", "failed", "cancelled"})
"""The states that a run never leaves."""


@by_name_only
@dataclass(frozen=True, kw_only=True)
class RunRef:
    """The name of a run, valid in any process on any day: `local:20261123-ab12cd`."""

    backend: str
    id: str
    native: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    """The backend's own ids of jobs and files, and its quote for the run. Never a secret."""

    def __str__(self) -> str:
        return f"{self.backend}:{self.id}"

    __rich__ = rich_text

    @classmethod
    def parse(cls, text: str) -> RunRef:
        """Parse a ref as it was printed.

        Raises:
            SpecError: The text isn't of the form `backend:id`.
        """
        backend, colon, identifier = text.strip().partition(":")
        if not (backend and colon and identifier):
            raise SpecError(
                f"{text!r} isn't a run ref; a run ref looks like 'local:20261123-ab12cd' (see `ftsdk runs`)"
            )
        return cls(backend=backend, id=identifier)


@by_name_only
@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """The state of a run now."""

    state: RunState
    native: str = ""
    """The backend's own word for the state."""
    reason: str = ""
    diagnosis: Diagnosis | None = None
    log_tail: str = ""
    attempts: int = 1
    price_usd: Decimal | None = None
    """US dollars that the run has cost, once the provider reports it; what can't be a price counts as not reported."""

    def __post_init__(self) -> None:
        if self.price_usd is not None and not (self.price_usd.is_finite() and self.price_usd >= 0):
            object.__setattr__(self, "price_usd", None)

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended, so that its state is final."""
        return self.state in TERMINAL

    def _repr_html_(self) -> str:
        facts = [
            ("state", self.state),
            ("at the backend", "" if self.native == self.state else self.native),
            ("reason", self.reason),
            ("diagnosis", "" if self.diagnosis is None else str(self.diagnosis)),
            ("attempts", "" if self.attempts == 1 else str(self.attempts)),
            ("cost", "" if self.price_usd is None else money(self.price_usd)),
            ("log", "" if self.state == "succeeded" else self.log_tail),
        ]
        return html_block(html_table([fact for fact in facts if fact[1]], has_row_heads=True))


def check_succeeded(ref: RunRef, state: RunState, *, wanted: str) -> None:
    """Raise unless the run has succeeded.

    Args:
        ref: The run.
        state: Its state now.
        wanted: What only a run that has succeeded has, such as "weights to collect".

    Raises:
        RunNotReadyError: It hasn't succeeded; the message names the command that shows why.
    """
    if state != "succeeded":
        shows = "shows why, and what next" if state in TERMINAL else "shows its progress"
        raise RunNotReadyError(
            f"run {ref} is {state}; only a run that has succeeded has {wanted}. `ftsdk watch {ref}` {shows}"
        )


@by_name_only
@dataclass(frozen=True, kw_only=True)
class Artifact:
    """The weights of a finished run: every file that the manifest lists is there and has the right hash."""

    path: Path
    kind: Literal["adapter", "model"]
    base: str
    """Id of the model that was tuned."""
    manifest: Mapping[str, Any] = field(repr=False)
