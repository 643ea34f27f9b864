"""Trackers: sinks of a run's events beside its own log, by the entry points of the group `ftsdk.trackers`."""

from ftsdk.trackers.sinks import Sinks
from ftsdk.trackers.tracker import TrackedRun, Tracker, check_trackers, load_tracker, package_of_tracker

__all__ = ["Sinks", "TrackedRun", "Tracker", "check_trackers", "load_tracker", "package_of_tracker"]
