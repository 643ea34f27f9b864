"""Local folders that a worker on another machine needs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ftsdk.models import base_name
from ftsdk.spec import JobSpec

__all__ = ["inputs_of"]


def inputs_of(spec: JobSpec) -> Mapping[str, str]:
    """Return what has to be uploaded: path on this machine -> name in the run's folder."""
    found: dict[str, str] = {}
    if spec.model.source != "hub":
        found[spec.model.id] = f"inputs/model/{base_name(spec.model)}"
    if spec.model.adapter is not None:
        found[spec.model.adapter] = f"inputs/adapter/{Path(spec.model.adapter).name}"
    return found
