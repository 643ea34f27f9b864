"""`sharding=` of a hosted backend: its values, and where it is refused."""

from __future__ import annotations

from ftsdk.backends.hosted.launcher import Hardware, Sharding
from ftsdk.backends.hosted.trainer import CanShard, Trainer
from ftsdk.errors import Gap, SpecError
from ftsdk.spec import JobSpec
from ftsdk.spec.base import nearest

__all__ = ["check_sharding", "sharding_gaps"]

_FIELD = "backend.sharding"
_KINDS = ("none", "full")


def check_sharding(sharding: object) -> Sharding:
    """Return the value.

    Raises:
        SpecError: It isn't one.
    """
    if sharding not in _KINDS:
        near = nearest(sharding, set(_KINDS)) if isinstance(sharding, str) else ""
        raise SpecError(
            f"sharding={sharding!r} isn't known{near}: 'full' spreads parameters, gradients and optimizer states over "
            "all processes, and 'none' gives each of them the whole model"
        )
    return sharding


def sharding_gaps(spec: JobSpec, hardware: Hardware, trainer: Trainer) -> list[Gap]:
    """Return why a job can't be sharded on this hardware by this trainer; nothing if it needn't be."""
    if hardware.sharding == "none":
        return []
    if hardware.processes == 1:
        reason = (
            f"{hardware.name} is one device with one process, which has the whole model anyway; choose several "
            "devices, or leave sharding out"
        )
        return [Gap(_FIELD, hardware.sharding, ("none",), reason)]
    if not isinstance(trainer, CanShard):
        return [Gap(_FIELD, hardware.sharding, ("none",), f"the trainer {trainer.name} doesn't shard models")]
    return list(trainer.sharding_gaps(spec, hardware))
