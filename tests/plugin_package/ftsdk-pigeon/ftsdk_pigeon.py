"""Training by carrier pigeon."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ftsdk.testing import ScriptedBackend


class Pigeon(ScriptedBackend):
    """Runs are carried to a loft and play a script there."""

    def __init__(self, *, loft: str) -> None:
        super().__init__(root=loft, name="pigeon")
        self._loft = loft

    @property
    def options(self) -> Mapping[str, Any]:
        """The arguments that rebuild it."""
        return {"loft": self._loft}
