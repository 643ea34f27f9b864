"""Rows that are added to a dataset on purpose."""

from ftsdk.data.growing.canaries import Canary, canaries

__all__ = ["Canary", "canaries"]
