"""What a server that runs answers to, whatever engine it has."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from ftsdk.evals.endpoint import Endpoint
from ftsdk.protocol.serving import ServingStatus

__all__ = ["Running"]


class Running(Protocol):
    """A server that was started, or found."""

    @property
    def log(self) -> Path | None:
        """The file with its log; None: it has none here."""
        ...

    def endpoint(self, name: str) -> Endpoint:
        """Return the endpoint of a model by the name that it is served under."""
        ...

    def status(self) -> ServingStatus:
        """Return its state."""
        ...

    def stop(self, *, wait_s: float) -> None:
        """Stop it, and return once nothing is left of it. Stopping twice does nothing.

        Raises:
            BackendError: It is still there.
        """
        ...
