"""Cost: dated prices, billing rules, estimates, and whether a model of your own is cheaper than an API.

The public names are listed in `_exports.py`, each is imported on first use; numpy and a chart library load only when
needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsdk._lazy import lazy_exports

if TYPE_CHECKING:
    from ftsdk.cost._exports import *  # noqa: F403
else:
    __getattr__, __dir__ = lazy_exports(__name__)
