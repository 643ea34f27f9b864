"""TensorBoard: event files in a folder for each run, written without torch or TensorFlow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ftsdk._files import is_run_id
from ftsdk._home import home
from ftsdk.errors import SpecError
from ftsdk.protocol import Event, LogEvent, StateEvent
from ftsdk.spec.positional import by_name_only
from ftsdk.trackers.readings import readings_of
from ftsdk.trackers.tracker import TrackedRun

__all__ = ["TensorBoard"]


@by_name_only
class TensorBoard:
    """Writes a run's numbers and messages for TensorBoard: `tensorboard --logdir FOLDER` shows them.

    Args:
        folder: Holds a folder for each run, named by its id. None: `tensorboard` in ftsdk's home, which is the worker's
            own in a container: there, call `run.log_to("tensorboard")` on your machine.
    """

    name = "tensorboard"

    def __init__(self, *, folder: str | Path | None = None) -> None:
        self._folder = None if folder is None else Path(folder).expanduser().resolve()

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that rebuild it."""
        return {} if self._folder is None else {"folder": str(self._folder)}

    def __repr__(self) -> str:
        return f"TensorBoard({', '.join(f'{key}={value!r}' for key, value in self.options.items())})"

    def start(self, run: TrackedRun) -> None:
        """Open the run's folder. A history that is sent again replaces what ftsdk wrote there."""
        writer: Any = import_module("tensorboard.summary.writer.event_file_writer").EventFileWriter
        summary: Any = import_module("tensorboard.compat.proto.summary_pb2")
        if not is_run_id(run.id):
            raise SpecError(f"{run.id!r} can't name a folder")
        folder = (self._folder or home() / "tensorboard") / run.id
        if run.is_replay and folder.is_dir():
            for old in folder.glob("events.out.tfevents.*.ftsdk"):
                old.unlink()
        self._summary, self._metadata = summary.Summary, summary.SummaryMetadata
        self._event: Any = import_module("tensorboard.compat.proto.event_pb2").Event
        self._tensor: Any = import_module("tensorboard.compat.proto.tensor_pb2").TensorProto
        self._text_type: Any = import_module("tensorboard.compat.proto.types_pb2").DT_STRING
        self._writer = writer(str(folder), filename_suffix=".ftsdk")
        self._step = 0
        self._write_text("spec", json.dumps(run.spec, indent=1, sort_keys=True), step=0, at=None)

    def log(self, event: Event) -> None:
        """Write numbers as scalars, messages and states as texts."""
        found = readings_of(event)
        if found is not None:
            self._step = found.step
            values = [self._summary.Value(tag=name, simple_value=value) for name, value in found.values.items()]
            self._write(self._summary(value=values), step=found.step, at=found.at)
        elif isinstance(event, LogEvent):
            self._write_text(f"log/{event.level}", event.message, step=self._step, at=event.at)
        elif isinstance(event, StateEvent):
            self._write_text("state", f"{event.state} {event.reason}".strip(), step=self._step, at=event.at)
            self._writer.flush()

    def end(self) -> None:
        """Flush."""
        self._writer.close()

    def _write(self, summary: Any, *, step: int, at: float | None) -> None:
        times = {} if at is None else {"wall_time": at}
        self._writer.add_event(self._event(step=step, summary=summary, **times))

    def _write_text(self, tag: str, text: str, *, step: int, at: float | None) -> None:
        tensor = self._tensor(dtype=self._text_type, string_val=[text.encode()])
        tensor.tensor_shape.dim.add().size = 1
        metadata = self._metadata(plugin_data=self._metadata.PluginData(plugin_name="text"))
        value = self._summary.Value(tag=tag, metadata=metadata, tensor=tensor)
        self._write(self._summary(value=[value]), step=step, at=at)
