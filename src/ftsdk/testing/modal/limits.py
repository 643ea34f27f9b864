"""What the service refuses, decided from what a function asks for.

The numbers and their sources are in `service.yaml`.
"""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Mapping
from typing import Any, cast

import yaml
from modal_proto import api_pb2 as pb

from ftsdk.spec.base import nearest

__all__ = ["billing_rates", "limit", "why_refused"]


@functools.cache
def _facts() -> Mapping[str, Any]:
    return yaml.safe_load((importlib.resources.files(__package__ or "") / "service.yaml").read_text(encoding="utf-8"))


def limit(name: str) -> int:
    """Return a limit by its name in `service.yaml`."""
    return int(_facts()["limits"][name])


def billing_rates() -> Mapping[str, str]:
    """Return what the workspace is charged, in USD per second; the keys are the loopback's own."""
    return cast("Mapping[str, str]", _facts()["rates"]["values"])


def why_refused(function: pb.Function) -> str | None:
    """Return why the service won't create a function, or None if it will."""
    seconds = function.timeout_secs
    if not limit("timeout_min_s") <= seconds <= limit("timeout_max_s"):
        return f"timeout must be between {limit('timeout_min_s')} and {limit('timeout_max_s')} seconds; got {seconds}"
    if function.retry_policy.retries > limit("retries_max"):
        return f"retries must be at most {limit('retries_max')}; got {function.retry_policy.retries}"
    return _why_gpu_refused(function.resources.gpu_config) or _why_cluster_refused(function)


def _why_gpu_refused(gpu: pb.GPUConfig) -> str | None:
    if not gpu.gpu_type:
        return None
    known = cast("Mapping[str, Mapping[str, int]]", _facts()["gpus"])
    if gpu.gpu_type not in known:
        return f"unknown GPU type {gpu.gpu_type!r}{nearest(gpu.gpu_type, set(known))}"
    most = known[gpu.gpu_type].get("max", limit("gpus_per_container_max"))
    if not 1 <= gpu.count <= most:
        return f"a container can have 1 to {most} {gpu.gpu_type} GPUs; got {gpu.count}"
    return None


def _why_cluster_refused(function: pb.Function) -> str | None:
    nodes = function._experimental_group_size
    gpus = function.resources.gpu_config.count
    if nodes <= 1:
        return None
    if nodes > limit("cluster_nodes_max") or nodes * gpus > limit("cluster_gpus_max"):
        return (
            f"a cluster has at most {limit('cluster_nodes_max')} containers and {limit('cluster_gpus_max')} GPUs; got "
            f"{nodes} of {gpus}"
        )
    if gpus not in (0, limit("gpus_per_container_max")):
        return (
            f"each container of a cluster must request all {limit('gpus_per_container_max')} GPUs of its host; got "
            f"{gpus}"
        )
    return None
