"""Launchers: where a worker can run."""
