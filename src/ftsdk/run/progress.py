"""The progress of a run: a live bar in a terminal, one output in a notebook, lines in a log file."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Protocol

from ftsdk._format import printable
from ftsdk.protocol import CheckpointEvent, EvalEvent, Event, LogEvent, RunStatus, StateEvent, StepEvent
from ftsdk.run.event_lines import step_facts
from ftsdk.run.notebook_progress import NotebookBars, NotebookProgress

if TYPE_CHECKING:
    from rich.console import Console

    from ftsdk.evals import EvalProgress

__all__ = ["LiveProgress", "Progress", "SilentProgress", "make_bar", "make_progress"]


_WIDE = 110
"""Columns of a terminal in which bar, loss, speed and both times fit."""


class Progress(Protocol):
    """Displays a run's events."""

    def event(self, event: Event) -> None:
        """Display one event. Each event is passed once, in order."""
        ...

    def status(self, status: RunStatus) -> None:
        """Display the status. Called at every poll."""
        ...


class SilentProgress:
    """Displays nothing."""

    def event(self, event: Event) -> None:
        """Do nothing."""

    def status(self, status: RunStatus) -> None:
        """Do nothing."""


class LiveProgress:
    """A bar in a terminal; elsewhere one line every few seconds."""

    def __init__(
        self,
        title: str,
        *,
        console: Console | None = None,
        every_s: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        self._console = console or Console(stderr=True)
        self.is_live = self._console.is_terminal
        """Whether a bar is drawn."""
        # In 80 columns the bar would be the first to go: leave out speed and elapsed time instead.
        self._is_narrow = self.is_live and self._console.width < _WIDE
        self._every_s = every_s
        self._clock = clock
        self._last_line_at: float | None = None
        self._shown_state = ""
        self._bar = RichProgress(
            TextColumn("[bold]{task.description}"),
            BarColumn(bar_width=10 if self._is_narrow else 24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[facts]}"),
            *([] if self._is_narrow else [TimeElapsedColumn()]),
            console=self._console,
            disable=not self.is_live,
        )
        self._task = self._bar.add_task(_plain(title), total=None, facts="before the first step")
        self._title = title

    def __enter__(self) -> LiveProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def event(self, event: Event) -> None:
        """Display one event."""
        match event:
            case StepEvent():
                facts = step_facts(event, with_speed=not self._is_narrow)
                self._bar.update(self._task, completed=event.step, total=event.total_steps, facts=facts)
                now = self._clock()
                is_last = event.step == event.total_steps
                if not self.is_live and (
                    is_last or self._last_line_at is None or now - self._last_line_at >= self._every_s
                ):
                    self._last_line_at = now
                    self._print(
                        f"step {event.step}" + (f"/{event.total_steps}" if event.total_steps else "") + f"  {facts}"
                    )
            case EvalEvent():
                self._print(
                    f"step {event.step}: {event.name} "
                    + ", ".join(f"{name} {value:.4g}" for name, value in sorted(event.metrics.items()))
                )
            case CheckpointEvent():
                if not self.is_live:
                    self._print(f"step {event.step}: checkpoint saved")
            case LogEvent():
                self._print(event.message, style={"warning": "yellow", "error": "red"}.get(event.level, ""))
            case StateEvent():
                if event.state in ("running", "failed", "cancelled"):
                    self._print(
                        ": ".join(word for word in (event.state, event.reason) if word),
                        style="red" if event.state == "failed" else "",
                    )

    def status(self, status: RunStatus) -> None:
        """Display the state beside the bar."""
        word = (
            status.state
            if status.native in ("", status.state) or status.native.startswith("attempt")
            else f"{status.state} ({status.native})"
        )
        if word != self._shown_state:
            self._shown_state = word
            self._bar.update(self._task, description=_plain(f"{self._title} {word}"))

    def _print(self, text: str, *, style: str = "") -> None:
        self._bar.console.print(printable(text), style=style, highlight=False, markup=False)


def _plain(text: str) -> str:
    """Return untrusted text for rich: no markup, no control characters."""
    from rich.markup import escape

    return escape(printable(text))


@contextlib.contextmanager
def make_progress(progress: bool | Progress, title: str) -> Generator[Progress]:
    """Yield the display for `Run.wait(progress=)`."""
    if progress is True:
        from rich.console import Console

        console = Console(stderr=True)
        with NotebookProgress(title) if console.is_jupyter else LiveProgress(title, console=console) as live:
            yield live
    elif progress is False:
        yield SilentProgress()
    else:
        yield progress


@contextlib.contextmanager
def make_bar(progress: bool) -> Generator[Callable[[EvalProgress], None] | None]:
    """Yield a callback that draws a bar for each eval and target, or None for silence."""
    if not progress:
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as RichProgress

    console = Console(stderr=True)
    if console.is_jupyter:
        with NotebookBars() as bars:
            yield bars.show
        return
    tasks: dict[str, Any] = {}
    is_live = console.is_terminal
    with RichProgress(console=console, disable=not is_live) as bar:

        def show(progress: EvalProgress) -> None:
            label = _plain(f"{progress.name} of {progress.target}")
            if label not in tasks:
                tasks[label] = bar.add_task(label, total=progress.total)
                if not is_live:
                    console.print(f"measuring {label} on {progress.total} examples", highlight=False)
            bar.update(tasks[label], completed=progress.done, total=progress.total)

        yield show
