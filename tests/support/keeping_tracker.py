"""A tracker that keeps what it gets, registered as `keeps` for a test."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from ftsdk._entry_points import forget_entry_points
from ftsdk.protocol import Event
from ftsdk.trackers import TrackedRun

__all__ = ["Keeps", "registered"]


class Keeps:
    """Keeps what it gets; `hangs_at` and `fails_at` name a moment: start, log or end."""

    kept: ClassVar[list[Event]] = []
    released: ClassVar[threading.Event]
    hangs_at: ClassVar[str | None] = None
    fails_at: ClassVar[str | None] = None
    words: ClassVar[str] = ""
    """What it says when it fails."""

    def start(self, run: TrackedRun) -> None:
        del run
        self._at("start")

    def log(self, event: Event) -> None:
        self._at("log")
        self.kept.append(event)

    def end(self) -> None:
        self._at("end")

    def _at(self, moment: str) -> None:
        if self.hangs_at == moment:
            self.released.wait(20)
        if self.fails_at == moment:
            raise ConnectionError(self.words)


@contextmanager
def registered(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Register a new class of its kind as `keeps`, and W&B beside it, which an older installation lacks."""
    info = folder / "keeps-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: keeps\nVersion: 1.0\n")
    points = ("[ftsdk.trackers]", "keeps = keeps_tracker:Keeps", "wandb = ftsdk.trackers.wandb:Wandb")
    (info / "entry_points.txt").write_text("\n".join(points))
    monkeypatch.syspath_prepend(folder)
    kind = type("Keeps", (Keeps,), {"kept": [], "released": threading.Event(), "__module__": "keeps_tracker"})
    module = ModuleType("keeps_tracker")
    vars(module)["Keeps"] = kind
    monkeypatch.setitem(sys.modules, "keeps_tracker", module)
    forget_entry_points()
    try:
        yield kind
    finally:
        vars(kind)["released"].set()
        forget_entry_points()
