"""The records of deployments on disk, beside the results of their runs: found again from any process."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from decimal import ROUND_CEILING, Decimal
from pathlib import Path
from typing import Literal

from pydantic import Field

from ftsdk._files import read_regular_file
from ftsdk._format import printable
from ftsdk._home import home
from ftsdk._rich_text import rich_text
from ftsdk.errors import SpecError
from ftsdk.protocol.serving import ServingPlan
from ftsdk.spec import Value

__all__ = ["FOLDER", "DeploymentRecord", "deployments", "records_in"]

_log = logging.getLogger(__name__)

FOLDER = "serving"
"""Of a run's results."""
_MOST_BYTES = 1 << 20


class DeploymentRecord(Value):
    """The record of a deployment on disk. Holds no secrets."""

    name: str
    """Chosen by ftsdk; the backend finds the deployment by it."""
    ref: str
    """The run whose model it serves."""
    plan: ServingPlan
    state: Literal["intended", "started", "stopped"] = "intended"
    """`stopped` is written only once the backend has confirmed that nothing is left."""
    native: dict[str, str] = Field(default_factory=dict[str, str])
    """What the backend calls things."""
    intended_at: float
    """Seconds since the epoch."""
    billed_after: float | None = None
    """When it was last seen not to be ready, in seconds since the epoch: billing began no earlier."""
    stopped_at: float | None = None

    def __str__(self) -> str:
        return f"{self.name} [{self.state}] {self.plan}"

    __rich__ = rich_text

    @property
    def cost_usd(self) -> Decimal | None:
        """The most that it cost, in US dollars, in whole minutes; None if it wasn't started or isn't stopped."""
        price = self.plan.offer.price_usd_per_hour
        if price is None or self.stopped_at is None or self.billed_after is None:
            return None
        minutes = Decimal(str((self.stopped_at - self.billed_after) / 60)).to_integral_value(ROUND_CEILING)
        return (price * minutes / 60).quantize(Decimal("0.01"), ROUND_CEILING)


def records_in(folder: Path) -> list[DeploymentRecord]:
    """Return the records of a run's deployments, those that are stopped, too.

    Args:
        folder: The folder of the run's results.

    Raises:
        SpecError: One can't be read, or isn't what its file is named for; what it stands for may still bill.
    """
    return list(_records(folder))


def deployments() -> list[DeploymentRecord]:
    """Return the records of all deployments not known to be stopped, by any process, without asking a backend.

    Stop one with `Run.open(record.ref).deployments()`, or `ftsdk stop REF`. A record that can't be read is logged, and
    hides no other.
    """
    found: list[DeploymentRecord] = []
    for folder in sorted((home() / "results").glob("*/")):
        try:
            found += [record for record in _records(folder) if record.state != "stopped"]
        except SpecError as error:
            _log.warning("%s", error)
    return found


def _records(folder: Path) -> Iterator[DeploymentRecord]:
    for file in sorted((folder / FOLDER).glob("*.json")):
        try:
            record = DeploymentRecord.from_json(read_regular_file(file, most_bytes=_MOST_BYTES))
            why = "" if record.name == file.stem else "it names another deployment"
        except (OSError, ValueError, SpecError) as error:
            record, why = None, str(error)
        if record is None or why:
            raise SpecError(
                f"the record of a deployment can't be read: {file}: {printable(why, 300)}. What it stands for may "
                "still bill: look at the provider's own list, stop it there, and remove the file"
            )
        yield record
