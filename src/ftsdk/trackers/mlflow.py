"""MLflow: a run found by a tag with our id, in a server or in a file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from ftsdk._home import home
from ftsdk._secrets import has_url_secret
from ftsdk.errors import SpecError
from ftsdk.protocol import TERMINAL, Event, StateEvent
from ftsdk.spec.positional import by_name_only
from ftsdk.trackers.readings import readings_of, settings_of
from ftsdk.trackers.tracker import TrackedRun

__all__ = ["MLflow"]

_TAG = "ftsdk"
_LONGEST = 6000
"""Characters of a parameter that MLflow keeps (3.x)."""
_AT_ONCE = 100
"""Parameters of one request (3.x)."""


@by_name_only
class MLflow:
    """Logs a run to MLflow. User and password come from MLflow's own environment variables, never from here.

    Args:
        uri: The tracking server, or `sqlite:///PATH`. None: `MLFLOW_TRACKING_URI`, or a SQLite file in ftsdk's home.
        experiment: Its name.

    Raises:
        SpecError: `uri` holds a password.
    """

    name = "mlflow"

    def __init__(self, *, uri: str | None = None, experiment: str = "ftsdk") -> None:
        if uri is not None and has_url_secret(uri):
            raise SpecError(
                "uri holds a password or a key, which would be kept with each run; set MLFLOW_TRACKING_USERNAME and "
                "MLFLOW_TRACKING_PASSWORD in the environment"
            )
        self._uri, self._experiment = uri, experiment

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that rebuild it."""
        given = {"uri": (self._uri, None), "experiment": (self._experiment, "ftsdk")}
        return {name: value for name, (value, default) in given.items() if value != default}

    def __repr__(self) -> str:
        return f"MLflow({', '.join(f'{key}={value!r}' for key, value in self.options.items())})"

    def start(self, run: TrackedRun) -> None:
        """Open the run with our tag, or create it."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        self._kinds: Any = import_module("mlflow.entities")
        client: Any = import_module("mlflow.tracking").MlflowClient
        uri = self._uri or os.environ.get("MLFLOW_TRACKING_URI")
        if uri is None:
            home().mkdir(parents=True, exist_ok=True)
            uri = f"sqlite:///{home() / 'mlflow.db'}"
        self._client = client(tracking_uri=uri)
        experiment = self._client.get_experiment_by_name(self._experiment)
        number = self._client.create_experiment(self._experiment) if experiment is None else experiment.experiment_id
        # Ids are letters, digits and dashes: nothing that a filter reads otherwise.
        there = self._client.search_runs([number], filter_string=f"tags.{_TAG} = '{run.id}'", max_results=1)
        if there:
            self._id: str = there[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        name = str(run.spec.get("name") or run.id)
        self._id = self._client.create_run(number, run_name=name, tags={_TAG: run.id}).info.run_id
        settings = [self._kinds.Param(key, str(value)[:_LONGEST]) for key, value in settings_of(run.spec).items()]
        for first in range(0, len(settings), _AT_ONCE):
            self._client.log_batch(self._id, params=settings[first : first + _AT_ONCE])

    def log(self, event: Event) -> None:
        """Log numbers with their step and time. The same ones again are the same rows."""
        found = readings_of(event)
        if found is not None:
            at = int(found.at * 1000)
            metric = self._kinds.Metric
            values = [metric(name, value, at, found.step) for name, value in found.values.items()]
            self._client.log_batch(self._id, metrics=values)
        elif isinstance(event, StateEvent):
            self._client.set_tag(self._id, "ftsdk.state", event.state)
            if event.state in TERMINAL:
                status = {"succeeded": "FINISHED", "cancelled": "KILLED"}.get(event.state, "FAILED")
                self._client.set_terminated(self._id, status=status, end_time=int(event.at * 1000))

    def end(self) -> None:
        """Nothing is left: each event was sent."""
