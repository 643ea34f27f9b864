"""Cost: dated prices, billing rules, estimates, and whether a model of your own is cheaper than an API.

The public names are listed in `_exports.py` and imported on first use; a chart library is loaded only to draw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsdk._lazy import lazy_exports

if TYPE_CHECKING:
    from ftsdk.cost._exports import *  # noqa: F403
else:
    __getattr__, __dir__ = lazy_exports(__name__)
