"""Sinks of events: where a run's history goes beside its own log."""
