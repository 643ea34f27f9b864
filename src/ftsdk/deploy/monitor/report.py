"""`MonitorReport`: how a router does, as a value that prints, and that shows as a page."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ftsdk._rich_text import rich_text
from ftsdk.deploy.drift import DriftLook
from ftsdk.deploy.monitor.advice import Advice
from ftsdk.deploy.monitor.figures import Figures
from ftsdk.deploy.monitor.promise import Promise
from ftsdk.spec import Value

__all__ = ["Example", "Moment", "MonitorReport", "Switch"]


class Moment(Value):
    """A part of the time that the report covers."""

    at: float
    """Its start, in seconds since the epoch."""
    requests: int
    failed: int
    fallbacks: int
    p95_s: float | None = None
    acceptance: float | None = None


class Switch(Value):
    """A change of the alias."""

    at: float
    before: str
    """The champion before; of a rollback, the canary that was turned back."""
    after: str
    """The champion from then on."""
    canary: str | None = None
    share: float = 0.0
    """The canary's share of the conversations from then on."""
    why: str
    """`switch`, `promote` or `rollback`."""
    reason: str

    @property
    def sentence(self) -> str:
        """What changed, in a few words."""
        match self.why:
            case "rollback":
                return f"{self.before} rolled back; {self.after} answers"
            case "promote":
                return f"{self.after} promoted; it was {self.before}"
            case _:
                champion = self.after if self.before == self.after else f"{self.before} -> {self.after}"
                return (
                    champion if self.canary is None else f"{champion}, canary {self.canary} ({100 * self.share:.3g}%)"
                )


class Example(Value):
    """A request that shows drift."""

    id: str
    at: float | None = None
    prompt: str | None = None
    """None: its text wasn't kept."""
    answer: str | None = None


class MonitorReport(Value):
    """How a router did over some hours."""

    route: str
    since: float
    """Seconds since the epoch, as `until`."""
    until: float
    whole: Figures
    arms: dict[str, Figures]
    """By target."""
    moments: tuple[Moment, ...]
    switches: tuple[Switch, ...]
    """The newest first."""
    promise: Promise | None = None
    looks: tuple[DriftLook, ...] = ()
    waiting: int = 0
    """Answers in the window that isn't full yet."""
    window: int | None = None
    """Answers in a window; None: there is no fingerprint to compare with."""
    unmeasured: int = 0
    """Answers whose records have no measures."""
    unknown_slices: dict[str, int] = Field(default_factory=dict[str, int])
    """Answers of slices that the training data doesn't have, or too little of."""
    advice: tuple[Advice, ...] = ()
    examples: tuple[Example, ...] = ()
    """Of the first advice."""

    @property
    def drift_sentence(self) -> str:
        """Whether the traffic has left the training data, in a sentence."""
        if self.window is None:
            return "Drift isn't watched: name the training data (run, data or fingerprint)."
        if self.advice:
            return self.advice[0].sentence
        if not self.looks and self.unmeasured and not self.waiting:
            return "Drift can't be judged: the router doesn't measure texts (Router(measure=measure_texts))."
        if not self.looks:
            return f"Drift isn't judged yet: {self.waiting} of the {self.window} answers of the first window are there."
        return f"No drift: the traffic looks like the training data ({len(self.looks)} windows)."

    @property
    def promise_sentence(self) -> str:
        """Whether the promised cost is kept, in a sentence; empty without a promise."""
        if self.promise is None:
            return ""
        from ftsdk.deploy.monitor.text import shown_cost

        promised = float(self.promise.usd_per_1k_accepted)
        found = self.whole.usd_per_1k_accepted
        if found is None:
            return f"Promised: {self.promise}. What it costs isn't known yet: {shown_cost(self.whole)}."
        _, low, high = found
        kept = "kept" if high <= promised else "not kept" if low > promised else "can't tell yet"
        what = "" if self.whole.hours_usd else " This is without the hours of your own servers (--usd-per-hour)."
        return f"Promised: {self.promise}. Measured: {shown_cost(self.whole)}: {kept}.{what}"

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data, defaults included."""
        return self.model_dump(mode="json", exclude_none=True)

    def to_html(self) -> str:
        """Return a whole page that loads nothing."""
        from ftsdk.deploy.monitor.html import to_page

        return to_page(self)

    def _repr_html_(self) -> str:
        from ftsdk.deploy.monitor.html import to_block

        return to_block(self)

    def __str__(self) -> str:
        from ftsdk.deploy.monitor.text import to_text

        return to_text(self)

    __rich__ = rich_text
