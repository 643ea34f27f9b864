"""The trainer as the hosted backend sees it; nothing here loads torch before `train`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftsdk.backends.hosted.launcher import Hardware
from ftsdk.backends.hosted.trainer import Context, TrainingPlan, TrainingResult
from ftsdk.backends.trainers.trl.late_packages import leave_out_unused, quick_imports
from ftsdk.backends.trainers.trl.request import TrainingRequest
from ftsdk.backends.trainers.trl.sharding.plan import sharding_gaps
from ftsdk.backends.trainers.trl.translate import CAPABILITIES, translate
from ftsdk.errors import Gap, MissingExtraError
from ftsdk.protocol import Capabilities, LogEvent
from ftsdk.spec import JobSpec

__all__ = ["TRLTrainer"]


class TRLTrainer:
    """Hugging Face TRL: a trainer of its own for each method."""

    name = "trl"
    extra = "local"

    @property
    def capabilities(self) -> Capabilities:
        """What TRL can do here."""
        return CAPABILITIES

    def translate(self, spec: JobSpec, hardware: Hardware) -> TrainingPlan:
        """Decide every option of the training."""
        return translate(spec, hardware)

    def sharding_gaps(self, spec: JobSpec, hardware: Hardware) -> list[Gap]:
        """Return what of a job can't be sharded."""
        return sharding_gaps(spec, hardware)

    def train(self, request: Mapping[str, Any], context: Context, into: Path) -> TrainingResult:
        """Train in this process."""
        read = TrainingRequest.read(request)
        context.emit(LogEvent(message="loading PyTorch and TRL"))
        leave_out_unused(read)
        try:
            with quick_imports():
                from ftsdk.backends.trainers.trl.methods import load_method
                from ftsdk.backends.trainers.trl.train import train

                load_method(read.method.kind)
        except ImportError as error:
            raise MissingExtraError("local", needed_for="training with TRL", missing=error.name) from error
        return train(read, context, into)
