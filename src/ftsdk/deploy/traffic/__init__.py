"""Prompts and answers of a router, kept for the next round of training if asked."""

from ftsdk.deploy.traffic.folder import TrafficFolder

__all__ = ["TrafficFolder"]
