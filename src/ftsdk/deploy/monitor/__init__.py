"""How a router does: latency, errors, cost against the promise, and drift, from its records alone."""

from ftsdk.deploy.monitor.monitor import Monitor
from ftsdk.deploy.monitor.promise import Promise
from ftsdk.deploy.monitor.report import MonitorReport

__all__ = ["Monitor", "MonitorReport", "Promise"]
