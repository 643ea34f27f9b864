"""Where ftsdk keeps its own files: the ledger, run folders, stored data, unpacked models."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["home"]


def home() -> Path:
    """Return the folder: `$FTSDK_HOME`, or the platform's folder for user data. It may not exist yet."""
    asked = os.environ.get("FTSDK_HOME")
    if asked:
        return Path(asked).expanduser().resolve()
    from platformdirs import user_data_path

    return user_data_path("ftsdk", appauthor=False)
