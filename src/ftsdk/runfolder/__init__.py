"""The parts of a run's folder, for every backend.

A lock, an event log with one writer, and manifests of complete folders.
"""
