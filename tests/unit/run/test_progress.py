"""What a waiting user sees: a bar in a terminal, lines elsewhere."""

from __future__ import annotations

import io
import sys
from types import SimpleNamespace

import pytest
import rich.console
from rich.console import Console

from ftsdk.evals import EvalProgress
from ftsdk.protocol import CheckpointEvent, EvalEvent, LogEvent, RunStatus, StateEvent, StepEvent
from ftsdk.run.notebook_progress import NotebookProgress
from ftsdk.run.progress import LiveProgress, SilentProgress, make_bar, make_progress


def shown(*, terminal: bool = False, width: int = 120, every_s: float = 10.0) -> tuple[LiveProgress, io.StringIO]:
    text = io.StringIO()
    console = Console(file=text, force_terminal=terminal, width=width, color_system=None)
    times = iter(range(0, 10_000, 4))
    return LiveProgress("run", console=console, every_s=every_s, clock=lambda: next(times)), text


def test_a_log_gets_a_step_now_and_then_and_the_last_one() -> None:
    progress, text = shown()
    with progress:
        for step in range(1, 9):
            progress.event(StepEvent(step=step, total_steps=8, loss=1.0))
    assert [line.split("  ")[0] for line in text.getvalue().splitlines()] == [
        "step 1/8", "step 4/8", "step 7/8", "step 8/8",
    ]  # fmt: skip


def test_a_log_gets_what_happens_and_no_markup_of_others() -> None:
    progress, text = shown()
    with progress:
        progress.event(StateEvent(state="queued"))
        progress.event(StateEvent(state="running", native="attempt 1"))
        progress.event(CheckpointEvent(step=2))
        progress.event(EvalEvent(step=2, name="validation", metrics={"loss": 1.25}))
        progress.event(LogEvent(level="warning", message="[red]slow[/y]"))
        progress.event(StateEvent(state="failed", reason="out of memory"))
    assert text.getvalue().splitlines() == [
        "running",
        "step 2: checkpoint saved",
        "step 2: validation loss 1.25",
        "[red]slow[/y]",
        "failed: out of memory",
    ]


@pytest.mark.parametrize(("width", "has_speed"), [(79, False), (120, True)])
def test_a_terminal_gets_a_bar_with_what_fits(width: int, has_speed: bool) -> None:
    progress, text = shown(terminal=True, width=width)
    with progress:
        assert "before the first step" in text.getvalue()
        progress.status(RunStatus(state="running", native="attempt 1"))
        progress.status(RunStatus(state="running", native="RUNNING_SLOWLY"))
        progress.event(CheckpointEvent(step=2))
        progress.event(StepEvent(step=2, total_steps=8, loss=1.0, tokens_per_s=5000, seconds_left=60))
    seen = text.getvalue()
    assert "running (RUNNING_SLOWLY)" in seen
    assert "2/8" in seen
    assert ("tokens/s" in seen) == has_speed
    assert "checkpoint" not in seen


def test_progress_is_silent_live_or_the_callers_own() -> None:
    own = SilentProgress()
    with make_progress(own, "run") as used:
        assert used is own
    with make_progress(False, "run") as used:
        assert isinstance(used, SilentProgress)
    with make_progress(True, "run") as used:
        assert isinstance(used, LiveProgress)
    with make_bar(False) as show:
        assert show is None


def test_a_notebook_gets_an_output_that_is_updated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rich.console, "_is_jupyter", lambda: True)
    shown: list[object] = []
    display = SimpleNamespace(display=lambda obj, display_id: shown.append(obj) or SimpleNamespace(update=shown.append))
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(display=display))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    with make_progress(True, "local:x") as used:
        assert isinstance(used, NotebookProgress)
        used.event(StateEvent(state="running"))
    with make_bar(True) as show:
        assert show is not None
        show(EvalProgress(name="accuracy", target="base", done=1, total=2))
    assert "local:x" in repr(shown[0])
    assert repr(shown[-1]) == "1/2  accuracy of base"


def test_no_control_characters_of_others_reach_a_terminal() -> None:
    progress, text = shown(terminal=True)
    with progress:
        progress.event(LogEvent(level="info", message="\x1b]0;title\x07"))
        progress.event(StateEvent(state="failed", reason="\x9b31m\x1b[2J"))
        progress.event(EvalEvent(step=1, name="\x1b[31m", metrics={"\x1b[32m": 1.0}))
        progress.status(RunStatus(state="running", native="\x1b[33m[/odd]"))
    for sequence in ("\x1b]0;", "\x07", "\x9b", "\x1b[2J", "\x1b[31m", "\x1b[32m", "\x1b[33m"):
        assert sequence not in text.getvalue()
    assert "[/odd]" in text.getvalue()
