"""Fine-tune an open LLM on this machine, on serverless GPUs or on a managed service, by changing one argument.

The public names are listed in `_exports.py`, each is imported on first use: `import ftsdk` is quick and never loads
torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ftsdk._lazy import lazy_exports

if TYPE_CHECKING:
    from ftsdk._exports import *  # noqa: F403
else:
    __getattr__, __dir__ = lazy_exports(__name__)

__version__ = "0.1.0"
