"""Progress in a notebook: one output of the cell, updated in place, without ipywidgets."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self

from ftsdk._format import Html, escaped, printable
from ftsdk.protocol import CheckpointEvent, EvalEvent, Event, LogEvent, RunStatus, StateEvent, StepEvent
from ftsdk.run.event_lines import event_text, step_facts

if TYPE_CHECKING:
    from ftsdk.evals import EvalProgress

__all__ = ["Display", "NotebookBars", "NotebookProgress", "Output"]

_MOST_LINES = 8
"""Lines below the bar; what happened earlier is counted."""
_MOST_POINTS = 120
"""Points of the loss curve."""
_COLOURS = {"warning": "#b26a00", "error": "#c62828"}


class Output(Protocol):
    """An output of a cell that can be replaced, such as IPython's `DisplayHandle`."""

    def update(self, obj: object, /) -> None:
        """Show another object in its place."""
        ...


Display = Callable[[object], Output]
"""Shows an object as a new output of the cell."""


@dataclass(frozen=True)
class _Shown:
    """One state of an output: HTML, and text for what can't show it."""

    html: str
    text: str

    def _repr_html_(self) -> str:
        return self.html

    def __repr__(self) -> str:
        return self.text


class _Updated:
    """An output that is replaced at most once in `every_s`, and at the end."""

    def __init__(
        self,
        *,
        display: Display | None = None,
        every_s: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._display = display or _display
        self._every_s = every_s
        self._clock = clock
        self._output: Output | None = None
        self._last_at = 0.0
        self._is_current = True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._is_current:
            self._draw(self._clock())

    def _changed(self) -> None:
        now = self._clock()
        if self._output is None or now - self._last_at >= self._every_s:
            self._draw(now)
        else:
            self._is_current = False

    def _draw(self, now: float) -> None:
        shown = self._shown()
        self._last_at, self._is_current = now, True
        if self._output is None:
            self._output = self._display(shown)
        else:
            self._output.update(shown)

    def _shown(self) -> _Shown:
        raise NotImplementedError


class NotebookProgress(_Updated):
    """A bar, the loss curve and the last messages of a run, in one output."""

    def __init__(
        self,
        title: str,
        *,
        display: Display | None = None,
        every_s: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(display=display, every_s=every_s, clock=clock)
        self._title = title
        self._state = ""
        self._step = 0
        self._total: int | None = None
        self._facts = "before the first step"
        self._losses: list[float] = []
        self._lines: list[tuple[str, str]] = []

    def __enter__(self) -> Self:
        self._changed()
        return self

    def event(self, event: Event) -> None:
        """Display one event."""
        match event:
            case StepEvent():
                self._step, self._total, self._facts = event.step, event.total_steps, step_facts(event)
                if event.loss is not None:
                    self._losses.append(event.loss)
            case EvalEvent():
                self._lines.append(("info", event_text(event)))
            case LogEvent():
                self._lines.append((event.level, event_text(event)))
            case StateEvent() if event.state in ("running", "failed", "cancelled"):
                self._lines.append(("error" if event.state == "failed" else "info", event_text(event)))
            case StateEvent() | CheckpointEvent():
                return
        self._changed()

    def status(self, status: RunStatus) -> None:
        """Display the state."""
        if status.state != self._state:
            self._state = status.state
            self._changed()

    def _shown(self) -> _Shown:
        steps = f"{self._step}/{self._total}" if self._total else str(self._step)
        head = " ".join(word for word in (self._title, self._state) if word)
        parts = [
            f"<div><b>{escaped(printable(head))}</b></div>",
            _bar_row(self._step, self._total, f"{steps}  {self._facts}"),
            _curve(self._losses),
        ]
        earlier = len(self._lines) - _MOST_LINES
        if earlier > 0:
            parts.append(f"<div style='opacity:.6'>{earlier} earlier messages: <code>ftsdk logs</code></div>")
        for level, line in self._lines[-_MOST_LINES:]:
            colour = f" style='color:{_COLOURS[level]}'" if level in _COLOURS else ""
            parts.append(f"<div{colour}>{escaped(printable(line))}</div>")
        text = [f"{head}  {steps}  {self._facts}", *(line for _, line in self._lines[-_MOST_LINES:])]
        return _Shown(_block(parts), "\n".join(printable(line) for line in text))


class NotebookBars(_Updated):
    """A bar for each eval and target, in one output."""

    def __init__(
        self,
        *,
        display: Display | None = None,
        every_s: float = 0.5,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(display=display, every_s=every_s, clock=clock)
        self._bars: dict[str, tuple[int, int]] = {}

    def show(self, progress: EvalProgress) -> None:
        """Display how far one eval of one target is."""
        self._bars[f"{progress.name} of {progress.target}"] = (progress.done, progress.total)
        self._changed()

    def _shown(self) -> _Shown:
        rows = [(done, total, f"{done}/{total}  {printable(label)}") for label, (done, total) in self._bars.items()]
        return _Shown(_block([_bar_row(*row) for row in rows]), "\n".join(label for _, _, label in rows))


def _display(shown: object) -> Output:
    # IPython is there wherever a notebook is, and is no requirement of ours.
    from IPython.display import display  # pyright: ignore[reportMissingImports]

    return display(shown, display_id=True)


def _block(parts: Sequence[str]) -> Html:
    return Html(f"<div style='font-family:sans-serif;font-size:13px;line-height:1.6'>{''.join(parts)}</div>")


def _bar_row(done: int, total: int | None, label: str) -> str:
    share = min(100.0, 100 * done / total) if total else 0.0
    return (
        "<div style='display:flex;align-items:center;gap:10px'>"
        "<div style='width:240px;height:9px;border-radius:5px;background:rgba(128,128,128,.3);flex:none'>"
        f"<div style='width:{share:.1f}%;height:9px;border-radius:5px;background:#4051b5'></div></div>"
        f"<span style='white-space:pre-wrap;font-variant-numeric:tabular-nums'>{escaped(printable(label))}</span></div>"
    )


def _curve(losses: Sequence[float]) -> str:
    """Return the training loss as a small line, from its highest to its lowest; empty below three steps."""
    if len(losses) < 3:
        return ""
    kept = losses[:: -(-len(losses) // _MOST_POINTS)]
    low, high = min(kept), max(kept)
    points = " ".join(
        f"{240 * n / (len(kept) - 1):.1f},{2 + 36 * (high - loss) / ((high - low) or 1):.1f}"
        for n, loss in enumerate(kept)
    )
    return (
        "<div style='display:flex;align-items:center;gap:10px'>"
        "<svg width='240' height='40' style='flex:none;margin:4px 0' role='img' aria-label='training loss'>"
        f"<polyline points='{points}' fill='none' stroke='#4051b5' stroke-width='1.5'/></svg>"
        f"<span style='opacity:.7'>training loss, {high:.3g} to {low:.3g}</span></div>"
    )
