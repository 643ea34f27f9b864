"""`--verbose`: the log of the library on standard error."""

from __future__ import annotations

import logging

__all__ = ["log_to_stderr"]


def log_to_stderr(verbosity: int) -> None:
    """Show the log records of ftsdk on standard error.

    Args:
        verbosity: 1 shows what is done, 2 and more also the details.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    logger = logging.getLogger("ftsdk")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO if verbosity == 1 else logging.DEBUG)
