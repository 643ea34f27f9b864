"""Trackers: sinks of a run's events beside its own log, by the entry points of the group `ftsdk.trackers`."""

from ftsdk.trackers.mlflow import MLflow
from ftsdk.trackers.replay import replay
from ftsdk.trackers.sinks import Sinks
from ftsdk.trackers.tensorboard import TensorBoard
from ftsdk.trackers.tracker import (
    TrackedRun,
    Tracker,
    TrackerRequest,
    check_trackers,
    extras_of_trackers,
    load_tracker,
    name_of,
    package_of_tracker,
)
from ftsdk.trackers.trackio import Trackio
from ftsdk.trackers.wandb import Wandb

__all__ = [
    "MLflow",
    "Sinks",
    "TensorBoard",
    "TrackedRun",
    "Tracker",
    "TrackerRequest",
    "Trackio",
    "Wandb",
    "check_trackers",
    "extras_of_trackers",
    "load_tracker",
    "name_of",
    "package_of_tracker",
    "replay",
]
