"""Trackio: a SQLite file on this machine that its own dashboard shows."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ftsdk.protocol import Event, StateEvent
from ftsdk.spec.positional import by_name_only
from ftsdk.trackers.readings import readings_of, settings_of
from ftsdk.trackers.tracker import TrackedRun

__all__ = ["Trackio"]


@by_name_only
class Trackio:
    """Logs a run to Trackio's local store: `trackio show` shows it. `TRACKIO_DIR` says where that is.

    Args:
        project: The project.
    """

    name = "trackio"

    def __init__(self, *, project: str = "ftsdk") -> None:
        self._project = project

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that rebuild it."""
        return {} if self._project == "ftsdk" else {"project": self._project}

    def __repr__(self) -> str:
        return f"Trackio({', '.join(f'{key}={value!r}' for key, value in self.options.items())})"

    def start(self, run: TrackedRun) -> None:
        """Open or continue the run."""
        trackio: Any = import_module("trackio")
        storage: Any = import_module("trackio.sqlite_storage").SQLiteStorage
        there = storage.get_logs(self._project, run.id) if run.is_replay else []
        self._there = {(int(row["step"]), name) for row in there if "step" in row for name in row}
        self._run: Any = trackio.init(
            project=self._project,
            name=run.id,
            config=settings_of(run.spec),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
        )

    def log(self, event: Event) -> None:
        """Log numbers under their step, those of a history that is sent again once."""
        found = readings_of(event)
        if found is not None:
            values = {name: value for name, value in found.values.items() if (found.step, name) not in self._there}
            if values:
                self._run.log(values, step=found.step)
        elif isinstance(event, StateEvent):
            self._run.config["state"] = event.state

    def end(self) -> None:
        """Write what is left."""
        self._run.finish()
