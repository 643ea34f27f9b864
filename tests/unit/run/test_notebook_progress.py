"""Progress in a notebook: one output that is updated, not a flood of lines."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from ftsdk.evals import EvalProgress
from ftsdk.protocol import CheckpointEvent, EvalEvent, LogEvent, RunStatus, StateEvent, StepEvent
from ftsdk.run.notebook_progress import NotebookBars, NotebookProgress


class Cell:
    """The outputs of a cell: each is the list of what it has shown."""

    def __init__(self) -> None:
        self.outputs: list[list[object]] = []

    def display(self, shown: object) -> Handle:
        self.outputs.append([shown])
        return Handle(self.outputs[-1])

    @property
    def html(self) -> str:
        return self.outputs[-1][-1]._repr_html_()  # pyright: ignore[reportAttributeAccessIssue]


class Handle:
    def __init__(self, shown: list[object]) -> None:
        self._shown = shown

    def update(self, obj: object, /) -> None:
        self._shown.append(obj)


def every(seconds: float) -> Callable[[], float]:
    ticks = itertools.count()
    return lambda: next(ticks) * seconds


def test_a_run_is_one_output_however_many_steps_it_has() -> None:
    cell = Cell()
    with NotebookProgress("local:x", display=cell.display, clock=every(0.01)) as progress:
        progress.status(RunStatus(state="running"))
        for step in range(1, 301):
            progress.event(StepEvent(step=step, total_steps=300, loss=3.0 / step))
    assert len(cell.outputs) == 1
    # 300 steps in 3 seconds, shown at most twice a second, and the last one in any case.
    assert 4 <= len(cell.outputs[0]) <= 9
    assert "300/300" in cell.html
    assert "width:100.0%" in cell.html
    assert "training loss, 3 to 0.01" in cell.html
    assert repr(cell.outputs[0][-1]).startswith("local:x running  300/300  loss 0.010")


def test_what_happens_is_listed_and_the_text_of_others_is_no_html() -> None:
    cell = Cell()
    with NotebookProgress("run", display=cell.display, clock=every(1)) as progress:
        assert "before the first step" in cell.html
        progress.event(StateEvent(state="queued"))
        progress.event(StateEvent(state="running", native="attempt 1"))
        progress.event(CheckpointEvent(step=2))
        progress.event(EvalEvent(step=2, name="validation", metrics={"loss": 1.25}))
        progress.event(LogEvent(level="warning", message="<img src=x onerror=alert(1)>\x1b[2J"))
        progress.event(StateEvent(state="failed", reason="out of memory"))
    assert "queued" not in cell.html
    assert "checkpoint" not in cell.html
    assert "step 2: validation loss 1.25" in cell.html
    assert "&lt;img src=x onerror=alert(1)&gt;" in cell.html
    assert "<img" not in cell.html
    assert "\x1b" not in cell.html
    assert "\x1b" not in repr(cell.outputs[0][-1])
    assert "failed: out of memory" in cell.html


def test_many_messages_stay_a_short_list_that_says_how_many_came_before() -> None:
    cell = Cell()
    with NotebookProgress("run", display=cell.display, clock=every(1)) as progress:
        for n in range(50):
            progress.event(LogEvent(message=f"message {n}"))
    assert "42 earlier messages" in cell.html
    assert "message 49" in cell.html
    assert "message 41<" not in cell.html


@pytest.mark.parametrize("losses", [[], [1.0], [1.0, 2.0]])
def test_no_curve_is_drawn_from_fewer_than_three_losses(losses: list[float]) -> None:
    cell = Cell()
    with NotebookProgress("run", display=cell.display, clock=every(1)) as progress:
        for step, loss in enumerate(losses, 1):
            progress.event(StepEvent(step=step, total_steps=9, loss=loss))
    assert "<polyline" not in cell.html


def test_evals_share_one_output_with_a_bar_each() -> None:
    cell = Cell()
    with NotebookBars(display=cell.display, clock=every(0.01)) as bars:
        for target in ("base", "tuned"):
            for done in range(1, 41):
                bars.show(EvalProgress(name="accuracy", target=target, done=done, total=40))
    assert len(cell.outputs) == 1
    assert len(cell.outputs[0]) <= 4
    assert "40/40  accuracy of base" in cell.html
    assert "40/40  accuracy of tuned" in cell.html


def test_a_notebook_gets_nothing_until_there_is_something_to_show() -> None:
    cell = Cell()
    with NotebookBars(display=cell.display):
        pass
    assert cell.outputs == []
